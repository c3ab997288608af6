"""What networks of other releases have: widths of labels, concatenation, dot products, no noise."""

import numpy as np
import pytest
import tensorflow as tf

import oracles
from check_layer import check_layer, randomised
from tf_sg2 import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, InputError
from tf_sg2.networks.mapping import LabelMatrix, MappingNetwork
from tf_sg2.weights import export_torch_state, load_torch_state

RNG = np.random.default_rng(9)
Z = RNG.normal(size=(4, 6)).astype(np.float32)
LABELS = RNG.random((4, 3)).astype(np.float32)
IMAGES = RNG.normal(size=(4, 8, 8, 3)).astype(np.float32)
SMALL = {"image_size": (8, 8), "channel_base": 64, "channel_max": 4}


def equal(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual, expected, atol=tolerance * np.abs(expected).max())


def test_label_matrix_proves_itself(tmp_path):
    check_layer(lambda: LabelMatrix(5), [LABELS], {"weight": ((3, 5), True)}, (4, 5), tmp_path)


def test_wide_labels_and_layers_equal_the_paper():
    layer = randomised(
        lambda: MappingNetwork(6, 3, 5, 2, 3, 0.1, label_width=7, width=4), [Z, LABELS], {}
    )
    assert [tuple(fc.weight.shape) for fc in layer.fc] == [(13, 4), (4, 4), (4, 5)]
    embedded = oracles.dense(LABELS, np.asarray(layer.embed.weight), np.asarray(layer.embed.bias))
    parts = [oracles.unit_second_moment(Z), oracles.unit_second_moment(embedded)]
    x = np.concatenate(parts, axis=1)
    for fc in layer.fc:
        x = oracles.dense(x, np.asarray(fc.weight), np.asarray(fc.bias), "lrelu", 0.1)
    equal(layer(Z, LABELS)[:, 1], x)


def test_concatenated_labels_are_normalised_with_z():
    layer = randomised(
        lambda: MappingNetwork(6, 3, 5, 1, 1, 0.1, label_input="concat"), [Z, LABELS], {}
    )
    joined = np.concatenate([Z, LABELS @ np.asarray(layer.embed.weight)], axis=1)
    fc = layer.fc[0]
    expected = oracles.dense(
        oracles.unit_second_moment(joined), np.asarray(fc.weight), np.asarray(fc.bias), "lrelu", 0.1
    )
    equal(layer(Z, LABELS)[:, 0], expected)
    # Without a label, only z is left: zeros change the joint length.
    zero = oracles.unit_second_moment(np.concatenate([Z, np.zeros_like(Z)], axis=1))
    expected = oracles.dense(zero, np.asarray(fc.weight), np.asarray(fc.bias), "lrelu", 0.1)
    equal(layer(Z, np.zeros_like(LABELS))[:, 0], expected)


def test_labels_without_layers_must_have_the_final_width():
    with pytest.raises(InputError) as caught:
        MappingNetwork(0, 3, 5, layers=0, label_width=7)
    assert str(caught.value) == (
        "a mapping network without layers makes labels 7 wide, but they must be 5 wide; set "
        "label_width to that, or mapping_layers to 1 or more"
    )


DISCRIMINATORS = {
    "dot": {"label_output": "dot"},
    "no layers": {"mapping_layers": 0},
    "widths": {"mapping_layers": 2, "mapping_width": 6, "label_width": 7, "output_width": 5},
    "rate": {"mapping_layers": 1, "mapping_lr_multiplier": 0.5},
}


@pytest.mark.parametrize("name", DISCRIMINATORS)
def test_score_of_a_mixed_label(name):
    config = DiscriminatorConfig(label_dim=3, **SMALL | DISCRIMINATORS[name])
    discriminator = Discriminator(config)
    rng = np.random.default_rng(3)
    discriminator.set_weights(
        [w + 0.3 * rng.normal(size=w.shape) for w in discriminator.get_weights()]
    )
    scores = np.asarray(discriminator(IMAGES, LABELS))
    assert scores.shape == (4, 1)
    x = None
    image = tf.constant(IMAGES)
    for block in discriminator.blocks:
        x, image = block(x, image)
    features = np.asarray(discriminator.epilogue(x, image))
    if name == "dot":
        assert discriminator.mapping is None
        equal(scores[:, 0], (features * LABELS).sum(axis=1))
        return
    mapping = discriminator.mapping
    width = {"widths": 5}.get(name, 4)
    assert features.shape == (4, width)
    y = oracles.dense(LABELS, np.asarray(mapping.embed.weight), np.asarray(mapping.embed.bias))
    y = oracles.unit_second_moment(y)
    rate = config.mapping_lr_multiplier
    for fc in mapping.fc:
        y = oracles.dense(y, np.asarray(fc.weight), np.asarray(fc.bias), "lrelu", rate)
    assert len(mapping.fc) == config.mapping_layers
    equal(scores[:, 0], (features * y).sum(axis=1) / np.sqrt(width))


VARIANTS = {
    "concat": {"label_dim": 3, "label_input": "concat"},
    "widths": {"label_dim": 3, "label_width": 7, "mapping_width": 3},
    "no noise": {"use_noise": False},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_official_names_cover_every_weight(name):
    fields = {"z_dim": 6, "w_dim": 5, "mapping_layers": 2, **SMALL, **VARIANTS[name]}
    generator, copy = (Generator(GeneratorConfig(**fields)) for _ in range(2))
    state = export_torch_state(generator, None)
    assert len(state) == len(generator.weights)
    load_torch_state(copy, None, state)
    labels = LABELS if "label_dim" in fields else None
    for mode in ("const", "none"):
        equal(copy(Z, labels, noise_mode=mode), generator(Z, labels, noise_mode=mode))


def test_without_noise_every_mode_is_the_same():
    fields = {"z_dim": 6, "w_dim": 5, "mapping_layers": 2, **SMALL}
    noisy = Generator(GeneratorConfig(**fields))
    plain = Generator(GeneratorConfig(**fields, use_noise=False))
    state = export_torch_state(noisy, None)
    load_torch_state(plain, None, {k: v for k, v in state.items() if "noise" not in k})
    assert not [w for w in plain.weights if "noise" in getattr(w, "path", w.name)]
    for block in noisy.synthesis.blocks:
        for layer in block.convolutions:
            layer.noise.strength.assign(1.0)
    expected = noisy(Z, noise_mode="none")
    assert not np.allclose(noisy(Z, noise_mode="const"), expected)
    for mode in ("random", "const", "none"):
        np.testing.assert_array_equal(plain(Z, noise_mode=mode), expected)

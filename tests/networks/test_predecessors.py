"""StyleGAN, growing networks and the progressive GAN: level of detail, noise, files, bad input."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from check_layer import randomised
from tf_sg2 import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, InputError
from tf_sg2.inspect import layer_table
from tf_sg2.weights import export_torch_state, load_tf1_state

pytestmark = pytest.mark.stack
SIZE = (12, 20)  # Base 3x5, doubled twice.
RNG = np.random.default_rng(4)
Z = RNG.normal(size=(4, 5)).astype(np.float32)
PICTURES = RNG.normal(size=(4, *SIZE, 3)).astype(np.float32)
SMALL = {"channel_base": 32, "channel_max": 4, "architecture": "orig", "growing": True}
STYLEGAN = {"activation_gain": "weight", "resampling": "nearest", "resample_filter": (1, 2, 1)}
GENERATORS = {
    "adain": {**STYLEGAN, "normalization": "adain", "mapping_layers": 2},
    "demodulation": {"mapping_layers": 2},
    "pixel": {**STYLEGAN, "normalization": "pixel", "mapping_layers": 0},
}


def generator(kind):
    fields = {"z_dim": 5, "w_dim": 5, **SMALL, **GENERATORS[kind]}
    call = {"noise_mode": "const"}
    return randomised(lambda: Generator(GeneratorConfig(SIZE, **fields)), [Z], call)


def discriminator(**fields):
    fields = {"minibatch_stddev_group": 2, **SMALL, **fields}
    return randomised(lambda: Discriminator(DiscriminatorConfig(SIZE, **fields)), [PICTURES], {})


def equal(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["adain", "demodulation"])
def test_fresh_noise_is_the_same_for_lod_as_a_number_and_as_a_tensor(kind):
    """As a number, blocks without an effect draw no noise; the others must not notice."""
    network, seeds = generator(kind), tf.constant([[1, n] for n in range(4)])
    for lod in (0.3, 1.0):
        equal(
            network(Z, noise_seeds=seeds, lod=tf.constant(lod)),
            network(Z, noise_seeds=seeds, lod=lod),
        )


@pytest.mark.parametrize("kind", GENERATORS)
def test_image_is_linear_in_lod_between_two_levels(kind):
    """Also for rectangles, which the official networks do not have."""
    network = generator(kind)
    images = [network(Z, noise_mode="const", lod=lod).numpy() for lod in (0.0, 0.25, 1.0)]
    equal(images[1], 0.75 * images[0] + 0.25 * images[2])
    # At lod 1, pixels come in equal blocks of 2x2.
    equal(images[2], images[2][:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2))
    assert np.abs(images[0] - images[2]).max() > 1e-3


def test_scores_at_lod_1_depend_only_on_means_of_pixels():
    network = discriminator(**STYLEGAN)
    means = PICTURES.reshape(4, 6, 2, 10, 2, 3).mean(axis=(2, 4))
    flat = means.repeat(2, axis=1).repeat(2, axis=2)
    equal(network(flat, lod=1.0), network(PICTURES, lod=1.0))
    assert np.abs(network(flat) - network(PICTURES)).max() > 1e-3


@pytest.mark.parametrize("kind", [*GENERATORS, "discriminator"])
def test_whole_model_survives_a_keras_file(kind, tmp_path):
    model = discriminator(**STYLEGAN) if kind == "discriminator" else generator(kind)
    inputs = PICTURES if kind == "discriminator" else Z
    call = {"lod": 0.5} if kind == "discriminator" else {"lod": 0.5, "noise_mode": "const"}
    path = str(tmp_path / "model.keras")
    model.save(path)
    copy = keras.models.load_model(path)
    assert copy.config == model.config
    np.testing.assert_array_equal(copy(inputs, **call), model(inputs, **call))


@pytest.mark.parametrize("kind", GENERATORS)
def test_layer_tables_hold_every_weight(kind):
    for network, table in (
        (generator(kind), layer_table.generator_table),
        (discriminator(**STYLEGAN), layer_table.discriminator_table),
    ):
        rows = table(network).rows
        sizes = [int(np.prod(weight.shape)) for weight in network.trainable_weights]
        assert sum(row.parameters for row in rows) == sum(sizes)


def plain():
    return Generator(GeneratorConfig((8, 8), channel_max=2, z_dim=2, w_dim=2, mapping_layers=1))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: plain()(Z[:, :2], lod=1.0),
            "lod is 1, but this network does not grow (growing is false); leave lod out",
        ),
        (
            lambda: plain()(Z[:, :2], lod=tf.constant(1.0)),
            "lod is a tensor, but this network does not grow (growing is false); leave lod out",
        ),
        (lambda: generator("pixel")(Z, lod=2.5), "lod is 2.5; it must be in 0...2"),
        (lambda: generator("pixel")(Z, lod=float("nan")), "lod is nan; it must be in 0...2"),
        (
            lambda: discriminator()(PICTURES, lod=tf.zeros([4])),
            "lod has shape (4,); it must be a number or a scalar tensor",
        ),
        (
            lambda: export_torch_state(generator("demodulation"), None),
            "the official PyTorch release has no growing networks, none with resampling nearest "
            "and none with activation_gain weight; take tf_sg2.weights.load_tf1_state",
        ),
        (
            lambda: load_tf1_state(
                None,
                Discriminator(DiscriminatorConfig(SIZE, label_dim=3, **SMALL)),
                {"D/FromRGB_lod0/weight": np.zeros(3)},
            ),
            "this discriminator projects onto mapped labels, which the official TensorFlow 1 "
            "networks do not; set discriminator.label_output to dot",
        ),
        (
            lambda: load_tf1_state(generator("adain"), None, {"lod": np.zeros(())}),
            "the arrays hold no weights of these networks; names must begin with G/ or D/",
        ),
    ],
)
def test_bad_input_is_one_sentence(call, message):
    with pytest.raises(InputError) as caught:
        call()
    assert message in str(caught.value)  # Keras adds the arguments of a call.


def test_every_misfit_of_a_tf1_state_is_named_and_nothing_is_changed():
    network = generator("pixel")
    before = [np.array(weight) for weight in network.get_weights()]
    with pytest.raises(InputError) as caught:
        load_tf1_state(
            network,
            None,
            {
                "G/lod": np.zeros(()),
                "G/4x4/Dense/weight": np.zeros((5, 60), np.float32),
                "G/4x4/Dense/bias": np.zeros(5, np.float32),
                "G/extra": np.zeros(1, np.float32),
            },
        )
    problems = str(caught.value).removeprefix("the weights do not fit the networks: ").split("; ")
    assert problems[0] == "G/4x4/Dense/bias has shape (5,), expected (4,)"
    assert problems[-1] == "G/extra is left over"
    assert "G/8x8/Conv0_up/weight is missing" in problems
    assert not any(problem.startswith("G/lod ") for problem in problems)
    for ours, old in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, old)

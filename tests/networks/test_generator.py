"""Both networks as Keras models: what `check_layer` proves, saving, and the call's arguments."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

from check_layer import check_layer, randomised
from tf_sg2 import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, InputError
from tf_sg2.runs.checkpoints import checkpoint_of

SIZE = (6, 10)  # Base 3x5, doubled once.
RNG = np.random.default_rng(10)
Z = RNG.normal(size=(4, 4)).astype(np.float32)
LABELS = RNG.random((4, 3)).astype(np.float32)
PICTURES = RNG.normal(size=(4, *SIZE, 3)).astype(np.float32)
SMALL = {"channel_base": 16, "channel_max": 3}


def generator_config(**fields):
    return GeneratorConfig(SIZE, **dict(z_dim=4, w_dim=5, mapping_layers=2, **SMALL) | fields)


def discriminator_config(**fields):
    return DiscriminatorConfig(SIZE, **dict(minibatch_stddev_group=2, **SMALL) | fields)


def dense(path, fan_in, units):
    return {f"{path}.weight": ((fan_in, units), True), f"{path}.bias": ((units,), True)}


def convolution(path, k, fan_in, filters, bias=True):
    weight = {f"{path}.weight": ((k, k, fan_in, filters), True)}
    return weight | ({f"{path}.bias": ((filters,), True)} if bias else {})


def styled(path, height, width, fan_in, filters):
    return {
        **convolution(f"{path}.conv", 3, fan_in, filters, bias=False),
        **dense(f"{path}.affine", 5, fan_in),
        f"{path}.bias": ((filters,), True),
        f"{path}.noise.strength": ((), True),
        f"{path}.noise.const": ((height, width), False),
    }


def to_rgb(path, fan_in):
    return {
        **convolution(f"{path}.conv", 1, fan_in, 3, bias=False),
        **dense(f"{path}.affine", 5, fan_in),
        f"{path}.bias": ((3,), True),
    }


def generator_weights(architecture, label_dim):
    """Of a generator with 3 channels at 3x5 and 2 at 6x10."""
    blocks = "synthesis.blocks"
    return {
        "mapping.w_avg": ((5,), False),
        **(dense("mapping.embed", 3, 5) if label_dim else {}),
        **dense("mapping.fc.0", 9 if label_dim else 4, 5),
        **dense("mapping.fc.1", 5, 5),
        f"{blocks}.0.const": ((3, 5, 3), True),
        **styled(f"{blocks}.0.conv1", 3, 5, 3, 3),
        **(to_rgb(f"{blocks}.0.to_rgb", 3) if architecture == "skip" else {}),
        **styled(f"{blocks}.1.conv0", 6, 10, 3, 2),
        **styled(f"{blocks}.1.conv1", 6, 10, 2, 2),
        **(
            convolution(f"{blocks}.1.skip", 1, 3, 2, bias=False) if architecture == "resnet" else {}
        ),
        **to_rgb(f"{blocks}.1.to_rgb", 2),
    }


def discriminator_weights(architecture, label_dim):
    weights = {
        **convolution("blocks.0.from_rgb", 1, 3, 2),
        **convolution("blocks.0.conv0", 3, 2, 2),
        **convolution("blocks.0.conv1", 3, 2, 3),
        **(convolution("blocks.0.skip", 1, 2, 3, bias=False) if architecture == "resnet" else {}),
        **(convolution("epilogue.from_rgb", 1, 3, 3) if architecture == "skip" else {}),
        **convolution("epilogue.conv", 3, 4, 3),
        **dense("epilogue.fc", 3 * 5 * 3, 3),
        **dense("epilogue.out", 3, 3 if label_dim else 1),
    }
    if label_dim:
        weights |= dense("mapping.embed", 3, 3)
        for i in range(8):
            weights |= dense(f"mapping.fc.{i}", 3, 3)
    return weights


CASES = [("skip", 0), ("resnet", 3), ("orig", 0)]


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "label_dim"), CASES)
def test_generator_proves_itself(architecture, label_dim, tmp_path):
    configuration = generator_config(architecture=architecture, label_dim=label_dim)
    check_layer(
        lambda: Generator(configuration, name="generator"),
        [Z, LABELS] if label_dim else [Z],
        generator_weights(architecture, label_dim),
        (4, *SIZE, 3),
        tmp_path,
        call={"noise_mode": "const"},
        dtypes=("float32", "float64"),
        empty_batch=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "label_dim"), CASES)
def test_discriminator_proves_itself(architecture, label_dim, tmp_path):
    configuration = discriminator_config(architecture=architecture, label_dim=label_dim)
    check_layer(
        lambda: Discriminator(configuration, name="discriminator"),
        [PICTURES, LABELS] if label_dim else [PICTURES],
        discriminator_weights(architecture, label_dim),
        (4, 1),
        tmp_path,
        dtypes=("float32", "float64"),
        empty_batch=False,
    )


def networks():
    return {
        "generator": (lambda: Generator(generator_config(label_dim=3)), [Z, LABELS]),
        "discriminator": (
            lambda: Discriminator(discriminator_config(label_dim=3)),
            [PICTURES, LABELS],
        ),
    }


@pytest.mark.parametrize("name", networks())
def test_whole_model_survives_a_keras_file(name, tmp_path):
    factory, inputs = networks()[name]
    call = {"noise_mode": "const"} if name == "generator" else {}
    model = randomised(factory, inputs, call)
    path = str(tmp_path / "model.keras")
    model.save(path)
    copy = keras.models.load_model(path)
    assert type(copy) is type(model)
    assert copy.config == model.config
    np.testing.assert_array_equal(copy(*inputs, **call), model(*inputs, **call))


@pytest.mark.parametrize("name", networks())
def test_weights_survive_a_tensorflow_checkpoint(name, tmp_path):
    factory, inputs = networks()[name]
    call = {"noise_mode": "const"} if name == "generator" else {}
    model, copy = randomised(factory, inputs, call), factory()
    path = checkpoint_of({"model": model}).save(str(tmp_path / "checkpoint"))
    checkpoint_of({"model": copy}).restore(path).assert_consumed()
    np.testing.assert_array_equal(copy(*inputs, **call), model(*inputs, **call))


@pytest.mark.parametrize("name", networks())
def test_weights_exist_before_the_first_call(name):
    factory, inputs = networks()[name]
    model = factory()
    before = [id(weight) for weight in model.weights]
    assert before
    model(*inputs)
    assert [id(weight) for weight in model.weights] == before


@pytest.mark.parametrize("name", networks())
def test_configuration_is_plain_data(name):
    factory, _ = networks()[name]
    model = factory()
    copy = type(model).from_config(model.get_config())
    assert copy.config == model.config
    assert copy.name == model.name


def test_call_is_mapping_then_synthesis():
    generator = randomised(lambda: Generator(generator_config()), [Z], {})
    w = generator.mapping(Z, truncation_psi=0.6, truncation_cutoff=2)
    expected = generator.synthesis(w, noise_mode="const")
    image = generator(Z, truncation_psi=0.6, truncation_cutoff=2, noise_mode="const")
    np.testing.assert_allclose(image, expected, atol=1e-6)
    assert np.abs(generator(Z, noise_mode="const") - expected).max() > 1e-3


def test_samples_do_not_depend_on_their_batch():
    generator = randomised(lambda: Generator(generator_config()), [Z], {})
    seeds = tf.constant([[1, 2], [3, 4], [5, 6], [7, 8]])
    together = generator(Z, noise_seeds=seeds)
    for n in range(4):
        alone = generator(Z[n : n + 1], noise_seeds=seeds[n : n + 1])
        np.testing.assert_allclose(alone[0], together[n], atol=1e-5)


@pytest.mark.parametrize(
    ("label_dim", "arguments", "message"),
    [
        (3, {"z": Z}, "model is conditional: give labels"),
        (0, {"z": Z, "labels": LABELS}, "labels were given, but this model has label_dim 0"),
        (0, {"z": Z[:, :3]}, r"z has shape \(4, 3\); it must be \[N, 4\]"),
        (0, {"z": Z, "noise_mode": "soft"}, "no noise mode 'soft'"),
    ],
)
def test_generator_refuses(label_dim, arguments, message):
    with pytest.raises(InputError, match=message):
        Generator(generator_config(label_dim=label_dim))(**arguments)

"""Other architectures, labels, clamps and channels against the official implementation."""

import numpy as np
import pytest
import tensorflow as tf

import tf_sg2
from checkout import REFERENCE
from tf_sg2.training import regularizers
from tf_sg2.weights.names import discriminator_entries, generator_entries

FILE = REFERENCE / "official_variants_res32.npz"
# Case: architectures of both networks, width of labels, clamp, channels, stddev group.
CASES = {
    "1": ("skip", "resnet", 3, 0.7, 3, 4),
    "3": ("orig", "orig", 0, 0.7, 1, 3),
    "4": ("resnet", "skip", 0, None, 4, 6),
}
# Constants of the file: the running mean of path lengths, its decay, and the weight.
PL_AVERAGE, PL_DECAY, PL_WEIGHT = 0.3, 0.01, 2.0


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """Returns the networks with the official weights, and the official numbers."""
    g, d, label_dim, clamp, channels, group = CASES[request.param]
    with np.load(FILE) as archive:
        prefix = f"{request.param}/"
        numbers = {k[2:]: archive[k] for k in archive.files if k.startswith(prefix)}
    shared = {
        "image_size": (32, 32),
        "image_channels": channels,
        "label_dim": label_dim,
        "channel_base": 256,
        "channel_max": 32,
        "conv_clamp": clamp,
    }
    generator = tf_sg2.Generator(
        tf_sg2.GeneratorConfig(z_dim=16, w_dim=24, mapping_layers=3, architecture=g, **shared)
    )
    discriminator = tf_sg2.Discriminator(
        tf_sg2.DiscriminatorConfig(architecture=d, minibatch_stddev_group=group, **shared)
    )
    tf_sg2.weights.load_torch_state(generator, discriminator, numbers)
    labels = tf.constant(numbers["lab"]) if label_dim else None
    return generator, discriminator, labels, numbers


def nhwc(images):
    return tf.constant(images.transpose(0, 2, 3, 1))


def assert_close(actual, expected, relative=2e-5, message=""):
    """Compares the largest error with the largest value of the reference."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, message
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error <= relative, (message, error)


def worst_gradient(prefix, entries, gradients, numbers):
    """Returns (error, name) of the weight whose gradient is farthest from the official one.

    Errors are of single elements, relative to the largest of the weight. Every gradient of the
    file is compared.
    """
    names = {name for name in numbers if name.startswith(f"{prefix}/")}
    assert names == {f"{prefix}/{entry.name}" for entry in entries}
    scale = max(np.abs(numbers[name]).max() for name in names)
    errors = []
    for entry, gradient in zip(entries, gradients, strict=True):
        expected = numbers[f"{prefix}/{entry.name}"]
        if not expected.any():  # The file then holds one zero for any shape.
            assert gradient is None or np.abs(gradient).max() <= 1e-6 * scale, entry.name
            continue
        actual = entry.to_official(np.asarray(gradient))
        assert actual.shape == expected.shape, entry.name
        error = np.abs(actual - expected).max() / np.abs(expected).max()
        # A bias of the discriminator acts on R1 only through clamps and minibatch stddev.
        tiny = prefix == "dD" and entry.name.endswith(".bias")
        errors.append((error / 50 if tiny else error, entry.name))
    return max(errors)


def trainable(entries):
    return [entry for entry in entries if entry.variable.trainable]


def test_images_and_scores_equal_official(case):
    generator, discriminator, labels, numbers = case
    ws = generator.mapping(numbers["z"], labels, truncation_psi=0.6, truncation_cutoff=3)
    assert_close(ws, numbers["ws"])
    assert_close(generator.synthesis(ws, noise_mode="const"), nhwc(numbers["img"]))
    assert_close(discriminator(nhwc(numbers["img"]), labels), numbers["s"].reshape(-1, 1))


def test_r1_and_its_gradient_by_every_weight_equal_official(case):
    _, discriminator, labels, numbers = case
    entries = trainable(discriminator_entries(discriminator))

    @tf.function(autograph=False)
    def run(images):
        with tf.GradientTape() as tape:
            penalties, _ = regularizers.r1_penalties(lambda x: discriminator(x, labels), images)
            loss = tf.reduce_mean(penalties)
        return penalties, tape.gradient(loss, [entry.variable for entry in entries])

    penalties, gradients = run(nhwc(numbers["img"]))
    assert_close(penalties, numbers["pen"])
    assert worst_gradient("dD", entries, gradients, numbers) < (2e-5,)


def test_path_length_and_its_gradient_by_every_weight_equal_official(case):
    generator, _, labels, numbers = case
    entries = trainable(generator_entries(generator))

    @tf.function(autograph=False)
    def run(z, noise):
        with tf.GradientTape() as tape:
            lengths = regularizers.path_lengths(
                lambda w: generator.synthesis(w, noise_mode="const"),
                generator.mapping(z, labels),
                noise,
            )
            loss, penalty = regularizers.path_length_loss(
                lengths, tf.reduce_mean(lengths), tf.constant(PL_AVERAGE), PL_DECAY, z.shape[0]
            )
            loss = PL_WEIGHT * loss
        gradients = tape.gradient(loss, [entry.variable for entry in entries])
        return lengths, PL_WEIGHT * penalty, gradients

    worst = []
    # Case 4 has an activation so near 0 that rounding decides its side of the leaky ReLU's kink.
    # The side changes a gradient by 7e-4. Latents that differ by a rounding error reach both sides.
    # The native convolution rounds more, so its latents differ more.
    for factor in (1, 1 + 3e-7, 1 - 3e-7, 1 + 3e-6, 1 - 3e-6):
        z = tf.constant(numbers["z"] * np.float32(factor))
        lengths, penalty, gradients = run(z, nhwc(numbers["y"]))
        assert_close(lengths, numbers["pl"])
        assert_close(penalty, numbers["L"].reshape(()))
        worst.append(worst_gradient("dG", entries, gradients, numbers))
    assert min(worst) < (2e-5,), worst


def test_variants_file_has_no_quantity_that_is_not_compared(case):
    compared = {"z", "lab", "ws", "img", "s", "pen", "y", "pl", "L"}
    rest = set(case[3]) - compared
    assert all(name.startswith(("G/", "D/", "dG/", "dD/")) for name in rest)

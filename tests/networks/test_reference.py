"""Every quantity in the reference file of the official implementation, compared in float32."""

import math

import numpy as np
import pytest
import tensorflow as tf

import tf_sg2
from tf_sg2.training import regularizers
from tf_sg2.weights.names import discriminator_entries, generator_entries

PL_TARGET, R1_FACTOR = 0.3, 5.0  # Constants of the file's `pl_dtheta` and `r1_dtheta`.


@pytest.fixture(scope="module")
def networks(reference):
    sizes = {"image_size": (32, 32), "channel_base": 512, "channel_max": 64}
    generator = tf_sg2.Generator(
        tf_sg2.GeneratorConfig(z_dim=64, w_dim=64, mapping_layers=4, **sizes)
    )
    discriminator = tf_sg2.Discriminator(
        tf_sg2.DiscriminatorConfig(minibatch_stddev_group=2, **sizes)
    )
    tf_sg2.weights.load_torch_state(generator, discriminator, reference)
    return generator, discriminator


def nhwc(images):
    return tf.constant(images.transpose(0, 2, 3, 1))


def assert_close(actual, expected, relative):
    """The largest error, relative to the largest value of the reference."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= relative * np.abs(expected).max()


def assert_norms(reference, prefix, entries, gradients, relative):
    """Compares the gradients' norms; a weight without a gradient must have none there either."""
    assert {f"{prefix}/{entry.name}" for entry in entries} >= {
        name for name in reference if name.startswith(f"{prefix}/")
    }
    norms = {name: reference[name] for name in reference if name.startswith(f"{prefix}/")}
    scale = float(max(norms.values()))
    for entry, gradient in zip(entries, gradients, strict=True):
        expected = float(norms.get(f"{prefix}/{entry.name}", 0.0))
        actual = 0.0 if gradient is None else float(tf.norm(tf.reshape(gradient, [-1])))
        # Norms that are zero but for rounding are held to the scale of the largest.
        tolerance = relative(entry.name) if callable(relative) else relative
        assert actual == pytest.approx(expected, rel=tolerance, abs=1e-6 * scale), entry.name


def trainable(entries):
    return [entry for entry in entries if entry.variable.trainable]


def test_mapping_equals_official(networks, reference):
    mapping = networks[0].mapping
    assert_close(mapping(reference["z"]), reference["ws"], 1e-4)
    truncated = mapping(reference["z"], truncation_psi=0.7, truncation_cutoff=4)
    assert_close(truncated, reference["ws_psi0.7_cut4"], 1e-4)


@pytest.mark.parametrize(
    ("ws", "noise_mode", "images"),
    [
        ("ws", "const", "img_const"),
        ("ws", "none", "img_none"),
        ("ws_psi0.7_cut4", "const", "img_const_psi"),
    ],
)
def test_synthesis_equals_official(networks, reference, ws, noise_mode, images):
    actual = networks[0].synthesis(reference[ws], noise_mode=noise_mode)
    assert_close(actual, nhwc(reference[images]), 1e-4)


def test_discriminator_equals_official(networks, reference):
    assert_close(networks[1](nhwc(reference["img_const"])), reference["d_const"], 1e-4)


def test_r1_equals_official_to_second_order(networks, reference, implementation):
    discriminator = networks[1]
    images = nhwc(reference["img_const"])
    entries = trainable(discriminator_entries(discriminator))

    @tf.function
    def run(images):
        with tf.GradientTape() as tape:
            penalties, scores = regularizers.r1_penalties(discriminator, images)
            loss = R1_FACTOR * tf.reduce_mean(penalties)
        gradients = tape.gradient(loss, [entry.variable for entry in entries])
        return penalties, scores, gradients

    penalties, scores, gradients = run(images)
    assert_close(penalties, reference["r1_penalty"], 1e-4)
    assert_close(scores, reference["d_const"], 1e-4)

    def relative(name):
        # A bias acts on R1 only through minibatch stddev, and that depends on small differences of
        # four similar images. In float64 these norms (1e-3 of the others) are 0.7e-3 below the
        # official ones. The native ops round in another order: with the filters only, the norms
        # were up to 2.0e-3 below, and with the convolution up to 5.1e-3 above.
        return 1e-2 if implementation == "native" and name.endswith(".bias") else 1e-3

    assert_norms(reference, "r1_dtheta", entries, gradients, relative)


def test_r1_image_gradient_equals_official(networks, reference):
    images = nhwc(reference["img_const"])
    with tf.GradientTape() as tape:
        tape.watch(images)
        scores = networks[1](images)
    assert_close(tape.gradient(scores, images), nhwc(reference["r1_grad"]), 1e-4)


def test_path_lengths_equal_official_to_second_order(networks, reference):
    generator = networks[0]
    entries = trainable(generator_entries(generator))
    noise = nhwc(reference["pl_noise"])

    @tf.function
    def run(w):
        with tf.GradientTape() as tape:
            lengths = regularizers.path_lengths(
                lambda w: generator.synthesis(w, noise_mode="const"), w, noise
            )
            loss = tf.reduce_mean(tf.square(lengths - PL_TARGET))
        return lengths, tape.gradient(loss, [entry.variable for entry in entries])

    # The lengths in the file start at w, so the mapping network does not matter.
    lengths, gradients = run(tf.constant(reference["ws"]))
    assert_close(lengths, reference["pl_lengths"], 1e-4)
    assert_norms(reference, "pl_dtheta", entries, gradients, 1e-3)


def test_reference_file_has_no_quantity_that_is_not_compared(reference):
    compared = {
        *("z", "ws", "ws_psi0.7_cut4", "img_const", "img_none", "img_const_psi", "d_const"),
        *("r1_grad", "r1_penalty", "pl_noise", "pl_lengths"),
    }
    rest = {name for name in reference if name not in compared}
    assert all(name.startswith(("G/", "D/", "r1_dtheta/", "pl_dtheta/")) for name in rest)
    assert math.isclose(len(rest) + len(compared), len(reference))

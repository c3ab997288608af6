"""LPIPS against the package lpips, with trunks made by a rule and the real heads."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import rule_weights
from tf_sg2 import Generator, GeneratorConfig, metrics
from tf_sg2.errors import InputError
from tf_sg2.metrics import features
from tf_sg2.metrics.features import lpips as lpips_module

pytestmark = pytest.mark.stack

SIZES = ("64x64", "48x80")


@pytest.fixture(scope="module")
def reference():
    return rule_weights.load("lpips_rule_weights")


@pytest.fixture(scope="module", params=["vgg16", "alexnet"])
def trunk(request):
    return request.param, rule_weights.trunk(f"{request.param}.")


@pytest.fixture(scope="module")
def lpips(trunk):
    return features.LPIPS(*trunk)


def pair(reference, size):
    return [
        tf.constant(reference[f"pairs/{size}/{letter}"].transpose(0, 2, 3, 1) / 127.5 - 1)
        for letter in "ab"
    ]


@pytest.mark.parametrize("size", SIZES)
def test_distances_equal_the_reference(lpips, trunk, reference, size):
    a, b = pair(reference, size)
    key = f"{trunk[0]}/{size}"
    distances = lpips(a, b)
    assert distances.dtype == tf.float32
    np.testing.assert_allclose(distances, reference[f"{key}/distance"], rtol=1e-4)
    shares = lpips.per_layer(a, b)
    np.testing.assert_allclose(shares, reference[f"{key}/per_layer"], rtol=2e-4, atol=1e-7)
    assert np.abs(lpips(a, a)).max() == 0


def test_one_file_may_hold_both_trunks(lpips, trunk, reference):
    both = rule_weights.trunk("")
    assert len(both) == 36
    a, b = pair(reference, "64x64")
    np.testing.assert_array_equal(features.LPIPS(trunk[0], both)(a, b), lpips(a, b))


def test_path_lengths_take_the_distance_of_pixels(lpips, trunk, reference):
    a, b = ((x.numpy().astype(np.float32) + 1) * 127.5 for x in pair(reference, "64x64"))
    np.testing.assert_allclose(
        lpips.of_pixels(a, b), reference[f"{trunk[0]}/64x64/distance"], rtol=1e-3
    )


def test_path_length_of_a_generator_under_lpips_is_finite(lpips):
    config = GeneratorConfig(image_size=(32, 48), z_dim=4, w_dim=4, mapping_layers=1, channel_max=4)
    value = metrics.perceptual_path_length(Generator(config), lpips.of_pixels, pairs=2)
    assert np.isfinite(value)
    assert value >= 0


@pytest.mark.parametrize("size", SIZES)
def test_distances_without_heads_equal_the_reference(trunk, reference, size):
    plain = features.LPIPS(*trunk, heads=False)
    expected = reference[f"{trunk[0]}/{size}/baseline_distance_no_heads"]
    np.testing.assert_allclose(plain(*pair(reference, size)), expected, rtol=1e-4)


@pytest.mark.parametrize("size", SIZES)
def test_feature_maps_equal_the_reference(lpips, trunk, reference, size):
    maps = lpips.features(tf.cast(pair(reference, size)[0], tf.float32))
    for i, values in enumerate(maps):
        values = values.numpy()
        mean, deviation = reference[f"{trunk[0]}/{size}/feat{i}_mean_std"]
        assert values.mean() == pytest.approx(mean, rel=1e-4)
        assert values.std(ddof=1) == pytest.approx(deviation, rel=1e-4)
        seen = values.transpose(0, 3, 1, 2)[:, :3, ::4, ::4]
        expected = reference[f"{trunk[0]}/{size}/feat{i}_first3ch_stride4"]
        np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-3 * deviation)


@pytest.mark.parametrize("size", SIZES)
def test_gradients_equal_the_reference(lpips, trunk, reference, size):
    a, b = pair(reference, size)
    with tf.GradientTape() as tape:
        tape.watch(a)
        total = tf.reduce_sum(lpips(a, b))
    gradient = tape.gradient(total, a).numpy().transpose(0, 3, 1, 2)[:, :, ::5, ::5]
    expected = reference[f"{trunk[0]}/{size}/grad_a_sum_stride5"]
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=2e-3 * expected.std())


def test_shipped_heads_are_the_reference_ones(lpips, trunk, reference):
    for i, head in enumerate(lpips.heads):
        np.testing.assert_array_equal(head, reference[f"{trunk[0]}/lin{i}"])


def test_normalisation_of_the_input_is_the_reference_one(trunk, reference):
    for own, name in ((lpips_module.SHIFT, "shift"), (lpips_module.SCALE, "scale")):
        np.testing.assert_array_equal(np.float32(own), reference[f"{trunk[0]}/{name}"].ravel())


def test_gradient_is_finite_where_all_features_are_zero(trunk):
    name, weights = trunk
    dead = {key: np.zeros_like(value) for key, value in weights.items()}
    distance = features.LPIPS(name, dead)
    a = tf.zeros([1, 64, 64, 3])
    with tf.GradientTape() as tape:
        tape.watch(a)
        total = tf.reduce_sum(distance(a, a + 1))
    assert np.isfinite(tape.gradient(total, a)).all()


def test_bad_arguments_are_named(lpips):
    with pytest.raises(InputError, match="no trunk 'resnet'; take one of vgg16, alexnet"):
        features.LPIPS("resnet", {})
    with pytest.raises(InputError, match=r"0 arrays named 'features.0.weight'"):
        features.LPIPS("vgg16", {})
    a = np.zeros((1, 32, 32, 3), np.float32)
    with pytest.raises(InputError, match="uint8 of shape"):
        lpips(a.astype(np.uint8), a)
    with pytest.raises(InputError, match="they must be equal"):
        lpips(a, np.zeros((1, 32, 40, 3), np.float32))

"""tensorflow-addons as an independent oracle of the filters, where it is installed."""

import numpy as np
import pytest
import tensorflow as tf

from tf_sg2.ops import resample_kernel, upfirdn2d

X = np.random.default_rng(4).normal(size=(2, 9, 12, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def image_ops():
    reason = "tensorflow-addons is installed on the addons stack only"
    return pytest.importorskip("tensorflow_addons", reason=reason).image


def same_padding(height, width):
    return ((height - 1) // 2, height // 2, (width - 1) // 2, width // 2)


@pytest.mark.parametrize("size", [(3, 3), (2, 5), (4, 4)])
def test_box_filter_equals_addons(image_ops, size):
    expected = image_ops.mean_filter2d(X, size, padding="CONSTANT", constant_values=0)
    kernel = np.full(size, 1 / np.prod(size))
    y = upfirdn2d(X, kernel, padding=same_padding(*size))
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize(("size", "sigma"), [((3, 3), 1.0), ((5, 3), (0.7, 1.4))])
def test_gaussian_filter_equals_addons(image_ops, size, sigma):
    expected = image_ops.gaussian_filter2d(X, size, sigma, padding="CONSTANT", constant_values=0)
    sigmas = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    taps = []
    for count, width in zip(size, sigmas, strict=True):
        distance = np.arange(count) - count // 2
        weights = np.exp(-(distance**2) / (2 * width**2))
        taps.append(weights / weights.sum())
    y = upfirdn2d(X, np.outer(*taps), padding=same_padding(*size))
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("shift", [(2, 3), (-1, 2), (0, -4)])
def test_cropping_and_padding_equal_translation_by_addons(image_ops, shift):
    """Whole pixels: padding on one side and cropping on the other move the image."""
    rows, columns = shift
    expected = image_ops.translate(X, [columns, rows], fill_value=0.0)
    y = upfirdn2d(X, np.ones((1, 1)), padding=(rows, -rows, columns, -columns))
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_upsampling_by_1331_equals_bilinear_resampling_by_addons(image_ops):
    """The filter (1, 3, 3, 1) / 4 is linear interpolation at the half-pixel positions."""
    y = upfirdn2d(X, resample_kernel([1, 3, 3, 1]), up=2, padding=(2, 1, 2, 1), gain=4.0)
    height, width = X.shape[1:3]
    rows, columns = np.meshgrid(
        (np.arange(2 * height) - 0.5) / 2, (np.arange(2 * width) - 0.5) / 2, indexing="ij"
    )
    positions = np.stack([columns, rows], axis=-1)[None].repeat(len(X), axis=0)
    expected = image_ops.resampler(tf.constant(X), tf.constant(positions, tf.float32))
    inner = (slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(y.numpy()[inner], expected.numpy()[inner], atol=1e-5)


def test_upsampling_by_1331_equals_bilinear_resize():
    """The same against TensorFlow's resize, on every stack."""
    y = upfirdn2d(X, resample_kernel([1, 3, 3, 1]), up=2, padding=(2, 1, 2, 1), gain=4.0)
    expected = tf.image.resize(X, [18, 24], "bilinear")
    inner = (slice(None), slice(1, -1), slice(1, -1))
    np.testing.assert_allclose(y.numpy()[inner], expected.numpy()[inner], atol=1e-5)

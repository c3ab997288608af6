"""`upfirdn2d` and its gradients beside SciPy, and its errors."""

import numpy as np
import pytest
import scipy.signal
import tensorflow as tf

import oracles
from tf_sg2 import InputError
from tf_sg2.ops import resample_kernel, upfirdn2d

pytestmark = pytest.mark.usefixtures("implementation")

CASES = [
    # kernel, up, down, padding, flip_kernel
    ((4, 4), 1, 1, (1, 1, 1, 1), False),
    ((4, 4), 1, 1, (2, 2, 2, 2), True),
    ((4, 4), 2, 1, (2, 1, 2, 1), False),
    ((4, 4), 1, 2, (1, 1, 1, 1), False),
    ((3, 5), 2, 3, (4, 1, 0, 6), False),
    ((3, 5), 3, 2, (0, 0, -1, -2), True),
    ((1, 1), 2, 2, (0, 0, 0, 0), False),
    ((2, 3), (1, 3), (2, 1), (1, 0, 2, 2), False),
    ((5, 2), (2, 1), (1, 3), (-1, 5, 0, 3), True),
    ((1, 6), (3, 2), (2, 2), (3, -2, -1, 7), False),
    ((8, 8), 1, 1, (9, 10, 12, 9), False),
    # The window of the result or of the gradient lies partly outside the image.
    ((1, 1), 1, 1, (10, -8, 0, 0), False),
    ((1, 1), 1, 1, (-8, 10, 0, 0), False),
    ((2, 3), 1, 1, (11, -9, -10, 12), False),
    ((2, 2), 1, 2, (9, -7, 0, 0), True),
    ((3, 1), (2, 1), 1, (-14, 8, 14, -9), False),
    ((2, 2), 2, 1, (20, -13, 1, 0), False),
    ((2, 2), 2, 3, (-15, 9, 18, -15), False),
    ((1, 2), 1, 5, (8, 0, 9, 3), False),
    ((1, 1), 3, 7, (6, 4, 0, 5), False),
    ((3, 2), (3, 2), (7, 5), (6, 20, 11, 4), True),
]


def _inputs(shape, kernel_shape):
    rng = np.random.default_rng(7)
    return rng.normal(size=shape), rng.normal(size=kernel_shape)


def _pair(value):
    return (value, value) if isinstance(value, int) else value


@pytest.mark.parametrize(("kernel_shape", "up", "down", "padding", "flip"), CASES)
@pytest.mark.parametrize("static", [True, False])
def test_upfirdn2d_equals_scipy(kernel_shape, up, down, padding, flip, static):
    x, kernel = _inputs((2, 6, 7, 3), kernel_shape)
    expected = oracles.upfirdn2d(x, kernel, _pair(up), _pair(down), padding, 1.7, flip)

    @tf.function(
        input_signature=[tf.TensorSpec(x.shape if static else [None, None, None, 3], "float64")]
    )
    def run(x):
        return upfirdn2d(x, kernel, up, down, padding, gain=1.7, flip_kernel=flip)

    np.testing.assert_allclose(run(tf.constant(x)), expected, atol=1e-12)


@pytest.mark.parametrize(("kernel_shape", "up", "down", "padding", "flip"), CASES)
def test_upfirdn2d_first_and_second_gradients_equal_the_adjoint(
    kernel_shape, up, down, padding, flip
):
    """The operation is linear: its gradient is A', and the gradient of that is A again."""
    x, kernel = _inputs((2, 6, 7, 3), kernel_shape)

    def forward(x):
        return upfirdn2d(x, kernel, up, down, padding, gain=0.5, flip_kernel=flip)

    matrix = np.stack(  # Column j is the oracle's response to the j-th unit image.
        [
            oracles.upfirdn2d(
                unit.reshape(1, 6, 7, 1), kernel, _pair(up), _pair(down), padding, 0.5, flip
            ).ravel()
            for unit in np.eye(42)
        ],
        axis=1,
    )
    x = tf.constant(x)
    upstream = tf.Variable(np.random.default_rng(8).normal(size=forward(x).shape))
    with tf.GradientTape() as outer:
        with tf.GradientTape() as inner:
            inner.watch(x)
            loss = tf.reduce_sum(forward(x) * upstream)
        gradient = inner.gradient(loss, x)
        weights = tf.constant(np.random.default_rng(9).normal(size=x.shape))
        second_loss = tf.reduce_sum(gradient * weights)
    second = outer.gradient(second_loss, upstream)

    def apply(matrix, images):  # [N, H, W, C] -> [N, pixels out, C]
        flat = images.numpy().reshape(images.shape[0], -1, images.shape[3])
        return np.einsum("op,npc->noc", matrix, flat)

    np.testing.assert_allclose(
        gradient.numpy().reshape(2, 42, 3),
        apply(matrix.T, tf.convert_to_tensor(upstream)),
        atol=1e-12,
    )
    np.testing.assert_allclose(second.numpy().reshape(2, -1, 3), apply(matrix, weights), atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-5), ("float16", 1e-2), ("bfloat16", 6e-2)]
)
def test_upfirdn2d_keeps_dtype(dtype, tolerance):
    x, kernel = _inputs((2, 8, 8, 4), (4, 4))
    for up, down, padding in ((1, 1, (1, 1, 1, 1)), (2, 1, (2, 1, 2, 1)), (1, 2, (1, 1, 1, 1))):
        y = upfirdn2d(tf.cast(x, dtype), kernel, up, down, padding)
        expected = oracles.upfirdn2d(x, kernel, (up, up), (down, down), padding, 1, False)
        assert y.dtype == dtype
        np.testing.assert_allclose(
            tf.cast(y, "float64"), expected, atol=tolerance * np.abs(expected).max()
        )


def test_upfirdn2d_takes_an_empty_batch():
    for up, down in ((1, 1), (2, 1), (1, 2)):
        y = upfirdn2d(tf.zeros([0, 8, 8, 2]), np.ones((4, 4)), up, down, (2, 1, 2, 1))
        assert y.shape[0] == 0


@pytest.mark.parametrize("static", [True, False])
@pytest.mark.parametrize(
    ("kernel_shape", "up", "down"), [((3, 2), 1, 1), ((1, 4), 2, 1), ((2, 2), 3, 2)]
)
@pytest.mark.parametrize("shape", [(2, 0, 3, 2), (2, 3, 0, 2), (1, 0, 0, 1)])
def test_upfirdn2d_of_no_pixels_is_zero_and_has_a_gradient(shape, kernel_shape, up, down, static):
    @tf.function(
        input_signature=[tf.TensorSpec(shape if static else [None] * 3 + [shape[3]], tf.float32)]
    )
    def run(x):
        with tf.GradientTape() as outer:
            factor = tf.ones([])
            outer.watch(factor)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = upfirdn2d(x, np.ones(kernel_shape), up, down, (4, 5, 6, 3))
            gradient = inner.gradient(y, x, factor * tf.ones_like(y))
        return y, gradient, outer.gradient(gradient, factor)

    x = np.zeros(shape, np.float32)
    y, gradient, second = run(x)
    up, down = _pair(up), _pair(down)
    expected = oracles.upfirdn2d(x, np.ones(kernel_shape), up, down, (4, 5, 6, 3), 1, False)
    np.testing.assert_array_equal(y, expected)
    assert gradient.shape == shape
    assert second == 0


def test_upfirdn2d_upsampling_equals_scipy_upfirdn():
    """SciPy has a 1-D operation of the same definition, a second oracle."""
    x, _ = _inputs((1, 9, 1, 1), (1, 1))
    taps = np.array([1.0, 3.0, 3.0, 1.0, 0.5])
    expected = scipy.signal.upfirdn(taps, x[0, :, 0, 0], up=3, down=2)
    y = upfirdn2d(x, taps[:, None], (3, 1), (2, 1), (4, 2, 0, 0))
    np.testing.assert_allclose(y[0, : len(expected), 0, 0], expected, atol=1e-12)


def test_resample_kernel_sums_to_one():
    kernel = resample_kernel([1, 3, 3, 1])
    np.testing.assert_allclose(kernel * 64, np.outer([1, 3, 3, 1], [1, 3, 3, 1]), rtol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": tf.zeros([4, 4, 1])}, "x has rank 3"),
        ({"x": tf.zeros([1, 4, 4, 1], tf.int32)}, "x is int32"),
        ({"up": 0}, "up is 0"),
        ({"down": (1, -2)}, r"down is \(1, -2\)"),
        ({"padding": (1, 1)}, "four integers"),
        ({"padding": (1.5, 1, 1, 1)}, "four integers"),
        ({"padding": (1, 1, -(2**63), 1)}, "must be within 1073741824"),
        ({"padding": (2**70, 1, 1, 1)}, "must be within 1073741824"),
        ({"up": 2**40}, "up is 1099511627776; it must be 1 to 65536"),
        ({"kernel": np.ones(4)}, "kernel has shape"),
        ({"kernel": np.full((2, 2), np.nan)}, "NaN"),
        ({"padding": (-4, 0, 0, 0)}, "rows 4"),
    ],
)
def test_upfirdn2d_refuses(arguments, message):
    call = {
        "x": tf.zeros([1, 4, 4, 1]),
        "kernel": np.ones((2, 2)),
        "up": 1,
        "down": 1,
        "padding": (0, 0, 0, 0),
    }
    with pytest.raises(InputError, match=message):
        upfirdn2d(**{**call, **arguments})

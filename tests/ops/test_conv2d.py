"""`conv2d` and its derivatives beside NumPy, the rule for its tiles, and its errors."""

import numpy as np
import pytest
import tensorflow as tf

import oracles
from tf_sg2 import InputError
from tf_sg2.ops import conv2d, current_implementation
from tf_sg2.ops.conv2d_tiles import tile_for

pytestmark = pytest.mark.usefixtures("implementation")

# Batch, height, width, channels, filters: both tiles, partial tiles, and TensorFlow's shapes.
SHAPES = [
    (2, 8, 8, 16, 32),
    (1, 13, 22, 48, 17),
    (3, 5, 7, 32, 16),
    (2, 4, 4, 20, 24),
    (1, 1, 1, 16, 16),
    (2, 9, 1, 16, 40),
    (2, 12, 10, 3, 16),
    (0, 16, 16, 16, 32),
]


def data(shape):
    n, height, width, channels, filters = shape
    random = np.random.default_rng(sum(shape))
    x = random.normal(size=(n, height, width, channels))
    weight = random.normal(size=(3, 3, channels, filters)) / np.sqrt(9 * channels)
    return x, weight, random.normal(size=(n, height, width, filters)), random


def assert_close(actual, expected, tolerance):
    assert actual.shape == expected.shape
    size = np.abs(expected).max(initial=0) + 1e-6
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float64", 1e-12), ("float32", 1e-5), ("float16", 1e-2), ("bfloat16", 6e-2)],
)
def test_conv2d_equals_numpy(shape, dtype, tolerance):
    x, weight, _, _ = data(shape)
    x, weight = tf.cast(x, dtype), tf.cast(weight, dtype)
    rounded = [tf.cast(value, "float64").numpy() for value in (x, weight)]
    for run in (conv2d, tf.function(conv2d)):
        y = run(x, weight)
        assert y.dtype == dtype
        assert_close(tf.cast(y, "float64"), oracles.convolution(*rounded), tolerance)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 2e-5)])
def test_first_and_second_derivatives_equal_numpy(shape, dtype, tolerance):
    """Second order by every pair of x, weight and the upstream gradient, from the bilinear form."""
    x, weight, dy, random = data(shape)
    a, b = random.normal(size=x.shape), random.normal(size=weight.shape)
    tensors = [tf.constant(value, dtype) for value in (x, weight, dy)]

    @tf.function
    def derivatives(x, weight, dy):
        with tf.GradientTape() as outer:
            outer.watch([x, weight, dy])
            with tf.GradientTape() as inner:
                inner.watch([x, weight])
                y = conv2d(x, weight)
            first = inner.gradient(y, [x, weight], dy)
            total = tf.reduce_sum(first[0] * tf.constant(a, dtype))
            total += tf.reduce_sum(first[1] * tf.constant(b, dtype))
        return first, outer.gradient(total, [x, weight, dy])

    (dx, dweight), (by_x, by_weight, by_dy) = derivatives(*tensors)
    assert_close(dx, oracles.convolution_input_gradient(dy, weight), tolerance)
    assert_close(dweight, oracles.convolution_filter_gradient(x, dy), tolerance)
    assert_close(by_x, oracles.convolution_input_gradient(dy, b), tolerance)
    assert_close(by_weight, oracles.convolution_filter_gradient(a, dy), tolerance)
    expected = oracles.convolution(a, weight) + oracles.convolution(x, b)
    assert_close(by_dy, expected, tolerance)


def test_third_derivative_equals_differences():
    """Of a sum of squares of a gradient, in which every op of every order appears."""
    x, weight, _, random = data((1, 8, 9, 16, 16))
    direction = tf.constant(random.normal(size=weight.shape), tf.float32)

    def curvature(weight):
        point = tf.constant(x, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch(point)
            y = tf.reduce_sum(tf.tanh(conv2d(point, weight)))
        return tf.reduce_sum(tf.square(tape.gradient(y, point)))

    weight = tf.constant(weight, tf.float32)
    with tf.GradientTape() as outer:
        outer.watch(weight)
        with tf.GradientTape() as inner:
            inner.watch(weight)
            value = curvature(weight)
        first = inner.gradient(value, weight)
        along = tf.reduce_sum(first * direction)
    third = tf.reduce_sum(outer.gradient(along, weight) * direction)
    h = 5e-3
    values = [float(curvature(weight + step * h * direction)) for step in (-1, 0, 1)]
    expected = (values[0] - 2 * values[1] + values[2]) / h**2
    assert float(third) == pytest.approx(expected, rel=2e-2)


def test_unknown_sizes_are_taken():
    @tf.function(input_signature=[tf.TensorSpec([None] * 4), tf.TensorSpec([3, 3, None, None])])
    def any_channels(x, weight):
        return conv2d(x, weight)

    @tf.function(input_signature=[tf.TensorSpec(None), tf.TensorSpec([3, 3, 16, 32])])
    def gradients(x, weight):
        with tf.GradientTape() as tape:
            tape.watch([x, weight])
            y = conv2d(x, weight)
        return y, *tape.gradient(y, [x, weight])

    for size in (1, 6, 10):
        x, weight, _, _ = data((2, size, size, 16, 32))
        inputs = tf.constant(x, tf.float32), tf.constant(weight, tf.float32)
        expected = oracles.convolution(x, weight)
        assert_close(any_channels(*inputs), expected, 1e-5)
        y, dx, dweight = gradients(*inputs)
        assert_close(y, expected, 1e-5)
        ones = np.ones(expected.shape)
        assert_close(dx, oracles.convolution_input_gradient(ones, weight), 1e-5)
        assert_close(dweight, oracles.convolution_filter_gradient(x, ones), 1e-5)


@pytest.mark.parametrize(
    ("height", "width", "channels", "filters", "tile"),
    [
        (64, 64, 512, 512, 4),
        (8, 8, 16, 16, 4),
        (48, 7, 64, 64, 2),
        (5, 9, 64, 64, 2),
        (4, 4, 512, 512, None),
        (64, 64, 3, 64, None),
        (64, 64, 64, 15, None),
        (None, None, 64, 64, 4),
        (None, 6, 64, 64, 2),
        (8, 8, None, 64, None),
    ],
)
def test_the_tile_is_chosen_by_the_shape(height, width, channels, filters, tile, implementation):
    x = tf.TensorShape([None, height, width, channels])
    weight = tf.TensorShape([3, 3, channels, filters])
    assert tile_for(x, weight) == tile
    assert tile_for(x, tf.TensorShape([3, 3, filters, channels])) == tile

    @tf.function
    def run(x, weight):
        return conv2d(x, weight)

    graph = run.get_concrete_function(tf.TensorSpec(x), tf.TensorSpec(weight)).graph
    tiles = [op.get_attr("tile") for op in graph.get_operations() if op.type == "TfSg2>Conv2d"]
    native = current_implementation() == "native" and tile is not None
    assert tiles == ([tile] if native else [])


@pytest.mark.parametrize(
    ("x", "weight", "message"),
    [
        ([4, 4, 3], [3, 3, 3, 8], "conv2d: x has rank 3; it must be [N, H, W, C]"),
        (
            [1, 4, 4, 3],
            [3, 3, 4, 8],
            "conv2d: weight has shape (3, 3, 4, 8) but x has (1, 4, 4, 3); it must be "
            "[3, 3, C, filters]",
        ),
        (
            [1, 4, 4, 3],
            [1, 1, 3, 8],
            "conv2d: weight has shape (1, 1, 3, 8) but x has (1, 4, 4, 3); it must be "
            "[3, 3, C, filters]",
        ),
        (
            [1, 4, 4, 3],
            [3, 3, 3],
            "conv2d: weight has shape (3, 3, 3) but x has (1, 4, 4, 3); it must be "
            "[3, 3, C, filters]",
        ),
    ],
)
def test_conv2d_refuses_shapes(x, weight, message):
    with pytest.raises(InputError) as caught:
        conv2d(tf.zeros(x), tf.zeros(weight))
    assert str(caught.value) == message


def test_conv2d_refuses_types():
    with pytest.raises(InputError) as caught:
        conv2d(tf.zeros([1, 4, 4, 3]), tf.zeros([3, 3, 3, 8], tf.float64))
    assert str(caught.value) == "conv2d: weight is float64 but x is float32; cast one of them"
    with pytest.raises(InputError) as caught:
        conv2d(tf.zeros([1, 4, 4, 3], tf.int32), tf.zeros([3, 3, 3, 8], tf.int32))
    assert str(caught.value) == (
        "conv2d: x is int32; it must be one of float16, bfloat16, float32, float64"
    )

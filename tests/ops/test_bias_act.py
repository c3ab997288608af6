"""`bias_act` beside NumPy, its derivatives beside central differences, and its errors."""

import numpy as np
import pytest
import tensorflow as tf

import oracles
from tf_sg2 import InputError
from tf_sg2.ops import ACTIVATIONS, bias_act, resample_kernel, upfirdn2d

pytestmark = pytest.mark.usefixtures("implementation")

RNG = np.random.default_rng(6)
X = RNG.normal(size=(3, 4, 5, 2)) * 3
BIAS = RNG.normal(size=2)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize(("gain", "clamp"), [(None, None), (1.0, None), (0.3, 0.4), (-2.0, 1.0)])
def test_bias_act_equals_numpy(activation, gain, clamp):
    expected = oracles.bias_act(X, BIAS, activation, gain=gain, clamp=clamp)
    # TensorFlow holds the slope of a leaky ReLU in single precision.
    rtol = 1e-7 if activation == "lrelu" else 1e-12
    for run in (bias_act, tf.function(bias_act)):
        y = run(tf.constant(X), tf.constant(BIAS), activation, gain=gain, clamp=clamp)
        assert y.dtype == tf.float64
        np.testing.assert_allclose(y, expected, rtol=rtol, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.2, 0.01, 0.0, -0.5, 1.5])
def test_slope_equals_numpy(alpha):
    y = bias_act(tf.constant(X), tf.constant(BIAS), "lrelu", alpha=alpha)
    np.testing.assert_allclose(y, oracles.bias_act(X, BIAS, "lrelu", alpha), atol=1e-7)


@pytest.mark.parametrize("shape", [(2,), (3, 2), (3, 5, 2), (0, 4, 5, 2)])
def test_any_rank_and_an_empty_batch_are_taken(shape):
    x = np.random.default_rng(1).normal(size=shape)
    y = bias_act(tf.constant(x), tf.constant(BIAS), "lrelu")
    np.testing.assert_allclose(y, oracles.bias_act(x, BIAS, "lrelu"), atol=1e-7)


def test_unknown_sizes_are_taken():
    run = tf.function(
        lambda x, bias: bias_act(x, bias, "lrelu", clamp=1),
        input_signature=[tf.TensorSpec([None] * 4, tf.float64), tf.TensorSpec([None], tf.float64)],
    )
    np.testing.assert_allclose(run(X, BIAS), oracles.bias_act(X, BIAS, "lrelu", clamp=1), atol=1e-7)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-6), ("float16", 5e-3), ("bfloat16", 4e-2)]
)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dtype_is_kept(activation, dtype, tolerance):
    x, bias = tf.cast(X, dtype), tf.cast(BIAS, dtype)
    y = bias_act(x, bias, activation, clamp=4)
    assert y.dtype == dtype
    expected = oracles.bias_act(
        tf.cast(x, "float64"), tf.cast(bias, "float64"), activation, clamp=4
    )
    np.testing.assert_allclose(
        tf.cast(y, "float64"), expected, atol=tolerance * np.abs(expected).max()
    )


@pytest.mark.parametrize("clamp", [None, 1.5])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_first_and_second_derivatives_equal_differences(activation, clamp):
    """The derivatives are those of y^2, because its second derivative exists everywhere."""
    step = 1e-4

    def square(x):
        return oracles.bias_act(x, BIAS, activation, clamp=clamp) ** 2

    x, bias = tf.constant(X), tf.Variable(BIAS)
    with tf.GradientTape(persistent=True) as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(tf.square(bias_act(x, bias, activation, clamp=clamp)))
        first, first_bias = inner.gradient(y, [x, bias])
        total, total_bias = tf.reduce_sum(first), tf.reduce_sum(first_bias)
    second, mixed = outer.gradient(total, [x, bias])
    second_bias = outer.gradient(total_bias, bias)
    assert second is not None
    assert mixed is not None
    assert second_bias is not None
    low, middle, high = square(X - step), square(X), square(X + step)
    np.testing.assert_allclose(first, (high - low) / (2 * step), atol=1e-5)
    np.testing.assert_allclose(second, (high - 2 * middle + low) / step**2, atol=1e-4)
    axes = (0, 1, 2)
    np.testing.assert_allclose(first_bias, np.sum(first, axis=axes), atol=1e-9)
    for by_bias in (mixed, second_bias):
        np.testing.assert_allclose(by_bias, np.sum(second, axis=axes), atol=1e-9)


@pytest.mark.parametrize("activation", ["tanh", "swish", "softplus"])
def test_third_derivative_exists(activation):
    x = tf.Variable(0.7, dtype=tf.float64)
    with tf.GradientTape() as third:
        with tf.GradientTape() as second:
            with tf.GradientTape() as first:
                y = bias_act(x[None], activation=activation)
            slope = first.gradient(y, x)
        curvature = second.gradient(slope, x)
    actual = third.gradient(curvature, x)
    h = 1e-3
    values = oracles.bias_act(0.7 + h * np.array([-2, -1, 1, 2]), activation=activation)
    expected = (-values[0] + 2 * values[1] - 2 * values[2] + values[3]) / (2 * h**3)
    assert float(actual) == pytest.approx(expected, rel=1e-4)


def test_clamped_values_have_no_gradient():
    x = tf.constant([-3.0, -0.5, 0.5, 3.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = bias_act(x, clamp=1.0)
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 1, 1, 0])


@pytest.mark.parametrize("activation", ["linear", "relu", "lrelu", "elu"])
def test_clamps_and_nan_stop_infinite_gradients(activation):
    """No derivative passes at clamped values and at NaN, in both implementations."""
    x = tf.constant([3.0, 3.0, np.inf, np.nan, np.nan, 0.5, 0.5] * 3)
    dy = tf.constant([np.inf, -np.inf, 1.0, 1.0, np.inf, 2.0, np.inf] * 3)
    with tf.GradientTape() as outer:
        outer.watch([x, dy])
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = bias_act(x, activation=activation, gain=1.0, clamp=0.7)
        first = inner.gradient(y, x, dy)
    second = outer.gradient(first, dy, tf.fill(x.shape, np.inf))
    for derivative in (first, second):
        np.testing.assert_array_equal(tf.reshape(derivative, [3, 7])[:, :5], np.zeros([3, 5]))
        assert np.all(tf.reshape(derivative, [3, 7])[:, 5:] > 0)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x))


@pytest.mark.parametrize("shape", [(2, 3, 4, 0), (5, 0)])
def test_no_channels_have_gradients_of_zero(shape):
    """This holds for all terms to second order, although noise has pixels."""
    x = tf.zeros(shape)
    terms = {"bias": tf.zeros([0])}
    if len(shape) == 4:
        terms |= {"scale": tf.zeros([2, 0]), "noise": tf.ones([2, 3, 4])}
    with tf.GradientTape() as outer:
        outer.watch(terms)
        with tf.GradientTape() as inner:
            inner.watch([x, terms])
            y = bias_act(x, activation="swish", **terms)
        first = inner.gradient(y, {"x": x, **terms})
        total = tf.add_n([tf.reduce_sum(value) for value in first.values()])
    second = outer.gradient(total, terms, unconnected_gradients="zero")
    assert y.shape == shape
    for found in (first, second):
        for name, value in found.items():
            assert value.shape == ({"x": x, **terms}[name]).shape
            np.testing.assert_array_equal(value, np.zeros(value.shape))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"activation": "gelu"},
            "bias_act: there is no activation 'gelu'; take one of "
            "linear, relu, lrelu, tanh, sigmoid, elu, selu, softplus, swish",
        ),
        ({"clamp": -1}, "bias_act: clamp is -1; it must not be negative"),
        ({"clamp": float("nan")}, "bias_act: clamp is nan; it must not be negative"),
        ({"activation": "relu", "alpha": 0.1}, "bias_act: activation 'relu' takes no alpha"),
        (
            {"bias": tf.zeros([3])},
            "bias_act: bias has shape (3,) but x has (2, 4); it must be one value per channel",
        ),
        (
            {"bias": tf.zeros([2, 4])},
            "bias_act: bias has shape (2, 4) but x has (2, 4); it must be one value per channel",
        ),
        (
            {"bias": tf.zeros([4], tf.float64)},
            "bias_act: bias is float64 but x is float32; cast one of them",
        ),
        (
            {"x": tf.zeros([2, 4], tf.int32)},
            "bias_act: x is int32; it must be one of float16, bfloat16, float32, float64",
        ),
    ],
)
def test_bias_act_refuses(arguments, message):
    with pytest.raises(InputError) as caught:
        bias_act(**{"x": tf.zeros([2, 4]), **arguments})
    assert str(caught.value) == message


def test_filtering_then_bias_runs_in_a_graph():
    """TensorFlow's graph optimizer once fused them into an operation that aborted the process."""
    kernel = resample_kernel([1, 3, 3, 1])
    x = tf.constant(X, tf.float32)

    def filtered(x, factors):
        y = upfirdn2d(x, kernel, padding=(2, 1, 2, 1), **factors)
        return bias_act(y, tf.constant([0.5, -0.5]), "relu")

    for factors in ({}, {"up": 2}, {"down": 2}):
        run = tf.function(lambda x, factors=factors: filtered(x, factors))
        np.testing.assert_allclose(run(x), filtered(x, factors), atol=1e-6)

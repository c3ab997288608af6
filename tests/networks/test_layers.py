"""Every layer by `check_layer`, and by NumPy versions written from the paper's definitions."""

import numpy as np
import pytest
import tensorflow as tf

import oracles
from check_layer import check_layer, randomised
from tf_sg2 import InputError
from tf_sg2.networks.layers import (
    EqualizedConv2D,
    EqualizedDense,
    MinibatchStddev,
    ModulatedConv2D,
    NoiseInjection,
    StyledConv2D,
    ToRGB,
    normalize_second_moment,
)

RNG = np.random.default_rng(5)
X = RNG.normal(size=(4, 6, 8, 3)).astype(np.float32)
W = RNG.normal(size=(4, 5)).astype(np.float32)
STYLE = RNG.normal(size=(4, 3)).astype(np.float32)
NOISE = RNG.normal(size=(4, 6, 8)).astype(np.float32)
NOISE_UP = RNG.normal(size=(4, 12, 16)).astype(np.float32)

CONVOLUTION = {"weight": ((3, 3, 3, 2), True), "bias": ((2,), True)}
STYLED = {
    "conv.weight": ((3, 3, 3, 2), True),
    "affine.weight": ((5, 3), True),
    "affine.bias": ((3,), True),
    "noise.strength": ((), True),
    "bias": ((2,), True),
}

# name: (layer class, its arguments, inputs, weights, shape of the output)
LAYERS = {
    "dense": (
        EqualizedDense,
        {"units": 3, "activation": "lrelu", "lr_multiplier": 0.1, "bias_initial": 1.0},
        [W],
        {"weight": ((5, 3), True), "bias": ((3,), True)},
        (4, 3),
    ),
    "conv_3x3": (
        EqualizedConv2D,
        {"filters": 2, "kernel_size": 3, "activation": "lrelu"},
        [X],
        CONVOLUTION,
        (4, 6, 8, 2),
    ),
    "conv_1x1": (
        EqualizedConv2D,
        {"filters": 2, "kernel_size": 1, "clamp": 1.5, "gain": 0.7},
        [X],
        {"weight": ((1, 1, 3, 2), True), "bias": ((2,), True)},
        (4, 6, 8, 2),
    ),
    "conv_3x3_up": (
        EqualizedConv2D,
        {"filters": 2, "kernel_size": 3, "activation": "swish", "up": 2},
        [X],
        CONVOLUTION,
        (4, 12, 16, 2),
    ),
    "conv_1x1_up": (
        EqualizedConv2D,
        {"filters": 2, "kernel_size": 1, "use_bias": False, "up": 2, "gain": 0.5**0.5},
        [X],
        {"weight": ((1, 1, 3, 2), True)},
        (4, 12, 16, 2),
    ),
    "conv_3x3_down": (
        EqualizedConv2D,
        {
            "filters": 2,
            "kernel_size": 3,
            "activation": "lrelu",
            "down": 2,
            "clamp": 2.0,
            "gain": 0.5**0.5,
        },
        [X],
        CONVOLUTION,
        (4, 3, 4, 2),
    ),
    "conv_1x1_down": (
        EqualizedConv2D,
        {"filters": 2, "kernel_size": 1, "use_bias": False, "down": 2, "resample_filter": (1, 1)},
        [X],
        {"weight": ((1, 1, 3, 2), True)},
        (4, 3, 4, 2),
    ),
    "modulated": (
        ModulatedConv2D,
        {"filters": 2, "kernel_size": 3},
        [X, STYLE],
        {"weight": ((3, 3, 3, 2), True)},
        (4, 6, 8, 2),
    ),
    "modulated_up": (
        ModulatedConv2D,
        {"filters": 2, "kernel_size": 3, "up": 2},
        [X, STYLE],
        {"weight": ((3, 3, 3, 2), True)},
        (4, 12, 16, 2),
    ),
    "modulated_1x1": (
        ModulatedConv2D,
        {"filters": 2, "kernel_size": 1, "demodulate": False},
        [X, STYLE],
        {"weight": ((1, 1, 3, 2), True)},
        (4, 6, 8, 2),
    ),
    "noise": (
        NoiseInjection,
        {"height": 6, "width": 8},
        [X, NOISE],
        {"const": ((6, 8), False), "strength": ((), True)},
        (4, 6, 8, 3),
    ),
    "styled": (
        StyledConv2D,
        {"filters": 2, "height": 6, "width": 8, "w_dim": 5, "clamp": 2.0, "gain": 0.5**0.5},
        [X, W, NOISE],
        {**STYLED, "noise.const": ((6, 8), False)},
        (4, 6, 8, 2),
    ),
    "styled_up": (
        StyledConv2D,
        {"filters": 2, "height": 12, "width": 16, "w_dim": 5, "up": 2},
        [X, W, NOISE_UP],
        {**STYLED, "noise.const": ((12, 16), False)},
        (4, 12, 16, 2),
    ),
    "to_rgb": (
        ToRGB,
        {"channels": 4, "w_dim": 5, "clamp": 1.0},
        [X, W],
        {
            "conv.weight": ((1, 1, 3, 4), True),
            "affine.weight": ((5, 3), True),
            "affine.bias": ((3,), True),
            "bias": ((4,), True),
        },
        (4, 6, 8, 4),
    ),
    "minibatch_stddev": (MinibatchStddev, {"group": 2}, [X], {}, (4, 6, 8, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer_proves_itself(name, tmp_path):
    layer_class, arguments, inputs, weights, output_shape = LAYERS[name]
    check_layer(
        lambda: layer_class(**arguments, name=name),
        inputs,
        weights,
        output_shape,
        tmp_path,
        empty_batch=name in ("dense", "noise", "minibatch_stddev"),
    )


@pytest.mark.parametrize("name", LAYERS)
def test_layer_takes_its_dtype_as_an_argument(name):
    """Also where it holds other layers."""
    layer_class, arguments, inputs, _, output_shape = LAYERS[name]
    layer = layer_class(**arguments, dtype="float64")
    y = layer(*(tf.constant(x, tf.float64) for x in inputs))
    assert y.dtype == tf.float64
    assert tuple(y.shape) == output_shape
    assert all(tf.as_dtype(w.dtype) == tf.float64 for w in layer.weights)


def equal(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=1e-5 * np.abs(expected).max())


def weights_of(layer, *names):
    return [np.asarray(getattr(layer, name)) for name in names]


@pytest.mark.parametrize(("activation", "lr_multiplier"), [("linear", 1.0), ("lrelu", 0.01)])
def test_dense_equals_numpy(activation, lr_multiplier):
    layer = randomised(lambda: EqualizedDense(3, activation, lr_multiplier), [W], {})
    weight, bias = weights_of(layer, "weight", "bias")
    equal(layer(W), oracles.dense(W, weight, bias, activation, lr_multiplier))


def test_dense_starts_at_its_effective_bias():
    layer = EqualizedDense(3, lr_multiplier=0.01, bias_initial=1.0)
    np.testing.assert_allclose(layer(np.zeros((1, 5), np.float32)), np.ones((1, 3)), rtol=1e-6)


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
def test_dense_starts_with_unit_variance(lr_multiplier):
    x = np.random.default_rng(1).normal(size=(64, 256)).astype(np.float32)
    tf.random.set_seed(1)
    y = EqualizedDense(256, lr_multiplier=lr_multiplier)(x)
    assert float(tf.math.reduce_std(y)) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("taps", [(1, 3, 3, 1), (1, 1), (1, 2, 5, 4, 3, 1)])
@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2)])
def test_convolution_equals_numpy(kernel_size, up, down, taps):
    layer = randomised(
        lambda: EqualizedConv2D(
            2, kernel_size, "lrelu", up=up, down=down, gain=0.5, clamp=0.4, resample_filter=taps
        ),
        [X],
        {},
    )
    weight, bias = weights_of(layer, "weight", "bias")
    scaled = weight / np.sqrt(kernel_size**2 * 3)
    y = oracles.resampled_convolution(X, scaled, up, down, taps)
    expected = 0.5 * oracles.bias_act(y, bias, "lrelu", clamp=0.4)
    assert np.abs(expected).max() == 0.2
    assert np.median(np.abs(expected)) < 0.2
    equal(layer(X), expected)


@pytest.mark.parametrize("kernel_size", [1, 3])
@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("demodulate", [True, False])
def test_modulated_convolution_equals_the_paper(kernel_size, up, demodulate):
    layer = randomised(
        lambda: ModulatedConv2D(2, kernel_size, up, demodulate=demodulate), [X, STYLE], {}
    )
    weight = np.asarray(layer.weight)
    expected = oracles.modulated_convolution(X, weight, STYLE, up, demodulate)
    equal(layer(X, STYLE), expected)
    equal(layer(X, STYLE, gain=1.7), 1.7 * expected)


def test_modulated_convolution_takes_a_style_of_zero():
    layer = ModulatedConv2D(2, 3)
    style = tf.Variable(tf.zeros([4, 3]))
    with tf.GradientTape() as tape:
        y = layer(X, style)
    assert np.all(y == 0)
    assert np.all(np.isfinite(tape.gradient(y, style)))


@pytest.mark.parametrize("up", [1, 2])
@pytest.mark.parametrize("noise_rank", [None, 2, 3])
def test_styled_convolution_equals_the_paper(up, noise_rank):
    noise = {None: None, 2: NOISE_UP[0], 3: NOISE_UP}[noise_rank]
    if up == 1 and noise is not None:
        noise = noise[..., ::2, ::2]
    layer = randomised(
        lambda: StyledConv2D(2, 6 * up, 8 * up, 5, up, gain=0.5, clamp=1.2), [X, W], {}
    )
    style = oracles.dense(W, *weights_of(layer.affine, "weight", "bias"))
    y = oracles.modulated_convolution(X, np.asarray(layer.conv.weight), style, up)
    if noise is not None:
        y = y + np.asarray(layer.noise.strength) * noise[..., None]
    expected = 0.5 * oracles.bias_act(y, np.asarray(layer.bias), "lrelu", clamp=1.2)
    equal(layer(X, W, noise), expected)


@pytest.mark.parametrize("clamp", [None, 0.5])
def test_to_rgb_equals_numpy(clamp):
    layer = randomised(lambda: ToRGB(4, 5, clamp), [X, W], {})
    style = oracles.dense(W, *weights_of(layer.affine, "weight", "bias")) / np.sqrt(3)
    weight = np.asarray(layer.conv.weight)
    y = oracles.modulated_convolution(X, weight, style, demodulate=False)
    equal(layer(X, W), oracles.bias_act(y, np.asarray(layer.bias), clamp=clamp))


def test_noise_starts_without_effect():
    equal(NoiseInjection(6, 8)(X, NOISE), X)


def test_normalisation_equals_numpy():
    equal(normalize_second_moment(7 * W), oracles.unit_second_moment(7 * W))


@pytest.mark.parametrize(
    ("batch", "group"), [(4, 4), (4, 2), (8, 4), (6, 3), (3, 4), (1, 4), (4, 1)]
)
def test_minibatch_stddev_equals_numpy(batch, group):
    x = np.random.default_rng(2).normal(size=(batch, 3, 5, 2)).astype(np.float32)
    layer = MinibatchStddev(group)
    expected = oracles.minibatch_stddev(x, group)
    unknown = tf.function(layer, input_signature=[tf.TensorSpec([None, None, None, 2])])
    equal(layer(x), expected)
    equal(unknown(x), expected)


@pytest.mark.parametrize("replicas", [2, 4])
def test_minibatch_stddev_of_samples_dealt_by_stride_is_the_same(replicas):
    x = np.random.default_rng(3).normal(size=(16, 3, 5, 2)).astype(np.float32)
    layer = MinibatchStddev(4)
    whole = layer(x)
    for replica in range(replicas):
        np.testing.assert_allclose(layer(x[replica::replicas]), whole[replica::replicas], rtol=1e-6)


def test_minibatch_stddev_refuses_a_batch_that_does_not_divide():
    x = np.zeros((6, 2, 2, 1), np.float32)
    with pytest.raises(InputError, match=r"batch of 6 .*groups of 4; change the batch size"):
        MinibatchStddev(4)(x)
    unknown = tf.function(MinibatchStddev(4), input_signature=[tf.TensorSpec([None, 2, 2, 1])])
    with pytest.raises(tf.errors.InvalidArgumentError, match="does not divide into"):
        unknown(x)


def test_minibatch_stddev_of_equal_samples_has_finite_gradients():
    x = tf.ones([4, 2, 2, 1])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = MinibatchStddev(4)(x)
    assert np.all(np.isfinite(tape.gradient(y, x)))


def test_unknown_activation_is_refused_when_the_layer_is_made():
    for layer in (lambda: EqualizedDense(3, "gelu"), lambda: EqualizedConv2D(3, 3, "gelu")):
        with pytest.raises(
            InputError,
            match=r"Equalized\w+: there is no activation 'gelu'; take one of linear, relu",
        ):
            layer()


@pytest.mark.parametrize(
    ("layer", "others"),
    [
        (EqualizedDense(3, name="layer"), ()),
        (EqualizedConv2D(3, 3, name="layer"), (4, 4)),
        (ModulatedConv2D(3, 3, name="layer"), (4, 4)),
        (StyledConv2D(3, 4, 4, 5, name="layer"), (4, 4)),
        (ToRGB(3, 5, name="layer"), (4, 4)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_unknown_channels_are_refused(layer, others):
    with pytest.raises(
        InputError, match=r"layer layer: the input has shape .*None\), but .* known"
    ):
        layer.build((None, *others, None))

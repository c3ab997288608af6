"""The native implementations of the ops, and their gradients.

The public functions of `tf_sg2.ops` have checked the arguments. Gradients are registered by op
name, so every graph that holds such an op can be differentiated.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import tensorflow as tf

from tf_sg2.custom_ops import loader
from tf_sg2.ops import bias_act_tensorflow
from tf_sg2.ops.conv2d_tiles import tile_for

# The kernels read small inputs in the host's memory. If one were made on a GPU, every call would
# copy it to the host, and the copy would wait for all earlier work of the GPU.
HOST = "CPU:0"
# The tensors that `bias_act` has gradients by, in the order of the native ops' arguments.
TERMS = ("x", "scale", "noise", "bias")


def _ops() -> ModuleType:
    ops = loader.load().ops
    assert ops is not None, "current_implementation() said that the native ops are loaded"
    return ops


def upfirdn2d(
    x: tf.Tensor,
    kernel: np.ndarray | tf.Tensor,
    up: tuple[int, int],
    down: tuple[int, int],
    padding: tuple[int, int, int, int] | tf.Tensor,
) -> tf.Tensor:
    """Upsamples, pads, convolves with `kernel` and downsamples `x`, [N, H, W, C]."""
    with tf.device(HOST):
        kernel, padding = tf.cast(kernel, tf.float64), tf.cast(padding, tf.int64)
    return _ops().tf_sg2_upfirdn2d(
        x=x, kernel=kernel, padding=padding, up=list(up), down=list(down)
    )


@tf.RegisterGradient("TfSg2>Upfirdn2d")
def _upfirdn2d_gradient(op: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """Returns the transposed operation: factors swapped, kernel flipped."""
    x = op.inputs[0]
    sizes = x.shape[1], x.shape[2]

    def empty():
        # The op refuses a result without pixels. This tensor depends on `upstream` as it would.
        return tf.reshape(upstream[:0], tf.shape(x))

    if 0 in sizes:
        gradient = empty()
    elif None not in sizes:
        gradient = _transposed(op, upstream)
    else:
        gradient = tf.cond(tf.equal(tf.size(x), 0), empty, lambda: _transposed(op, upstream))
    return [tf.ensure_shape(gradient, x.shape), None, None]


def _transposed(op: tf.Operation, upstream: tf.Tensor) -> tf.Tensor:
    x, kernel, padding = op.inputs
    up, down = op.get_attr("up"), op.get_attr("down")
    inside, outside = tf.shape(x, tf.int64), tf.shape(upstream, tf.int64)
    with tf.device(HOST):
        taps = tf.shape(kernel, tf.int64)
        amounts = []
        for axis in (0, 1):
            before = padding[2 * axis]
            sizes = inside[1 + axis] * up[axis] - outside[1 + axis] * down[axis]
            amounts += [taps[axis] - 1 - before, sizes + before - up[axis] + 1]
        amounts, flipped = tf.stack(amounts), kernel[::-1, ::-1]
    return upfirdn2d(upstream, flipped, down, up, amounts)


# The tile of the filter gradient. It transforms no weights, so the larger one is always faster.
GRADIENT_TILE = 4


def conv2d(x: tf.Tensor, weight: tf.Tensor, tile: int, turned: bool = False) -> tf.Tensor:
    """Convolves `x`, [N, H, W, C], with 3x3 weights, by tiles of `tile` x `tile` pixels.

    With `turned`, it is the gradient by x of a convolution with these weights.
    """
    return _ops().tf_sg2_conv2d(x=x, weight=weight, tile=tile, turned=turned)


def conv2d_filter_gradient(x: tf.Tensor, dy: tf.Tensor) -> tf.Tensor:
    """Returns the gradient of a 3x3 convolution of `x` by its weights: [3, 3, C, filters]."""
    return _ops().tf_sg2_conv2d_filter_gradient(x=x, dy=dy, tile=GRADIENT_TILE)


@tf.RegisterGradient("TfSg2>Conv2d")
def _conv2d_gradient(op: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    x, weight = op.inputs
    tile, turned = op.get_attr("tile"), op.get_attr("turned")
    dx = conv2d(upstream, weight, tile, not turned)
    # Weights that are used turned have the gradient of the turned ones, turned back. That is the
    # gradient with both images in exchange.
    images = (upstream, x) if turned else (x, upstream)
    return [dx, conv2d_filter_gradient(*images)]


@tf.RegisterGradient("TfSg2>Conv2dFilterGradient")
def _conv2d_filter_gradient_gradient(op: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor]:
    x, dy = op.inputs
    tile = tile_for(x.shape, upstream.shape) or GRADIENT_TILE
    return [conv2d(dy, upstream, tile, turned=True), conv2d(x, upstream, tile)]


def bias_act(
    x: tf.Tensor,
    scale: tf.Tensor | None,
    noise: tf.Tensor | None,
    bias: tf.Tensor | None,
    activation: str,
    alpha: float,
    gain: float,
    clamp: float | None,
) -> tf.Tensor:
    """Returns clip(activation(x * scale + noise + bias) * gain, -clamp, clamp)."""
    absent = tf.zeros([0], x.dtype)
    with tf.device(HOST):
        parameters = tf.constant([alpha, gain, -1.0 if clamp is None else clamp], tf.float64)
    return _ops().tf_sg2_bias_act(
        x=x,
        scale=absent if scale is None else scale,
        noise=absent if noise is None else noise,
        bias=absent if bias is None else bias,
        parameters=parameters,
        activation=activation,
    )


def _to_noise(gradient: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Sums the gradients over the samples where all samples share one noise image."""
    if noise.shape.rank not in (3, None) or noise.shape[0] not in (1, None):
        return gradient
    if noise.shape[0] == 1:
        return tf.reduce_sum(gradient, axis=0, keepdims=True)
    shared = tf.logical_and(tf.shape(noise)[0] == 1, tf.shape(gradient)[0] != 1)
    return tf.cond(shared, lambda: tf.reduce_sum(gradient, 0, keepdims=True), lambda: gradient)


@tf.RegisterGradient("TfSg2>BiasAct")
def _bias_act_gradient(op: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    x, scale, noise, bias, parameters = op.inputs
    found = _ops().tf_sg2_bias_act_gradient(
        dy=upstream,
        x=x,
        scale=scale,
        noise=noise,
        bias=bias,
        parameters=parameters,
        activation=op.get_attr("activation"),
    )
    return [found.dx, found.dscale, _to_noise(found.dnoise, noise), found.dbias, None]


@tf.RegisterGradient("TfSg2>BiasActGradient")
def _bias_act_gradient_of_gradient(op: tf.Operation, *upstream: tf.Tensor) -> list:
    dy, x, scale, noise, bias, parameters = op.inputs
    found = _ops().tf_sg2_bias_act_gradient2(
        ux=upstream[0],
        uscale=upstream[1],
        unoise=upstream[2],
        ubias=upstream[3],
        dy=dy,
        x=x,
        scale=scale,
        noise=noise,
        bias=bias,
        parameters=parameters,
        activation=op.get_attr("activation"),
    )
    return [found.ddy, found.dx, found.dscale, _to_noise(found.dnoise, noise), found.dbias, None]


@tf.RegisterGradient("TfSg2>BiasActGradient2")
def _bias_act_third_gradient(op: tf.Operation, *upstream: tf.Tensor) -> list:
    """Differentiates the TensorFlow implementation three times, because this order is rare."""
    with tf.GradientTape() as tape:
        tape.watch(op.inputs[:-1])
        outputs = _tensorflow_gradient2(op)
    kept = [i for i, output in enumerate(outputs) if output is not None]
    found = tape.gradient(
        [outputs[i] for i in kept],
        op.inputs[:-1],
        [upstream[i] for i in kept],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return [*found, None]


def _tensorflow_gradient2(op: tf.Operation) -> list[tf.Tensor | None]:
    """Returns the results of `BiasActGradient2` by TensorFlow's ops; None for absent terms."""
    *upstream, dy, x, scale, noise, bias, parameters = op.inputs
    alpha, gain, clamp = tf.unstack(tf.cast(parameters, x.dtype))
    terms = {"x": x}
    if not _absent(scale):
        terms["scale"] = scale
    if not _absent(noise):
        terms["noise"] = tf.broadcast_to(noise, tf.shape(x)[:3])
    if not _absent(bias):
        terms["bias"] = bias
    cotangents = dict(zip(TERMS, upstream, strict=True))
    with tf.GradientTape() as outer:
        outer.watch([dy, terms])
        with tf.GradientTape() as inner:
            inner.watch(terms)
            y = bias_act_tensorflow.bias_act(
                x,
                terms.get("scale"),
                terms.get("noise"),
                terms.get("bias"),
                op.get_attr("activation").decode(),
                alpha,
                gain,
                tf.where(clamp < 0, x.dtype.max, clamp),
            )
        first = inner.gradient(y, terms, dy)
    ddy, second = outer.gradient(
        first,
        [dy, terms],
        {name: cotangents[name] for name in terms},
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return [ddy, *(second.get(name) for name in TERMS)]


def _absent(term: tf.Tensor) -> bool:
    return term.shape.rank == 1 and term.shape[0] == 0

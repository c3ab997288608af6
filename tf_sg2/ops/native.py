"""The native ops and their gradients: what `upfirdn2d` and `bias_act` call where they are built.

Arguments have been checked by the callers. Gradients are registered by op name, so that they hold
in every graph that an op ends up in.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import tensorflow as tf

from tf_sg2.custom_ops import loader
from tf_sg2.ops.activations import composed

# The kernels read small inputs in the host's memory. Made on a GPU, each would have to be copied
# from there at every call, after all work that waits on the GPU.
HOST = "CPU:0"


def _ops() -> ModuleType:
    return loader.load().ops


def upfirdn2d(
    x: tf.Tensor,
    kernel: np.ndarray | tf.Tensor,
    up: tuple[int, int],
    down: tuple[int, int],
    padding: tuple | tf.Tensor,
) -> tf.Tensor:
    """Upsamples, pads, convolves with `kernel` and downsamples `x`, [N, H, W, C]."""
    with tf.device(HOST):
        kernel, padding = tf.cast(kernel, tf.float64), tf.cast(padding, tf.int64)
    return _ops().tf_sg2_upfirdn2d(
        x=x, kernel=kernel, padding=padding, up=list(up), down=list(down)
    )


@tf.RegisterGradient("TfSg2>Upfirdn2d")
def _upfirdn2d_gradient(op: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """The same operation with factors swapped and the kernel flipped (transposition)."""
    x = op.inputs[0]
    sizes = x.shape[1], x.shape[2]

    def empty():
        # The operation makes no result without pixels. This one depends on `upstream` as it would.
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
    """Sums the gradients by each sample's noise where all samples share one noise image."""
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
    """The third derivative is rare: TensorFlow differentiates its own implementation thrice."""
    with tf.GradientTape() as tape:
        tape.watch(op.inputs[:-1])
        outputs = _composed_gradient2(op)
    kept = [i for i, output in enumerate(outputs) if output is not None]
    found = tape.gradient(
        [outputs[i] for i in kept],
        op.inputs[:-1],
        [upstream[i] for i in kept],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return [*found, None]


def _composed_gradient2(op: tf.Operation) -> list[tf.Tensor | None]:
    """What the op computes, in TensorFlow's own operations; None where a term is absent."""
    *cotangents, dy, x, scale, noise, bias, parameters = op.inputs
    alpha, gain, clamp = tf.unstack(tf.cast(parameters, x.dtype))
    terms = [None if _absent(term) else term for term in (scale, noise, bias)]
    if terms[1] is not None:
        terms[1] = tf.broadcast_to(noise, tf.shape(x)[:3])
    places = [0, *(i + 1 for i, term in enumerate(terms) if term is not None)]
    values = [(x, *terms)[i] for i in places]
    with tf.GradientTape() as outer:
        outer.watch([dy, *values])
        with tf.GradientTape() as inner:
            inner.watch(values)
            named = dict(zip(places, values, strict=True))
            y = composed(
                named[0],
                *(named.get(i) for i in (1, 2, 3)),
                op.get_attr("activation").decode(),
                alpha,
                gain,
                tf.where(clamp < 0, x.dtype.max, clamp),
            )
        first = inner.gradient(y, values, dy)
    second = outer.gradient(
        first,
        [dy, *values],
        [cotangents[i] for i in places],
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    results: list[tf.Tensor | None] = [second[0], None, None, None, None]
    for place, value in zip(places, second[1:], strict=True):
        results[place + 1] = value
    return results


def _absent(term: tf.Tensor) -> bool:
    return term.shape.rank == 1 and term.shape[0] == 0

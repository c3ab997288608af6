"""The native ops and their gradients: what `upfirdn2d` and `bias_act` call where they are built.

Arguments have been checked by the callers. Gradients are registered by op name, so that they hold
in every graph that an op ends up in.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np
import tensorflow as tf

from tf_sg2.custom_ops import loader


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
    return _ops().tf_sg2_upfirdn2d(
        x=x,
        kernel=tf.cast(kernel, tf.float64),
        padding=tf.cast(padding, tf.int64),
        up=list(up),
        down=list(down),
    )


@tf.RegisterGradient("TfSg2>Upfirdn2d")
def _upfirdn2d_gradient(op: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """The same operation with factors swapped and the kernel flipped (transposition)."""
    x, kernel, padding = op.inputs
    up, down = op.get_attr("up"), op.get_attr("down")
    taps = tf.shape(kernel, tf.int64)
    inside, outside = tf.shape(x, tf.int64), tf.shape(upstream, tf.int64)
    amounts = []
    for axis in (0, 1):
        before = padding[2 * axis]
        sizes = inside[1 + axis] * up[axis] - outside[1 + axis] * down[axis]
        amounts += [taps[axis] - 1 - before, sizes + before - up[axis] + 1]
    gradient = upfirdn2d(upstream, kernel[::-1, ::-1], down, up, tf.stack(amounts))
    return [tf.ensure_shape(gradient, x.shape), None, None]


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
    return _ops().tf_sg2_bias_act(
        x=x,
        scale=absent if scale is None else scale,
        noise=absent if noise is None else noise,
        bias=absent if bias is None else bias,
        parameters=tf.constant([alpha, gain, -1.0 if clamp is None else clamp], tf.float64),
        activation=activation,
    )


def _to_noise(gradient: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
    """Sums the gradients by each sample's noise where all samples share one noise image."""
    if noise.shape.rank != 3 or noise.shape[0] not in (1, None):
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

"""Scale, noise, bias, activation, gain and clamp: what follows every convolution and dense layer.

The native implementation passes over memory once for all of it, and once per derivative.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_sg2.errors import InputError
from tf_sg2.ops import bias_act_tensorflow, native
from tf_sg2.ops.activations import activation_named
from tf_sg2.ops.arguments import floating_tensor
from tf_sg2.ops.implementation import current_implementation


def bias_act(
    x: tf.Tensor,
    bias: tf.Tensor | None = None,
    activation: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
    scale: tf.Tensor | None = None,
    noise: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns clip(activation(x * scale + noise + bias) * gain, -clamp, clamp).

    Args:
        x: [..., C], float16, bfloat16, float32 or float64; [N, H, W, C] with `scale` or `noise`.
        bias: [C], added along the last axis; None adds nothing.
        activation: a key of `ACTIVATIONS`.
        alpha: slope of `lrelu` below zero; None means 0.2. Other activations take none.
        gain: None means the activation's own: √2 for relu, lrelu and swish, else 1.
        clamp: largest absolute value of the result; None for no clamp.
        scale: [N, C], one factor per sample and channel, such as the demodulation of paper
            equation 3; None scales nothing.
        noise: [N, H, W] or [1, H, W], added to every channel (paper figure 2, B); None adds none.

    Returns:
        A tensor of the shape and dtype of `x`, differentiable to any order by all four tensors.

    Raises:
        InputError: for another dtype, an unknown activation, a bias, scale or noise that does not
            fit, or a clamp below zero.
    """
    x = floating_tensor("bias_act", x)
    if x.shape.rank == 0:
        raise InputError("bias_act: x is a scalar; its last dimension must hold the channels")
    defaults = activation_named(activation, "bias_act")
    if clamp is not None and not clamp >= 0:
        raise InputError(f"bias_act: clamp is {clamp}; it must not be negative")
    if alpha is not None and activation != "lrelu":
        raise InputError(f"bias_act: activation {activation!r} takes no alpha")
    alpha = defaults.default_alpha if alpha is None else alpha
    gain = defaults.default_gain if gain is None else gain
    rank = x.shape.rank
    if (scale is not None or noise is not None) and rank not in (None, 4):
        raise InputError(
            f"bias_act: x has shape {x.shape}; with scale or noise it must be [N, H, W, C]"
        )
    n, height, width = x.shape[:3] if rank == 4 else (None, None, None)
    channels = None if rank is None else x.shape[-1]
    bias = _checked("bias", bias, [[channels]], x, "one value per channel")
    scale = _checked("scale", scale, [[n, channels]], x, "[N, C]")
    noise = _checked(
        "noise", noise, [[n, height, width], [1, height, width]], x, "[N, H, W] or [1, H, W]"
    )
    implementation = native if current_implementation() == "native" else bias_act_tensorflow
    return implementation.bias_act(x, scale, noise, bias, activation, alpha, gain, clamp)


def _checked(
    name: str,
    term: tf.Tensor | None,
    shapes: Sequence[Sequence[int | None]],
    x: tf.Tensor,
    wanted: str,
) -> tf.Tensor | None:
    """Returns the term as a tensor of the dtype of x and of one of the shapes."""
    if term is None:
        return None
    term = tf.convert_to_tensor(term)
    if not any(term.shape.is_compatible_with(shape) for shape in shapes):
        raise InputError(
            f"bias_act: {name} has shape {term.shape} but x has {x.shape}; it must be {wanted}"
        )
    if term.dtype != x.dtype:
        raise InputError(
            f"bias_act: {name} is {term.dtype.name} but x is {x.dtype.name}; cast one of them"
        )
    return term

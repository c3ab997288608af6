"""Scale, noise, bias, activation, gain and clamp: what follows every convolution and dense layer.

The native implementation makes one pass over memory of it all, and one of each derivative.
"""

from __future__ import annotations

import tensorflow as tf

from tf_sg2.errors import InputError
from tf_sg2.ops import native
from tf_sg2.ops.activations import ACTIVATIONS, composed
from tf_sg2.ops.implementation import current_implementation
from tf_sg2.ops.upfirdn2d import TYPES


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
        clamp: largest absolute value let through; None clamps nothing.
        scale: [N, C], a factor for each channel of each sample, such as the demodulation of paper
            equation 3; None scales nothing.
        noise: [N, H, W] or [1, H, W], added to every channel (paper figure 2, B); None adds none.

    Returns:
        A tensor of the shape and dtype of `x`, differentiable to any order by all four tensors.

    Raises:
        InputError: for another dtype, an unknown activation, a bias, scale or noise that does not
            fit, or a clamp below zero.
    """
    x = tf.convert_to_tensor(x)
    if x.dtype not in TYPES:
        names = ", ".join(dtype.name for dtype in TYPES)
        raise InputError(f"bias_act: x is {x.dtype.name}; it must be one of {names}")
    if x.shape.rank == 0:
        raise InputError("bias_act: x is a scalar; its last dimension must hold the channels")
    if activation not in ACTIVATIONS:
        raise InputError(
            f"bias_act: there is no activation {activation!r}; take one of {', '.join(ACTIVATIONS)}"
        )
    if clamp is not None and not clamp >= 0:
        raise InputError(f"bias_act: clamp is {clamp}; it must not be negative")
    if alpha is not None and activation != "lrelu":
        raise InputError(f"bias_act: activation {activation!r} takes no alpha")
    table = ACTIVATIONS[activation]
    alpha = table.default_alpha if alpha is None else alpha
    gain = table.default_gain if gain is None else gain
    if (scale is not None or noise is not None) and x.shape.rank not in (None, 4):
        raise InputError(
            f"bias_act: x has shape {x.shape}; with scale or noise it must be [N, H, W, C]"
        )
    rank = x.shape.rank
    n, height, width = x.shape[:3] if rank == 4 else (None, None, None)
    channels = None if rank is None else x.shape[-1]
    bias = _checked("bias", bias, [[channels]], x, "one value a channel")
    scale = _checked("scale", scale, [[n, channels]], x, "[N, C]")
    noise = _checked(
        "noise", noise, [[n, height, width], [1, height, width]], x, "[N, H, W] or [1, H, W]"
    )
    if current_implementation() == "native":
        return native.bias_act(x, scale, noise, bias, activation, alpha, gain, clamp)
    return composed(x, scale, noise, bias, activation, alpha, gain, clamp)


def _checked(name, term, shapes, x, wanted):
    """The term as a tensor, once its dtype is that of x and its shape fits one of `shapes`."""
    if term is None:
        return None
    term = tf.convert_to_tensor(term)
    if not any(term.shape.is_compatible_with(shape) for shape in shapes):
        raise InputError(
            f"bias_act: {name} has shape {term.shape} but x has {x.shape}; it must be {wanted}"
        )
    if term.dtype != x.dtype:
        raise InputError(f"bias_act: {name} is {term.dtype.name} but x is {x.dtype.name}")
    return term

"""Bias, activation, gain and clamp: what follows every convolution and dense layer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tf_sg2.errors import InputError

LEAKY_SLOPE = 0.2


@dataclass(frozen=True)
class Activation:
    """A function of (x, alpha) with the gain that keeps the variance of normal input near 1."""

    function: Callable[[tf.Tensor, float], tf.Tensor]
    default_gain: float = 1.0
    default_alpha: float = 0.0


# Gains after He et al. 2015, as in the official operation.
ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda x, alpha: x),
    "relu": Activation(lambda x, alpha: tf.nn.relu(x), math.sqrt(2)),
    "lrelu": Activation(lambda x, alpha: tf.nn.leaky_relu(x, alpha), math.sqrt(2), LEAKY_SLOPE),
    "tanh": Activation(lambda x, alpha: tf.tanh(x)),
    "sigmoid": Activation(lambda x, alpha: tf.sigmoid(x)),
    "elu": Activation(lambda x, alpha: tf.nn.elu(x)),
    "selu": Activation(lambda x, alpha: tf.nn.selu(x)),
    "softplus": Activation(lambda x, alpha: tf.nn.softplus(x)),
    "swish": Activation(lambda x, alpha: tf.sigmoid(x) * x, math.sqrt(2)),
}


def bias_act(
    x: tf.Tensor,
    bias: tf.Tensor | None = None,
    activation: str = "linear",
    alpha: float | None = None,
    gain: float | None = None,
    clamp: float | None = None,
) -> tf.Tensor:
    """Returns clip(activation(x + bias) * gain, -clamp, clamp).

    Args:
        x: [..., C], floating.
        bias: [C], added along the last axis; None adds nothing.
        activation: a key of `ACTIVATIONS`.
        alpha: slope of `lrelu` below zero; None means 0.2. Other activations take none.
        gain: None means the activation's own: √2 for relu, lrelu and swish, else 1.
        clamp: largest absolute value let through; None clamps nothing.

    Returns:
        A tensor of the shape and dtype of `x`, differentiable to any order.

    Raises:
        InputError: for whole numbers, an unknown activation, a bias that does not fit, or a clamp
            below zero.
    """
    x = tf.convert_to_tensor(x)
    if not x.dtype.is_floating:
        raise InputError(f"bias_act: x is {x.dtype.name}; it must be a floating type")
    if activation not in ACTIVATIONS:
        raise InputError(
            f"bias_act: there is no activation {activation!r}; take one of {', '.join(ACTIVATIONS)}"
        )
    if clamp is not None and not clamp >= 0:
        raise InputError(f"bias_act: clamp is {clamp}; it must not be negative")
    if alpha is not None and activation != "lrelu":
        raise InputError(f"bias_act: activation {activation!r} takes no alpha")
    table = ACTIVATIONS[activation]
    if bias is not None:
        bias = tf.convert_to_tensor(bias)
        if bias.shape.rank != 1 or not bias.shape.is_compatible_with(x.shape[-1:]):
            raise InputError(
                f"bias_act: bias has shape {bias.shape} but x has {x.shape}; "
                "it must be one value a channel"
            )
        if bias.dtype != x.dtype:
            raise InputError(f"bias_act: bias is {bias.dtype.name} but x is {x.dtype.name}")
        x = tf.nn.bias_add(x, bias) if x.shape.rank > 1 else x + bias
    x = table.function(x, table.default_alpha if alpha is None else alpha)
    gain = table.default_gain if gain is None else gain
    if gain != 1:
        x = x * tf.constant(gain, x.dtype)
    if clamp is not None:
        x = tf.clip_by_value(x, tf.constant(-clamp, x.dtype), tf.constant(clamp, x.dtype))
    return x

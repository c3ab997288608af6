"""The activations, and `bias_act` put together from TensorFlow's own operations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

LEAKY_SLOPE = 0.2


@dataclass(frozen=True)
class Activation:
    """A function of (x, alpha) with the gain that keeps the variance of normal input near 1."""

    function: Callable[[tf.Tensor, float], tf.Tensor]
    default_gain: float = 1.0
    default_alpha: float = 0.0


def _leaky_relu(x: tf.Tensor, alpha: float | tf.Tensor) -> tf.Tensor:
    # TensorFlow's own operation takes no tensor for a slope.
    return tf.where(x > 0, x, alpha * x) if tf.is_tensor(alpha) else tf.nn.leaky_relu(x, alpha)


# Gains after He et al. 2015, as in the official operation.
ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda x, alpha: x),
    "relu": Activation(lambda x, alpha: tf.nn.relu(x), math.sqrt(2)),
    "lrelu": Activation(_leaky_relu, math.sqrt(2), LEAKY_SLOPE),
    "tanh": Activation(lambda x, alpha: tf.tanh(x)),
    "sigmoid": Activation(lambda x, alpha: tf.sigmoid(x)),
    "elu": Activation(lambda x, alpha: tf.nn.elu(x)),
    "selu": Activation(lambda x, alpha: tf.nn.selu(x)),
    "softplus": Activation(lambda x, alpha: tf.nn.softplus(x)),
    "swish": Activation(lambda x, alpha: tf.sigmoid(x) * x, math.sqrt(2)),
}


def composed(
    x: tf.Tensor,
    scale: tf.Tensor | None,
    noise: tf.Tensor | None,
    bias: tf.Tensor | None,
    activation: str,
    alpha: float,
    gain: float,
    clamp: float | None,
) -> tf.Tensor:
    """Computes `bias_act` of TensorFlow's own operations: the implementation without a build."""
    if scale is not None:
        x = x * scale[:, None, None, :]
    if noise is not None:
        x = x + noise[..., None]
    if bias is not None:
        x = tf.nn.bias_add(x, bias) if x.shape.rank and x.shape.rank > 1 else x + bias
    x = ACTIVATIONS[activation].function(x, alpha)
    if tf.is_tensor(gain) or gain != 1:
        x = x * tf.convert_to_tensor(gain, x.dtype)
    if clamp is not None:
        clamp = tf.convert_to_tensor(clamp, x.dtype)
        x = tf.clip_by_value(x, -clamp, clamp)
    return x

"""The activations of the networks, each with the gain that keeps the variance of its input."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf

from tf_sg2.errors import InputError

LEAKY_SLOPE = 0.2


@dataclass(frozen=True)
class Activation:
    """A function of (x, alpha) with the gain that keeps the variance of normal input near 1.

    Attributes:
        function: maps (x, alpha) to a tensor of the shape and dtype of x.
        default_gain: factor on the output unless the caller chooses another.
        default_alpha: alpha unless the caller chooses another.
        commutes_with_gain: whether f(g * x) = g * f(x) for every g > 0. A gain can then join a
            smaller factor before the activation and costs no pass over memory.
    """

    function: Callable[[tf.Tensor, float], tf.Tensor]
    default_gain: float = 1.0
    default_alpha: float = 0.0
    commutes_with_gain: bool = False


def _leaky_relu(x: tf.Tensor, alpha: float | tf.Tensor) -> tf.Tensor:
    # `tf.nn.leaky_relu` takes no tensor as slope.
    return tf.where(x > 0, x, alpha * x) if tf.is_tensor(alpha) else tf.nn.leaky_relu(x, alpha)


# Gains after He et al. 2015, as in the official operation.
ACTIVATIONS: dict[str, Activation] = {
    "linear": Activation(lambda x, alpha: x, commutes_with_gain=True),
    "relu": Activation(lambda x, alpha: tf.nn.relu(x), math.sqrt(2), commutes_with_gain=True),
    "lrelu": Activation(_leaky_relu, math.sqrt(2), LEAKY_SLOPE, commutes_with_gain=True),
    "tanh": Activation(lambda x, alpha: tf.tanh(x)),
    "sigmoid": Activation(lambda x, alpha: tf.sigmoid(x)),
    "elu": Activation(lambda x, alpha: tf.nn.elu(x)),
    "selu": Activation(lambda x, alpha: tf.nn.selu(x)),
    "softplus": Activation(lambda x, alpha: tf.nn.softplus(x)),
    "swish": Activation(lambda x, alpha: tf.sigmoid(x) * x, math.sqrt(2)),
}


def activation_named(name: str, where: str) -> Activation:
    """Returns an entry of `ACTIVATIONS`.

    Args:
        name: its key.
        where: the op or layer that was given the name, for the message.

    Raises:
        InputError: if there is no such activation.
    """
    if name not in ACTIVATIONS:
        raise InputError(
            f"{where}: there is no activation {name!r}; take one of {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[name]

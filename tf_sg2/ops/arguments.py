"""The checks of arguments that the ops share."""

from __future__ import annotations

import tensorflow as tf

from tf_sg2.errors import InputError

FLOATING_TYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)


def floating_tensor(op: str, x: tf.Tensor) -> tf.Tensor:
    """Returns `x` as a tensor.

    Args:
        op: name of the op, for the message.
        x: what the caller passed as `x`.

    Raises:
        InputError: if its dtype is not one of `FLOATING_TYPES`.
    """
    x = tf.convert_to_tensor(x)
    if x.dtype not in FLOATING_TYPES:
        names = ", ".join(dtype.name for dtype in FLOATING_TYPES)
        raise InputError(f"{op}: x is {x.dtype.name}; it must be one of {names}")
    return x

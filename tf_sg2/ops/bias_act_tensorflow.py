"""The TensorFlow implementation of `bias_act`: one of TensorFlow's operations per step."""

from __future__ import annotations

import tensorflow as tf

from tf_sg2.ops.activations import ACTIVATIONS


def bias_act(
    x: tf.Tensor,
    scale: tf.Tensor | None,
    noise: tf.Tensor | None,
    bias: tf.Tensor | None,
    activation: str,
    alpha: float | tf.Tensor,
    gain: float | tf.Tensor,
    clamp: float | tf.Tensor | None,
) -> tf.Tensor:
    """Returns clip(activation(x * scale + noise + bias) * gain, -clamp, clamp).

    The arguments have been checked by `tf_sg2.ops.bias_act`. Derivatives of the native op above
    the second pass `alpha`, `gain` and `clamp` as scalar tensors.
    """
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

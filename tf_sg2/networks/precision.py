"""Precision of the networks: TF32 on GPUs, and the parts that 16-bit layers keep in float32."""

from __future__ import annotations


def use_tf32(enabled: bool) -> None:
    """Switches TF32 on or off in this process; call it before the first operation.

    TensorFlow switches it on by default. Matrix products and convolutions of float32 then round
    their factors to 10 bits of mantissa on GPUs that support it. So every command switches TF32
    off, unless the configuration of its run sets `training.tf32`.
    """
    import tensorflow as tf  # Here, because `--help` of a command must not load TensorFlow.

    tf.config.experimental.enable_tensor_float_32_execution(enabled)


def at_least_float32(dtype: str) -> str:
    """Returns the dtype of w, styles, demodulation and image sums where layers compute in `dtype`.

    An error in these values reaches whole feature maps, and they take little time. So they stay in
    float32 where the layers compute in 16 bits. Layers that mix both dtypes set `autocast=False`.
    """
    import tensorflow as tf

    return "float32" if tf.as_dtype(dtype).size < tf.float32.size else dtype

"""What "float32" means on a GPU: IEEE single precision, or TF32."""

from __future__ import annotations


def use_tf32(enabled: bool) -> None:
    """Switches TF32 on or off in this process; call it before the first operation.

    TensorFlow has it on. On GPUs that have it, matrix products and convolutions of float32 then
    round their factors to 10 bits of mantissa. Commands therefore switch it off, unless the
    configuration of their run has `training.tf32`.
    """
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(enabled)

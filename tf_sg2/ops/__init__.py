"""The ops that do almost all work of the networks, each with two implementations.

Every op has the same shape:

    <op>.py             the public function: checks its arguments, then calls one implementation
    <op>_tensorflow.py  the implementation in TensorFlow's own operations
    native.py           the implementations and gradients of the native ops (`custom_ops/`)
    implementation.py   the one switch between the two

Both implementations of an op take the same arguments and return the same results.
"""

from tf_sg2.ops.activations import ACTIVATIONS
from tf_sg2.ops.bias_act import bias_act
from tf_sg2.ops.conv2d import conv2d
from tf_sg2.ops.implementation import current_implementation, use_implementation
from tf_sg2.ops.upfirdn2d import resample_kernel, upfirdn2d

__all__ = [
    "ACTIVATIONS",
    "bias_act",
    "conv2d",
    "current_implementation",
    "resample_kernel",
    "upfirdn2d",
    "use_implementation",
]

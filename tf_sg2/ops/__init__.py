"""The two operations that carry all filtering and activation, and the switch between their
implementations.
"""

from tf_sg2.ops.activations import ACTIVATIONS
from tf_sg2.ops.bias_act import bias_act
from tf_sg2.ops.implementation import current_implementation, use_implementation
from tf_sg2.ops.upfirdn2d import resample_kernel, upfirdn2d

__all__ = [
    "ACTIVATIONS",
    "bias_act",
    "current_implementation",
    "resample_kernel",
    "upfirdn2d",
    "use_implementation",
]

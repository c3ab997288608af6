"""The 3x3 convolution of both networks: stride 1, zero padding, most of the work of training.

The native implementation needs fewer multiplications (Winograd's algorithm; Lavin and Gray 2015,
"Fast Algorithms for Convolutional Neural Networks"). Its gradients are ops of the same kind. So a
derivative of any order is as fast as the op itself.
"""

from __future__ import annotations

import tensorflow as tf

from tf_sg2.errors import InputError
from tf_sg2.ops import native
from tf_sg2.ops.arguments import floating_tensor
from tf_sg2.ops.conv2d_tiles import tile_for
from tf_sg2.ops.implementation import current_implementation


def conv2d(x: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Returns the correlation of `x` with 3x3 weights, with zeros around the image.

    y[n, i, j, k] = sum over a, b, c of weight[a, b, c, k] * x[n, i + a - 1, j + b - 1, c].

    The native op runs on the CPU, for float32, and for the shapes that `tile_for` names. All others
    are computed by TensorFlow's convolution.

    Args:
        x: [N, H, W, C], float16, bfloat16, float32 or float64.
        weight: [3, 3, C, filters], in the dtype of `x`.

    Returns:
        [N, H, W, filters], in the dtype of `x`, differentiable to any order.

    Raises:
        InputError: for another dtype or rank, or weights that do not fit.

    Source: Lavin and Gray 2015, sections 4.1 and 4.3 (F(2x2, 3x3) and F(4x4, 3x3)).
    """
    x = floating_tensor("conv2d", x)
    weight = tf.convert_to_tensor(weight)
    if x.shape.rank not in (None, 4):
        raise InputError(f"conv2d: x has rank {x.shape.rank}; it must be [N, H, W, C]")
    channels = None if x.shape.rank is None else x.shape[3]
    if not weight.shape.is_compatible_with([3, 3, channels, None]):
        raise InputError(
            f"conv2d: weight has shape {weight.shape} but x has {x.shape}; it must be "
            "[3, 3, C, filters]"
        )
    if weight.dtype != x.dtype:
        raise InputError(
            f"conv2d: weight is {weight.dtype.name} but x is {x.dtype.name}; cast one of them"
        )
    tile = None
    if x.dtype == tf.float32 and current_implementation() == "native":
        tile = tile_for(x.shape, weight.shape)
    if tile is not None:
        return native.conv2d(x, weight, tile)
    if x.shape.rank == 4 and 0 in x.shape[:3]:
        # TensorFlow's convolution of an empty batch has the wrong number of channels (oneDNN).
        return tf.tensordot(x, weight[1, 1], 1)
    return tf.nn.conv2d(x, weight, 1, "SAME")

"""Upsample, filter and downsample in one op: the resampling of paper section 2 and figure 7.

In both implementations the gradient of `upfirdn2d` is `upfirdn2d` again. So a derivative of any
order costs as much as the op itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_sg2.errors import InputError
from tf_sg2.ops import native, upfirdn2d_tensorflow
from tf_sg2.ops.arguments import floating_tensor
from tf_sg2.ops.implementation import current_implementation

MAXIMUM_TAPS = 32
MAXIMUM_FACTOR = 1 << 16
MAXIMUM_PADDING = 1 << 30  # TensorFlow counts sizes in 32 bits where they are unknown.


def resample_kernel(taps: Sequence[float]) -> np.ndarray:
    """Returns the separable 2-D kernel of 1-D `taps`, float32 [k, k], normalised to sum 1."""
    kernel = np.outer(taps, taps).astype(np.float64)
    return (kernel / kernel.sum()).astype(np.float32)


@tf.autograph.experimental.do_not_convert  # Plain Python over static numbers: tracing is faster.
def upfirdn2d(
    x: tf.Tensor,
    kernel: np.ndarray,
    up: int | tuple[int, int] = 1,
    down: int | tuple[int, int] = 1,
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    gain: float = 1.0,
    flip_kernel: bool = False,
) -> tf.Tensor:
    """Upsamples by zero insertion, pads, filters, and keeps every `down`-th sample.

    Args:
        x: [N, H, W, C], float16, bfloat16, float32 or float64.
        kernel: constant filter [kh, kw] of 1 to 32 taps per axis. It has no gradient, so it cannot
            be a symbolic tensor.
        up: factor of zero insertion (each sample is followed by up - 1 zeros), or (rows, columns).
        down: distance of the samples that are kept, or (rows, columns).
        padding: zeros added at (top, bottom, left, right) after upsampling; negative numbers crop.
        gain: factor on the result.
        flip_kernel: False convolves with `kernel`, True correlates with it.

    Returns:
        [N, (H * up + top + bottom - kh) // down + 1, likewise for W, C], in the dtype of `x`.

    Raises:
        InputError: for a wrong rank, factor, kernel or padding, or a result without pixels.

    Source: paper section 2 (resampling after Zhang 2019), semantics of the official operation.
    """
    up, down = _pair(up, "up"), _pair(down, "down")
    kernel = _checked_kernel(kernel)
    x = floating_tensor("upfirdn2d", x)
    if x.shape.rank not in (None, 4):
        raise InputError(f"upfirdn2d: x has rank {x.shape.rank}; it must be [N, H, W, C]")
    amounts = _checked_padding(padding)
    for axis, name in enumerate(("rows", "columns")):
        size, taps = x.shape[1 + axis], kernel.shape[axis]
        before, after = amounts[2 * axis : 2 * axis + 2]
        if size is not None and size * up[axis] + before + after < taps:
            raise InputError(
                f"upfirdn2d: {name} {size} * up {up[axis]} with padding ({before}, {after}) "
                f"are fewer than the kernel's {taps} taps"
            )
    filtered = (kernel[::-1, ::-1] if flip_kernel else kernel) * gain
    implementation = native if current_implementation() == "native" else upfirdn2d_tensorflow
    return implementation.upfirdn2d(x, filtered, up, down, amounts)


def _pair(factor: int | tuple[int, int], name: str) -> tuple[int, int]:
    pair = (factor, factor) if isinstance(factor, (int, np.integer)) else tuple(factor)
    if len(pair) != 2 or not all(isinstance(f, (int, np.integer)) for f in pair):
        raise InputError(f"upfirdn2d: {name} is {factor!r}; it must be one or two integers")
    if not all(1 <= f <= MAXIMUM_FACTOR for f in pair):
        raise InputError(f"upfirdn2d: {name} is {factor!r}; it must be 1 to {MAXIMUM_FACTOR}")
    return int(pair[0]), int(pair[1])


def _checked_kernel(kernel: np.ndarray) -> np.ndarray:
    if tf.is_tensor(kernel) and not hasattr(kernel, "numpy"):
        raise InputError("upfirdn2d: kernel must be a constant array, not a symbolic tensor")
    kernel = np.asarray(kernel, np.float64)
    if kernel.ndim != 2 or kernel.size == 0 or max(kernel.shape) > MAXIMUM_TAPS:
        raise InputError(
            f"upfirdn2d: kernel has shape {kernel.shape}; it must be [kh, kw], 1 to "
            f"{MAXIMUM_TAPS} each"
        )
    if not np.all(np.isfinite(kernel)):
        raise InputError("upfirdn2d: kernel holds NaN or infinite values")
    return kernel


def _checked_padding(padding: Sequence[int]) -> tuple[int, int, int, int]:
    padding = tuple(padding)
    if len(padding) != 4 or not all(isinstance(p, (int, np.integer)) for p in padding):
        raise InputError(
            f"upfirdn2d: padding {padding} must be four integers: top, bottom, left, right"
        )
    top, bottom, left, right = map(int, padding)
    if max(map(abs, (top, bottom, left, right))) > MAXIMUM_PADDING:
        raise InputError(f"upfirdn2d: padding {padding} must be within {MAXIMUM_PADDING}")
    return top, bottom, left, right

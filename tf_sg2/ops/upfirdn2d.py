"""Upsample, filter, downsample in one operation: the resampling of paper section 2 and figure 7.

Either implementation has a gradient that is `upfirdn2d` again, so derivatives of any order cost
what the operation costs. The TensorFlow one is one depthwise convolution (or its transpose) a call.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from tf_sg2.errors import InputError
from tf_sg2.ops import native
from tf_sg2.ops.implementation import current_implementation

MAXIMUM_TAPS = 32
MAXIMUM_FACTOR = 1 << 16
MAXIMUM_PADDING = 1 << 30  # TensorFlow counts unknown sizes in 32 bits.
TYPES = (tf.float16, tf.bfloat16, tf.float32, tf.float64)


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
        kernel: constant filter [kh, kw], 1 to 32 taps each, no symbolic tensor: it has no gradient.
        up: factor of zero insertion (each sample is followed by up - 1 zeros); (rows, columns).
        down: which samples are kept; (rows, columns).
        padding: zeros added at (top, bottom, left, right) after upsampling; negative ones crop.
        gain: factor on the result.
        flip_kernel: False convolves with `kernel`, True correlates with it.

    Returns:
        [N, (H * up + top + bottom - kh) // down + 1, likewise for W, C], in the dtype of `x`.

    Raises:
        InputError: for a wrong rank, factor, kernel, padding, or a result without pixels.

    Source: paper section 2 (resampling after Zhang 2019), semantics of the official operation.
    """
    x = tf.convert_to_tensor(x)
    up, down = _pair(up, "up"), _pair(down, "down")
    kernel = _check_kernel(kernel)
    if x.shape.rank is not None and x.shape.rank != 4:
        raise InputError(f"upfirdn2d: x has rank {x.shape.rank}; it must be [N, H, W, C]")
    if x.dtype not in TYPES:
        names = ", ".join(dtype.name for dtype in TYPES)
        raise InputError(f"upfirdn2d: x is {x.dtype.name}; it must be one of {names}")
    padding = tuple(padding)
    if len(padding) != 4 or not all(isinstance(p, (int, np.integer)) for p in padding):
        raise InputError(
            f"upfirdn2d: padding {padding} must be four integers: top, bottom, left, right"
        )
    if max(map(abs, map(int, padding))) > MAXIMUM_PADDING:
        raise InputError(f"upfirdn2d: padding {padding} must be within {MAXIMUM_PADDING}")
    filtered = (kernel[::-1, ::-1] if flip_kernel else kernel) * gain
    starts, lengths = [], []
    for axis in (0, 1):
        size = x.shape[1 + axis]
        size = tf.shape(x)[1 + axis] if size is None else size
        before, after = padding[2 * axis : 2 * axis + 2]
        support = size * up[axis] + before + after - kernel.shape[axis]
        if isinstance(support, int) and support < 0:
            raise InputError(
                f"upfirdn2d: {'rows' if axis == 0 else 'columns'} {size} * up {up[axis]} with "
                f"padding ({before}, {after}) are fewer than the kernel's {kernel.shape[axis]} taps"
            )
        # Index, in the full convolution of the zero-inserted input, of the first sample kept.
        starts.append(kernel.shape[axis] - 1 - before)
        lengths.append(support // down[axis] + 1)
    if current_implementation() == "native":
        return native.upfirdn2d(x, filtered, up, down, padding)
    return _resample(x, filtered, up, down, tuple(starts), tuple(lengths))


def _pair(factor: int | tuple[int, int], name: str) -> tuple[int, int]:
    pair = (factor, factor) if isinstance(factor, (int, np.integer)) else tuple(factor)
    if len(pair) != 2 or not all(isinstance(f, (int, np.integer)) for f in pair):
        raise InputError(f"upfirdn2d: {name} is {factor!r}; it must be one or two integers")
    if not all(1 <= f <= MAXIMUM_FACTOR for f in pair):
        raise InputError(f"upfirdn2d: {name} is {factor!r}; it must be 1 to {MAXIMUM_FACTOR}")
    return int(pair[0]), int(pair[1])


def _check_kernel(kernel: np.ndarray) -> np.ndarray:
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


def _resample(x, kernel, up, down, starts, lengths):
    """Full convolution of the zero-inserted `x`; samples starts + i * down for i < lengths.

    This form is closed under differentiation: the transpose swaps `up` and `down` and flips the
    kernel, and its first sample lies at -starts of the swapped grid.
    """

    @tf.custom_gradient
    def operation(x):
        def gradient(upstream):
            # y[i] = sum_j x[j] k[starts + i * down - j * up], hence
            # x'[j] = sum_i y'[i] kf[(taps - 1) - starts + j * up - i * down].
            return _resample(
                upstream,
                kernel[::-1, ::-1],
                up=down,
                down=up,
                starts=tuple(t - 1 - s for t, s in zip(kernel.shape, starts, strict=True)),
                lengths=_spatial_shape(x),
            )

        return _forward(x, kernel, up, down, starts, lengths), gradient

    return operation(x)


def _spatial_shape(x: tf.Tensor) -> tuple:
    dynamic = tf.shape(x)
    return tuple(dynamic[i] if x.shape[i] is None else x.shape[i] for i in (1, 2))


def _forward(x, kernel, up, down, starts, lengths):
    if x.shape[3] is None:
        raise InputError("upfirdn2d: the channel count of x must be known when the graph is built")

    def zeros():
        return tf.zeros([tf.shape(x)[0], *lengths, x.shape[3]], x.dtype)

    # TensorFlow's convolutions end the process, or refuse, where there are no pixels.
    sizes = [*_spatial_shape(x), *lengths]
    if any(isinstance(n, int) and n == 0 for n in sizes):
        return zeros()
    unknown = [n for n in sizes if not isinstance(n, int)]
    if not unknown:
        return _filter(x, kernel, up, down, starts, lengths)
    return tf.cond(
        tf.reduce_any(tf.equal(tf.stack(unknown), 0)),
        zeros,
        lambda: _filter(x, kernel, up, down, starts, lengths),
    )


def _filter(x, kernel, up, down, starts, lengths):
    spans = [(n - 1) * d + 1 for n, d in zip(lengths, down, strict=True)]
    if up != (1, 1) and up[0] == up[1]:
        y = _window(_transposed(x, kernel, up[0]), starts, spans)
        return y[:, :: down[0], :: down[1]]
    x = _insert_zeros(x, up)
    first = [s - (t - 1) for s, t in zip(starts, kernel.shape, strict=True)]
    needed = [n + (t - 1) for n, t in zip(spans, kernel.shape, strict=True)]
    if down[0] == down[1]:
        return _depthwise(x, kernel, down[0], first, needed)
    return _depthwise(x, kernel, 1, first, needed)[:, :: down[0], :: down[1]]


def _insert_zeros(x, up):
    if up == (1, 1):
        return x
    shape = tf.shape(x)
    x = tf.reshape(x, [shape[0], shape[1], 1, shape[2], 1, x.shape[3]])
    x = tf.pad(x, [[0, 0], [0, 0], [0, up[0] - 1], [0, 0], [0, up[1] - 1], [0, 0]])
    return tf.reshape(x, [shape[0], shape[1] * up[0], shape[2] * up[1], x.shape[5]])


def _cut(x, start, length):
    """Cuts the samples start ... start + length - 1 of rows and columns out of `x`.

    Returns:
        The samples that exist, and how many zeros stand for the others: [[before, after]] of rows
        and of columns. Entries are tensors where the size of `x` is unknown.
    """
    slices, zeros, whole = [], [], True
    for size, first, count in zip(_spatial_shape(x), start, length, strict=True):
        known = isinstance(size, int) and isinstance(count, int)
        least, most = (min, max) if known else (tf.minimum, tf.maximum)
        begin = least(max(first, 0), size)
        end = least(most(first + count, begin), size)
        before = least(max(-first, 0), count)
        slices.append(slice(begin, end))
        zeros.append([before, count - before - (end - begin)])
        whole = whole and known and begin == 0 and end == size
    return x if whole else x[:, slices[0], slices[1]], zeros


def _known(counts):
    return all(isinstance(count, int) for pair in counts for count in pair)


def _pad(x, zeros):
    return tf.pad(x, [[0, 0], *zeros, [0, 0]])


def _window(x, start, length):
    """Samples start ... start + length - 1 of rows and columns of `x`, zeros outside it."""
    x, zeros = _cut(x, start, length)
    return x if _known(zeros) and not any(map(any, zeros)) else _pad(x, zeros)


@functools.lru_cache(maxsize=256)
def _tiled(content: bytes, shape: tuple[int, int], channels: int) -> np.ndarray:
    kernel = np.frombuffer(content, np.float64).reshape(shape)
    return np.ascontiguousarray(np.broadcast_to(kernel[:, :, None, None], (*shape, channels, 1)))


def _depthwise_filter(kernel, x):
    return tf.constant(
        _tiled(np.ascontiguousarray(kernel).tobytes(), kernel.shape, x.shape[3]), x.dtype
    )


def _depthwise(x, kernel, stride, start, length):
    """Strided convolution of the window start ... start + length - 1 of `x`."""
    x, zeros = _cut(x, start, length)
    if _known(zeros) and 0 not in x.shape[1:3]:
        # Padding inside the operation is twice as fast as a padded copy.
        padding = [[0, 0], *zeros, [0, 0]]
    else:
        x, padding = _pad(x, zeros), "VALID"
    # A depthwise convolution correlates, hence the flip.
    weights = _depthwise_filter(kernel[::-1, ::-1], x)
    y = tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], padding)
    # TensorFlow's graph optimiser would fuse a bias that follows into an operation that aborts
    # the process on explicit padding (2.15 and 2.21, CPU); this keeps the two apart.
    return tf.ensure_shape(y, y.shape)


def _transposed(x, kernel, up):
    # The gradient of a strided correlation is the full convolution of the zero-inserted input.
    shape = tf.shape(x)
    height, width = ((n - 1) * up + t for n, t in zip(_spatial_shape(x), kernel.shape, strict=True))
    y = tf.nn.depthwise_conv2d_backprop_input(
        tf.stack([shape[0], height, width, shape[3]]),
        _depthwise_filter(kernel, x),
        x,
        [1, up, up, 1],
        "VALID",
    )
    height, width = (n if isinstance(n, int) else None for n in (height, width))
    return tf.ensure_shape(y, [x.shape[0], height, width, x.shape[3]])

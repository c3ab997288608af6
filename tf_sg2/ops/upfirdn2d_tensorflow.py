"""The TensorFlow implementation of `upfirdn2d`: one depthwise convolution, or its transpose.

Its gradient is the same operation again, so a derivative of any order costs one such convolution.
"""

from __future__ import annotations

import functools
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tf_sg2.errors import InputError

# A size is a tensor where it is unknown when the graph is built.
Size: TypeAlias = int | tf.Tensor


def upfirdn2d(
    x: tf.Tensor,
    kernel: np.ndarray,
    up: tuple[int, int],
    down: tuple[int, int],
    padding: tuple[int, int, int, int],
) -> tf.Tensor:
    """Upsamples, pads, convolves with `kernel` and downsamples `x`, [N, H, W, C].

    The arguments have been checked by `tf_sg2.ops.upfirdn2d`.
    """
    starts, lengths = [], []
    for axis, size in enumerate(_spatial_shape(x)):
        taps, (before, after) = kernel.shape[axis], padding[2 * axis : 2 * axis + 2]
        # Index, in the full convolution of the zero-inserted input, of the first sample kept.
        starts.append(taps - 1 - before)
        lengths.append((size * up[axis] + before + after - taps) // down[axis] + 1)
    return _resample(x, kernel, up, down, tuple(starts), tuple(lengths))


def _resample(x, kernel, up, down, starts, lengths):
    """Returns the samples starts + i * down, i < lengths, of a full convolution.

    The convolution is that of the zero-inserted `x` with `kernel`. Its transpose has the same form:
    it swaps `up` and `down`, flips the kernel, and starts at (taps - 1) - starts.
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


def _spatial_shape(x: tf.Tensor) -> tuple[Size, Size]:
    """Returns height and width."""
    dynamic = tf.shape(x)
    height, width = (dynamic[i] if x.shape[i] is None else x.shape[i] for i in (1, 2))
    return height, width


def _forward(x, kernel, up, down, starts, lengths):
    """Returns the samples, which are zeros where `x` or the result has no pixels."""
    if x.shape[3] is None:
        raise InputError("upfirdn2d: the channel count of x must be known when the graph is built")

    def zeros():
        return tf.zeros([tf.shape(x)[0], *lengths, x.shape[3]], x.dtype)

    # Without pixels, TensorFlow's convolutions refuse or abort the process.
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
    """Returns the samples by one depthwise convolution, or its transpose where `up` allows it."""
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
        The samples that exist, and the numbers of zeros that replace the others: [[before, after]]
        of rows and of columns. They are tensors where the size of `x` is unknown.
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
    """Returns the samples start ... start + length - 1 of rows and columns, zeros outside `x`."""
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
    """Returns the strided convolution of the window start ... start + length - 1 of `x`."""
    x, zeros = _cut(x, start, length)
    if _known(zeros) and 0 not in x.shape[1:3]:
        # Padding inside the operation is twice as fast as a padded copy.
        padding = [[0, 0], *zeros, [0, 0]]
    else:
        x, padding = _pad(x, zeros), "VALID"
    # TensorFlow's depthwise convolution correlates, so the kernel is flipped.
    weights = _depthwise_filter(kernel[::-1, ::-1], x)
    y = tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], padding)
    # TensorFlow's graph optimizer would fuse a bias that follows into this convolution. The fused
    # operation aborts the process on explicit padding (2.15 and 2.21, CPU). This separates the two.
    return tf.ensure_shape(y, y.shape)


def _transposed(x, kernel, up):
    """Returns the full convolution of the zero-inserted `x` with `kernel`.

    It is the gradient of a strided correlation by its input.
    """
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

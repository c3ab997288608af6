"""Slow and right versions of what the library does fast, written from the definitions alone."""

from __future__ import annotations

import numpy as np
import scipy.signal


def upfirdn2d(x, kernel, up, down, padding, gain, flip_kernel):
    """Zero-insert, pad or crop, convolve with SciPy, keep every `down`-th sample; float64 NHWC."""
    x = np.asarray(x, np.float64)
    kernel = np.asarray(kernel, np.float64)
    kernel = kernel[::-1, ::-1] if flip_kernel else kernel
    n, height, width, channels = x.shape
    inserted = np.zeros((n, height * up[0], width * up[1], channels))
    inserted[:, :: up[0], :: up[1]] = x
    for axis, (before, after) in ((1, padding[:2]), (2, padding[2:])):
        pads = [(0, 0)] * 4
        pads[axis] = (max(before, 0), max(after, 0))
        inserted = np.pad(inserted, pads)
        stop = inserted.shape[axis] - max(-after, 0)
        inserted = np.take(inserted, np.arange(max(-before, 0), stop), axis)
    rows = inserted.shape[1] - kernel.shape[0] + 1
    columns = inserted.shape[2] - kernel.shape[1] + 1
    y = np.zeros((n, rows, columns, channels))
    for i in range(n):
        for c in range(channels):
            y[i, :, :, c] = scipy.signal.convolve2d(inserted[i, :, :, c], kernel, mode="valid")
    return y[:, :: down[0], :: down[1]] * gain

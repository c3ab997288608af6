"""Slow reference versions of fast functions of the library, written from their definitions."""

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


def resampled_convolution(x, weight, up=1, down=1, taps=(1, 3, 3, 1)):
    """Low-pass filtered up- or downsampling by 2 and a k x k kernel, as one sum; float64 NHWC.

    Everything is one full convolution of which some samples are kept. They keep pixel centres in
    place: sample 0 of the input lies between the samples 0 and 1 of the doubled image. The count
    of taps must be even. Plain convolutions correlate with `weight` [k, k, in, out]. Upsampling
    spreads it around each sample, as a transposed convolution does.
    """
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    count, height, width, channels = x.shape
    k = weight.shape[0]
    start, step, low_pass = (k - 1) / 2, 1, np.ones((1, 1))
    if up == 2 or down == 2:
        low_pass = np.outer(taps, taps) / np.sum(taps) ** 2 * up**2
        start += (len(taps) - 1) / 2 + (0.5 if down == 2 else -0.5)
    if up == 2:
        spread = np.zeros((count, 2 * height, 2 * width, channels))
        spread[:, ::2, ::2] = x
        x = spread
    else:
        weight = weight[::-1, ::-1]
        step = down
    rows = int(start) + step * np.arange(height * up // down)
    columns = int(start) + step * np.arange(width * up // down)
    y = np.zeros((count, len(rows), len(columns), weight.shape[3]))
    for i in range(channels):
        for o in range(weight.shape[3]):
            kernel = scipy.signal.convolve2d(weight[:, :, i, o], low_pass)
            for n in range(count):
                full = scipy.signal.convolve2d(x[n, :, :, i], kernel)
                y[n, :, :, o] += full[np.ix_(rows, columns)]
    return y


def modulated_convolution(x, weight, style, up=1, demodulate=True, taps=(1, 3, 3, 1)):
    """Paper equations 1 to 3 by the letter: each sample has its own modulated kernel."""
    weight, style = np.asarray(weight, np.float64), np.asarray(style, np.float64)
    samples = []
    for n in range(len(style)):
        own = weight * style[n][None, None, :, None]  # Equation 1: w' = s_i * w.
        if demodulate:  # Equation 3: over the input channels and taps of each output channel.
            own = own / np.sqrt((own**2).sum(axis=(0, 1, 2)) + 1e-8)
        samples.append(resampled_convolution(x[n : n + 1], own, up=up, taps=taps))
    return np.concatenate(samples)


def bias_act(x, bias=None, activation="linear", alpha=0.2, gain=None, clamp=None):
    """clip(activation(x + bias) * gain) with the functions written out, float64."""
    x = np.asarray(x, np.float64) + (0 if bias is None else np.asarray(bias, np.float64))
    selu_scale, selu_alpha = 1.0507009873554805, 1.6732632423543772
    negative = np.expm1(np.minimum(x, 0))
    y, default = {
        "linear": (x, 1),
        "relu": (np.maximum(x, 0), 2**0.5),
        "lrelu": (np.where(x > 0, x, alpha * x), 2**0.5),
        "tanh": (np.tanh(x), 1),
        "sigmoid": (1 / (1 + np.exp(-x)), 1),
        "elu": (np.where(x > 0, x, negative), 1),
        "selu": (selu_scale * np.where(x > 0, x, selu_alpha * negative), 1),
        "softplus": (np.logaddexp(0, x), 1),
        "swish": (x / (1 + np.exp(-x)), 2**0.5),
    }[activation]
    y = y * (default if gain is None else gain)
    return y if clamp is None else np.clip(y, -clamp, clamp)


def dense(x, weight, bias, activation="linear", lr_multiplier=1.0):
    """A fully connected layer of raw weights [in, out] with the equalised learning rate."""
    weight = np.asarray(weight, np.float64)
    scaled = weight * lr_multiplier / np.sqrt(weight.shape[0])
    return bias_act(
        np.asarray(x, np.float64) @ scaled, np.asarray(bias) * lr_multiplier, activation
    )


def unit_second_moment(x):
    """Each row divided by the root of its mean square."""
    x = np.asarray(x, np.float64)
    return x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-8)


def minibatch_stddev(x, group):
    """Appends the mean standard deviation of each sample's group.

    Samples n and n' share a group where they are equal modulo the count of groups.
    """
    x = np.asarray(x, np.float64)
    groups = len(x) // min(group, len(x))
    y = np.zeros((*x.shape[:3], x.shape[3] + 1))
    y[..., :-1] = x
    for n in range(len(x)):
        members = x[[m for m in range(len(x)) if m % groups == n % groups]]
        variance = ((members - members.mean(axis=0)) ** 2).mean(axis=0)
        y[n, :, :, -1] = np.sqrt(variance + 1e-8).mean()
    return y


def convolution(x, weight):
    """Correlates [N, H, W, C] with [3, 3, C, K], with zeros around the image; float64."""
    x, weight = np.asarray(x, np.float64), np.asarray(weight, np.float64)
    n, height, width, _ = x.shape
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    y = np.zeros((n, height, width, weight.shape[3]))
    for a in range(3):
        for b in range(3):
            y += padded[:, a : a + height, b : b + width] @ weight[a, b]
    return y


def convolution_input_gradient(dy, weight):
    """The adjoint of `convolution` by x: every pixel of dy spreads its weights."""
    dy, weight = np.asarray(dy, np.float64), np.asarray(weight, np.float64)
    n, height, width, _ = dy.shape
    padded = np.zeros((n, height + 2, width + 2, weight.shape[2]))
    for a in range(3):
        for b in range(3):
            padded[:, a : a + height, b : b + width] += dy @ weight[a, b].T
    return padded[:, 1:-1, 1:-1]


def convolution_filter_gradient(x, dy):
    """The adjoint of `convolution` by the weights: [3, 3, C, K]."""
    x, dy = np.asarray(x, np.float64), np.asarray(dy, np.float64)
    _, height, width, _ = x.shape
    padded = np.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])
    gradient = np.zeros((3, 3, x.shape[3], dy.shape[3]))
    for a in range(3):
        for b in range(3):
            shifted = padded[:, a : a + height, b : b + width]
            gradient[a, b] = shifted.reshape(-1, x.shape[3]).T @ dy.reshape(-1, dy.shape[3])
    return gradient

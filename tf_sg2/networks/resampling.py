"""Doubling and halving the size of images and activations, with a low-pass filter."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

from tf_sg2.ops import conv2d, resample_kernel, upfirdn2d


def resampled_conv2d(
    x: tf.Tensor, weight: tf.Tensor, up: int, down: int, resample_filter: Sequence[float]
) -> tf.Tensor:
    """Convolves with zero padding ("same"), and doubles or halves the size.

    Args:
        x: [N, H, W, C].
        weight: [k, k, C, filters], k odd. With `up` it is the kernel of the transposed convolution.
        up: 1, or 2 to double the size.
        down: 1, or 2 to halve the size. At most one of the two is 2.
        resample_filter: taps of the separable low-pass filter.

    Returns:
        [N, H * up / down, W * up / down, filters].

    Source: paper figure 7 (filtered up- and downsampling); Karras et al. 2018, section 2.
    """
    k, taps = weight.shape[0], len(resample_filter)
    kernel = resample_kernel(resample_filter)
    if up == 1 and down == 1:
        return conv2d(x, weight) if k == 3 else tf.nn.conv2d(x, weight, 1, "SAME")
    if up > 1:
        # Margins of the filter around the upsampled grid.
        before, after = (taps + up - 1) // 2, (taps - up) // 2
        gain = float(up * up)
        if k == 1:
            # A 1x1 convolution commutes with the filter and is cheaper on the small side.
            x = tf.nn.conv2d(x, weight, 1, "VALID")
            return upfirdn2d(x, kernel, up=up, padding=(before, after, before, after), gain=gain)
        # The transposed convolution adds margins of its own.
        before, after = before - k // 2, after - k // 2 + up - 1
        shape = tf.shape(x)
        height, width = ((shape[i] if x.shape[i] is None else x.shape[i]) for i in (1, 2))
        x = tf.nn.conv2d_transpose(
            x,
            tf.transpose(weight, [0, 1, 3, 2]),
            [shape[0], (height - 1) * up + k, (width - 1) * up + k, weight.shape[3]],
            up,
            "VALID",
        )
        return upfirdn2d(x, kernel, padding=(before, after, before, after), gain=gain)
    before, after = k // 2 + (taps - down + 1) // 2, k // 2 + (taps - down) // 2
    padding = (before, after, before, after)
    if k == 1:
        x = upfirdn2d(x, kernel, down=down, padding=padding)
        return tf.nn.conv2d(x, weight, 1, "VALID")
    return tf.nn.conv2d(upfirdn2d(x, kernel, padding=padding), weight, down, "VALID")


def upsample2d(x: tf.Tensor, resample_filter: Sequence[float]) -> tf.Tensor:
    """Doubles the size: [N, H, W, C] -> [N, 2H, 2W, C].

    Source: paper figure 7 (up), Karras et al. 2018, section 2.
    """
    before, after = (len(resample_filter) + 1) // 2, (len(resample_filter) - 2) // 2
    padding = (before, after, before, after)
    return upfirdn2d(x, resample_kernel(resample_filter), up=2, padding=padding, gain=4.0)


def downsample2d(x: tf.Tensor, resample_filter: Sequence[float]) -> tf.Tensor:
    """Halves the size: [N, H, W, C] -> [N, H/2, W/2, C].

    Source: paper figure 7 (down), Karras et al. 2018, section 2.
    """
    before, after = (len(resample_filter) - 1) // 2, (len(resample_filter) - 2) // 2
    padding = (before, after, before, after)
    return upfirdn2d(x, resample_kernel(resample_filter), down=2, padding=padding)


def nearest_conv2d(
    x: tf.Tensor,
    weight: tf.Tensor,
    up: int,
    down: int,
    blur_filter: Sequence[float],
    turned: bool = False,
) -> tf.Tensor:
    """Convolves with zero padding, and resamples by repeated pixels or 2x2 means, with a blur.

    With `up`, pixels are repeated, convolved and then blurred. With `down`, they are blurred,
    convolved and then averaged. Repetition or mean and convolution are one strided convolution
    with a 4x4 kernel.

    Args:
        x: [N, H, W, C].
        weight: [3, 3, C, filters], or [1, 1, C, filters] without `up` and `down`.
        up: 1, or 2 to double the size.
        down: 1, or 2 to halve the size. At most one of the two is 2.
        blur_filter: odd number of taps of the separable blur; (0, 1, 0) for none.
        turned: whether `up` uses the kernel turned by 180 degrees.

    Returns:
        [N, H * up / down, W * up / down, filters].

    Source: Karras et al. 2018, section 2 (blur); Karras et al. 2017, section 2 (nearest neighbour).
    """
    if up == 1 and down == 1:
        return conv2d(x, weight) if weight.shape[0] == 3 else tf.nn.conv2d(x, weight, 1, "SAME")
    if up > 1:
        # A transposed convolution turns its kernel, and so the other case turns it back.
        kernel = _doubled_kernel(weight if turned else weight[::-1, ::-1])
        shape = tf.shape(x)
        height, width = ((shape[i] if x.shape[i] is None else x.shape[i]) for i in (1, 2))
        x = tf.nn.conv2d_transpose(
            x,
            tf.transpose(kernel, [0, 1, 3, 2]),
            [shape[0], height * 2, width * 2, weight.shape[3]],
            2,
            "SAME",
        )
        return blur2d(x, blur_filter)
    return tf.nn.conv2d(blur2d(x, blur_filter), _doubled_kernel(weight) / 4, 2, "SAME")


def _doubled_kernel(weight: tf.Tensor) -> tf.Tensor:
    """Returns the sum of a kernel's four shifts by 0 or 1 pixels: [3, 3, ...] -> [4, 4, ...]."""
    padded = tf.pad(weight, [[1, 1], [1, 1], [0, 0], [0, 0]])  # [5, 5, C, filters]
    return padded[1:, 1:] + padded[:-1, 1:] + padded[1:, :-1] + padded[:-1, :-1]


def blur2d(x: tf.Tensor, blur_filter: Sequence[float]) -> tf.Tensor:
    """Blurs [N, H, W, C] with an odd number of taps and zero padding; keeps the size."""
    margin = len(blur_filter) // 2
    if not any(tap for i, tap in enumerate(blur_filter) if i != margin):
        return x
    return upfirdn2d(x, resample_kernel(blur_filter), padding=(margin,) * 4)

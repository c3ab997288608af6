"""Filtering in bands, noise and cutout.

Source: Karras et al. 2020 (limited data), appendix B; cutout after DeVries and Taylor 2017.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import tensorflow as tf

from tf_sg2.errors import InputError
from tf_sg2.training.augment.filters import BAND_POWER, BANDS, band_taps


def amplify_bands(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Amplifies four frequency bands of images, with unit expected power.

    Args:
        images: float32 [N, H, W, C]; H and W at least 22.
        factors: t, the factor of each band, [N, 4].

    Raises:
        InputError: for smaller images, whose edges cannot be mirrored.
    """
    height, width = images.shape[1:3]
    reach = band_taps().shape[1] // 2
    if min(height, width) <= reach:
        raise InputError(
            f"the augmentation imgfilter needs images of at least {reach + 1} pixels a side, and "
            f"these are {height}x{width}; take a pipe without it, such as bgc"
        )
    gains = tf.ones_like(factors)
    for band in range(BANDS):
        others = [tf.ones_like(factors[:, 0])] * BANDS
        vector = tf.stack([*others[:band], factors[:, band], *others[band + 1 :]], axis=1)
        power = tf.reduce_sum(BAND_POWER.astype(np.float32) * tf.square(vector), 1, keepdims=True)
        gains *= vector / tf.sqrt(power)
    # Filters along an axis are matrices, so a derivative of any order is a matrix product too.
    rows = tf.einsum("nb,bij->nij", gains, _band_matrices(height))
    columns = tf.einsum("nb,bij->nij", gains, _band_matrices(width))
    return tf.einsum("nik,nklc,njl->nijc", rows, images, columns)


@cache
def _band_matrices(size: int) -> np.ndarray:
    """Returns each band's filter of a mirrored line of pixels, float32 [4, size, size]."""
    taps = band_taps()
    reach = taps.shape[1] // 2
    source = np.pad(np.arange(size), reach, mode="reflect")
    matrices = np.zeros([BANDS, size, size])
    for i in range(size):
        for tap in range(taps.shape[1]):
            matrices[:, i, source[i + tap]] += taps[:, tap]
    return matrices.astype(np.float32)


def add_noise(images: tf.Tensor, sigma: tf.Tensor, normal: tf.Tensor) -> tf.Tensor:
    """Returns images + sigma · normal, with sigma [N] and standard normal images."""
    return images + sigma[:, None, None, None] * normal


def cut_out(images: tf.Tensor, size: tf.Tensor, center: tf.Tensor) -> tf.Tensor:
    """Sets a rectangle of each image to 0, in all channels.

    Args:
        images: float32 [N, H, W, C].
        size: the rectangle's sides as a share of the image's, [N].
        center: (x, y) as shares, [N, 2].
    """

    def is_kept(pixels: int, place: tf.Tensor) -> tf.Tensor:
        middle = (tf.range(pixels, dtype=tf.float32) + 0.5) / pixels
        return tf.abs(middle - place[:, None]) >= size[:, None] / 2  # [N, pixels]

    height, width = images.shape[1:3]
    kept = is_kept(width, center[:, 0])[:, None, :] | is_kept(height, center[:, 1])[:, :, None]
    return tf.where(kept[..., None], images, 0.0)

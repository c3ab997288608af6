"""The colour transforms: one affine map of (red, green, blue) per image.

Source: Karras et al. 2020 (limited data), appendix B.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

NAMES = ("brightness_b", "contrast_c", "lumaflip_i", "hue_theta", "saturation_s")

_UNIT = np.eye(3, dtype=np.float32)
_LUMA = np.full([3, 3], 1 / 3, np.float32)  # v vᵀ, where v = (1, 1, 1) / √3 is the grey axis.
_CROSS = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]], np.float32) / np.float32(math.sqrt(3))


def color_maps(parameters: Mapping[str, tf.Tensor], count: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the maps' matrices [N, 3, 3] and offsets [N, 3].

    Args:
        parameters: float32 [N] each; those that are missing mean the identity.
        count: N.
    """
    matrix, offset = tf.eye(3, batch_shape=[count]), tf.zeros([count, 3])
    if "brightness_b" in parameters:
        offset += parameters["brightness_b"][:, None]
    for name, factor_of in _FACTORS.items():
        if name in parameters:
            factor = factor_of(parameters[name][:, None, None])  # [N, 3, 3]
            matrix = factor @ matrix
            offset = (factor @ offset[:, :, None])[:, :, 0]
    return matrix, offset


_FACTORS = {
    "contrast_c": lambda c: c * _UNIT,
    "lumaflip_i": lambda i: _UNIT - 2 * i * _LUMA,
    "hue_theta": lambda a: tf.cos(a) * _UNIT + (1 - tf.cos(a)) * _LUMA + tf.sin(a) * _CROSS,
    "saturation_s": lambda s: _LUMA + s * (_UNIT - _LUMA),
}


def recolor(images: tf.Tensor, matrix: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Maps the colours of images [N, H, W, C]: C is 1, 3, or 4 with a mask that stays.

    A single channel takes the mean of the map's three rows. Hue and saturation keep that mean, so
    they do not change it.
    """
    if images.shape[3] == 1:
        mean = tf.reduce_mean(matrix, axis=1)  # [N, 3]
        factor = tf.reduce_sum(mean, axis=1)[:, None, None, None]
        return images * factor + tf.reduce_mean(offset, axis=1)[:, None, None, None]
    colors = tf.einsum("nhwi,noi->nhwo", images[..., :3], matrix) + offset[:, None, None]
    return tf.concat([colors, images[..., 3:]], axis=3) if images.shape[3] == 4 else colors

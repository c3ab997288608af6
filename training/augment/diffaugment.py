"""Differentiable augmentation: colour, translation and cutout on every image.

Source: Zhao et al. 2020, "Differentiable Augmentation for Data-Efficient GAN Training", section 4.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from tf_sg2.networks import randomness
from tf_sg2.training.augment.corruption import cut_out

_DRAWS = 7  # Uniform numbers per image: brightness, saturation, contrast, two shifts, a centre.
SHIFT = 1 / 8  # Largest translation, as a share of the size.
CUT = 1 / 2  # Side of the cut square, as a share of the size.


def diffaugment(images: tf.Tensor, seeds: tf.Tensor, policy: str) -> tf.Tensor:
    """Augments images.

    Args:
        images: float32 [N, H, W, C].
        seeds: int64 [N, 2]. An image's draws depend only on its own seed.
        policy: some of color, translation and cutout, separated by commas.

    Returns:
        float32 [N, H, W, C], differentiable to any order.
    """
    draws = randomness.uniform(seeds, [_DRAWS])
    for name in policy.split(","):
        images = POLICIES[name](images, draws)
    return images


def _color(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Brightness within ±0.5, saturation 0 to 2, contrast 0.5 to 1.5; a mask stays."""
    seen, mask = images[..., :3], images[..., 3:]
    brightness, saturation, contrast = (draws[:, i, None, None, None] for i in range(3))
    seen += brightness - 0.5
    grey = tf.reduce_mean(seen, axis=3, keepdims=True)
    seen = grey + (seen - grey) * (2 * saturation)
    mean = tf.reduce_mean(seen, axis=[1, 2, 3], keepdims=True)
    seen = mean + (seen - mean) * (contrast + 0.5)
    return tf.concat([seen, mask], axis=3)


def _translation(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """Whole pixels within ±1/8 of the size, with zeros from outside."""
    for axis, draw in ((1, draws[:, 3]), (2, draws[:, 4])):
        size = images.shape[axis]
        most = round(size * SHIFT)
        shift = tf.cast(tf.floor(draw * (2 * most + 1)), tf.int32)  # 0 … 2 · most
        padding = [[0, 0]] * 4
        padding[axis] = [most, most]
        places = shift[:, None] + tf.range(size)[None]  # [N, size]
        # One-hot matrices, so a derivative of any order is a matrix product.
        rows = tf.one_hot(places, size + 2 * most)  # [N, size, size + margins]
        equation = "nij,njwc->niwc" if axis == 1 else "nij,nhjc->nhic"
        images = tf.einsum(equation, rows, tf.pad(images, padding))
    return images


def _cutout(images: tf.Tensor, draws: tf.Tensor) -> tf.Tensor:
    """A square of half the size with its centre anywhere in the image becomes zero."""
    return cut_out(images, tf.fill([tf.shape(images)[0]], CUT), draws[:, 5:7])


POLICIES: dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]] = {
    "color": _color,
    "translation": _translation,
    "cutout": _cutout,
}

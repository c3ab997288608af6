"""Progressive growing: how the level of detail `lod` fades between the levels of a network.

Level k is k doublings below the image. At lod k the network works at that level; in between, the
level above fades in as lod falls (Karras et al. 2017, section 2 and figure 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from tf_sg2.config import DiscriminatorConfig, GeneratorConfig
from tf_sg2.errors import InputError


def checked_lod(
    lod: float | tf.Tensor, config: GeneratorConfig | DiscriminatorConfig
) -> float | tf.Tensor:
    """Returns `lod` as a number, or as the scalar tensor that it is.

    Raises:
        InputError: if it is not between 0 and the number of doublings, or not 0 where the network
            does not grow.
    """
    if tf.is_tensor(lod) or isinstance(lod, tf.Variable):
        lod = tf.convert_to_tensor(lod)
        if lod.shape.rank != 0:
            raise InputError(f"lod has shape {lod.shape}; it must be a number or a scalar tensor")
        if not config.growing:
            raise InputError(
                "lod is a tensor, but this network does not grow (growing is false); leave lod out"
            )
        return lod
    value, most = float(lod), len(config.levels) - 1
    if not config.growing and value != 0:
        raise InputError(
            f"lod is {value:g}, but this network does not grow (growing is false); leave lod out"
        )
    if not (math.isfinite(value) and 0 <= value <= most):
        raise InputError(f"lod is {value:g}; it must be in 0...{most}")
    return value


def fade_share(lod: float | tf.Tensor, level: int) -> float | tf.Tensor:
    """Returns how far `level` has faded out: clip(lod - level, 0, 1).

    Above the first level, at -1, nothing exists, so the share is 1.
    """
    if level < 0:
        return 1.0
    if isinstance(lod, float):
        return min(max(lod - level, 0.0), 1.0)
    return tf.clip_by_value(lod - level, 0.0, 1.0)


def is_gone(share: float | tf.Tensor) -> bool:
    """Returns whether the share is known to be 1, so that the level has no effect."""
    return isinstance(share, float) and share == 1


def mixed(a: tf.Tensor, b: tf.Tensor, share: float | tf.Tensor) -> tf.Tensor:
    """Returns (1 - share) * a + share * b."""
    return a + (b - a) * tf.cast(share, a.dtype)


def faded_image(image: tf.Tensor, below: tf.Tensor | None, fade: float | tf.Tensor) -> tf.Tensor:
    """Returns the image of a level, mixed with the repeated image of the level below."""
    if below is None or (isinstance(fade, float) and fade == 0):
        return image
    return mixed(image, repeated(below, 2), fade)


def faded_input(
    x: tf.Tensor | None,
    from_rgb: Callable[[tf.Tensor], tf.Tensor],
    image: tf.Tensor,
    fade: float | tf.Tensor,
) -> tf.Tensor:
    """Returns activations of the level above, mixed with those that `from_rgb` makes of the image.

    Args:
        x: [N, H, W, C]; None if no level above has an effect.
        from_rgb: maps the image to [N, H, W, C].
        image: [N, H, W, image_channels].
        fade: share of the image's activations; without `x` it does not count.
    """
    if x is None:
        return from_rgb(image)
    if isinstance(fade, float) and fade == 0:
        return x
    return mixed(x, from_rgb(image), fade)


def repeated(image: tf.Tensor, times: int) -> tf.Tensor:
    """Repeats every pixel: [N, H, W, C] -> [N, times * H, times * W, C]."""
    if times == 1:
        return image
    height, width, channels = image.shape[1:]
    image = tf.broadcast_to(
        image[:, :, None, :, None, :],
        [tf.shape(image)[0], height, times, width, times, channels],
    )
    return tf.reshape(image, [-1, height * times, width * times, channels])


def halved(image: tf.Tensor) -> tf.Tensor:
    """Takes means of 2x2 pixels: [N, H, W, C] -> [N, H/2, W/2, C]."""
    height, width, channels = image.shape[1:]
    image = tf.reshape(image, [-1, height // 2, 2, width // 2, 2, channels])
    return tf.reduce_mean(image, axis=[2, 4])

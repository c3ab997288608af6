"""The pipeline: images and parameters to augmented images, in the official order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_sg2.errors import InputError
from tf_sg2.training.augment import color, corruption, geometry

NAMES = (
    *geometry.NAMES,
    *color.NAMES,
    *("imgfilter_t", "noise_sigma", "noise_normal", "cutout_size", "cutout_center_xy"),
)
# Shapes behind the count of images; all others are numbers.
_WIDTHS = {"xint_t": 2, "xint_pixels": 2, "xfrac_t": 2, "imgfilter_t": 4, "cutout_center_xy": 2}
_PAIRS = (("noise_sigma", "noise_normal"), ("cutout_size", "cutout_center_xy"))


def apply(images: Any, parameters: Mapping[str, Any], share_margins: bool = True) -> tf.Tensor:
    """Augments images: geometry, colour, bands, noise, cutout.

    Whatever is missing in `parameters` is left out. With any geometric parameter the images are
    resampled, also if its values are the identity. Nothing is clamped.

    Args:
        images: float [N, H, W, C], about -1 to 1; C is 1, 3, or 4 where the fourth channel is a
            mask. Geometry and cutout change a mask; colour, bands and noise leave it.
        parameters: float [N] or [N, k] by name, as `draw_parameters` and `debug_parameters` give
            them; a name may begin with "param/". `noise_normal` is [N, H, W, C]; [N, C, H, W] is
            taken too.
        share_margins: see `geometry.resample`. True is the official behaviour, in which images of
            one batch can change each other's edges; training takes False.

    Returns:
        float32 [N, H, W, C], differentiable by the images to any order.

    Raises:
        InputError: for other images, unknown names or wrong shapes.

    Source: Karras et al. 2020 (limited data), appendix B.
    """
    x = tf.cast(images, tf.float32)
    if x.shape.rank != 4 or x.shape[3] not in (1, 3, 4) or None in x.shape[1:]:
        raise InputError(
            f"images to augment have shape {x.shape}; it must be [N, H, W, C] with 1, 3 or 4 "
            "channels"
        )
    count = x.shape[0] if x.shape[0] is not None else tf.shape(x)[0]
    given = {name: _checked(name, value, x) for name, value in _by_name(parameters).items()}
    for first, second in _PAIRS:
        if (first in given) != (second in given):
            raise InputError(f"{first} and {second} belong together; give both or neither")
    height, width = x.shape[1:3]
    if count == 0:
        return x
    if any(name in given for name in geometry.NAMES):
        inverse = geometry.inverse_matrices(given, count, height, width)
        x = geometry.resample(x, inverse, share_margins)
    if any(name in given for name in color.NAMES):
        x = color.recolor(x, *color.color_maps(given, count))
    seen, mask = (x[..., :3], x[..., 3:]) if x.shape[3] == 4 else (x, None)
    if "imgfilter_t" in given:
        seen = corruption.amplify_bands(seen, given["imgfilter_t"])
    if "noise_sigma" in given:
        normal = given["noise_normal"][..., : seen.shape[3]]
        seen = corruption.add_noise(seen, given["noise_sigma"], normal)
    x = seen if mask is None else tf.concat([seen, mask], axis=3)
    if "cutout_size" in given:
        x = corruption.cut_out(x, given["cutout_size"], given["cutout_center_xy"])
    return x


def _by_name(parameters: Mapping[str, Any]) -> dict[str, Any]:
    named = {name.removeprefix("param/"): value for name, value in parameters.items()}
    unknown = sorted(set(named) - set(NAMES))
    if unknown:
        raise InputError(
            f"augmentation has no parameter {unknown[0]!r}; the names are {', '.join(NAMES)}"
        )
    return named


def _checked(name: str, value: Any, images: tf.Tensor) -> tf.Tensor:
    value = tf.cast(value if tf.is_tensor(value) else np.asarray(value, np.float32), tf.float32)
    shape = images.shape
    if name == "noise_normal":
        wanted = list(shape[1:])
        if value.shape[1:] == [wanted[2], *wanted[:2]] and value.shape[1:] != wanted:
            value = tf.transpose(value, [0, 2, 3, 1])
    else:
        wanted = [_WIDTHS[name]] if name in _WIDTHS else []
    if not value.shape.is_compatible_with([shape[0], *wanted]):
        raise InputError(
            f"the augmentation parameter {name} has shape {value.shape}; for these images it must "
            f"be {[shape[0], *wanted]}"
        )
    return value

"""The parameters of the sixteen transforms: their names, random draws and percentiles.

A parameter that is missing means the identity, and so does the value that a closed gate gives.
Each image draws its own values. A value is used if the gate's uniform number is below the
transform's probability.

Source: Karras et al. 2020 (limited data), appendix B and its table of parameters.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from scipy.special import erfinv

from tf_sg2.errors import InputError
from tf_sg2.networks import randomness
from tf_sg2.training.augment.filters import BANDS
from tf_sg2.training.draws import AugmentationSeeds

BLIT = ("xflip", "rotate90", "xint")
GEOMETRY = ("scale", "rotate", "aniso", "xfrac")
COLOR = ("brightness", "contrast", "lumaflip", "hue", "saturation")
TRANSFORMS = (*BLIT, *GEOMETRY, *COLOR, "imgfilter", "noise", "cutout")

PIPES = {
    "blit": BLIT,
    "geom": GEOMETRY,
    "color": COLOR,
    "filter": ("imgfilter",),
    "noise": ("noise",),
    "cutout": ("cutout",),
    "bg": BLIT + GEOMETRY,
    "bgc": BLIT + GEOMETRY + COLOR,
    "bgcf": (*BLIT, *GEOMETRY, *COLOR, "imgfilter"),
    "bgcfn": (*BLIT, *GEOMETRY, *COLOR, "imgfilter", "noise"),
    "bgcfnc": TRANSFORMS,
}

# The strength of each transform that has one: a largest value or a standard deviation.
STRENGTHS = {
    "xint": 0.125,  # Largest shift, as a share of the size.
    "scale": 0.2,  # Standard deviations of log2 of the factor …
    "aniso": 0.2,
    "rotate": 1.0,  # Largest angle, as a share of π.
    "xfrac": 0.125,  # Standard deviation of the shift, as a share of the size.
    "brightness": 0.2,
    "contrast": 0.5,
    "hue": 1.0,
    "saturation": 1.0,
    "imgfilter": 1.0,
    "noise": 0.1,  # Standard deviation of the noise's standard deviation.
    "cutout": 0.5,  # Side of the cut rectangle, as a share of the side.
}

# Places of a sample's random numbers in its two vectors. Each transform keeps its places, so a
# pipe with fewer transforms draws the same values for those that it has.
_UNIFORM = {
    name: place
    for place, name in enumerate(
        (
            *("xflip", "rotate90", "xint_x", "xint_y", "rotate_pre", "rotate_post", "lumaflip"),
            *("hue", "cutout_x", "cutout_y"),
            *(f"gate_{name}" for name in TRANSFORMS if name not in ("rotate", "imgfilter")),
            *("gate_rotate_pre", "gate_rotate_post"),
            *(f"gate_imgfilter_{band}" for band in range(BANDS)),
        )
    )
}
_NORMAL = {
    name: place
    for place, name in enumerate(
        (
            *("scale", "aniso", "xfrac_x", "xfrac_y", "brightness", "contrast", "saturation"),
            *("noise", *(f"imgfilter_{band}" for band in range(BANDS))),
        )
    )
}


def transforms_of(pipe: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the transforms of a pipe, in their order.

    Args:
        pipe: a name of `PIPES`, a transform, or several transforms.

    Raises:
        InputError: for a name that is neither.
    """
    names = PIPES.get(pipe, (pipe,)) if isinstance(pipe, str) else tuple(pipe)
    for name in names:
        if name not in TRANSFORMS:
            raise InputError(
                f"there is no augmentation {name!r}; the pipes are {', '.join(PIPES)}, and the "
                f"transforms are {', '.join(TRANSFORMS)}"
            )
    return tuple(name for name in TRANSFORMS if name in names)


def draw_parameters(
    pipe: str | Iterable[str],
    probability: tf.Tensor | float,
    seeds: AugmentationSeeds,
    strengths: dict[str, float] | None = None,
    image_shape: Sequence[int] | None = None,
) -> dict[str, tf.Tensor]:
    """Draws the parameters of N images.

    Args:
        pipe: see `transforms_of`.
        probability: p, the probability of each transform.
        seeds: int64 [N, 2] each. A sample's parameters depend only on its own seeds.
        strengths: other numbers for some entries of `STRENGTHS`.
        image_shape: (height, width, channels), needed for the transform `noise`.

    Returns:
        Parameters for `apply`: float32 [N] or [N, k] each.
    """
    uniform = randomness.uniform(seeds.uniform, [len(_UNIFORM)])
    normal = randomness.normal(seeds.normal, [len(_NORMAL)])
    draws = {f"u_{name}": uniform[:, place] for name, place in _UNIFORM.items()}
    draws.update({f"n_{name}": normal[:, place] for name, place in _NORMAL.items()})
    members = transforms_of(pipe)
    parameters = parameters_of(members, probability, draws, strengths)
    if "noise" in members:
        if image_shape is None:
            raise InputError("the augmentation noise needs the image shape; give image_shape")
        parameters["noise_normal"] = randomness.normal(seeds.noise, list(image_shape))
    return parameters


def parameters_of(
    members: Sequence[str],
    probability: tf.Tensor | float,
    draws: dict[str, tf.Tensor],
    strengths: dict[str, float] | None = None,
) -> dict[str, tf.Tensor]:
    """Turns random numbers into parameters: the formulas of the paper's appendix B.

    Args:
        members: transforms.
        probability: p.
        draws: [N] each: uniform numbers "u_NAME" and standard normal numbers "n_NAME". Gates are
            "u_gate_NAME".
        strengths: see `draw_parameters`.

    Returns:
        The parameters of the members, float32 [N] or [N, k], without the noise image.
    """
    strength = {**STRENGTHS, **(strengths or {})}
    p = tf.cast(probability, tf.float32)
    # A rotation has two chances. This one gives p that at least one of them rotates.
    p_rotate = 1 - tf.sqrt(1 - tf.clip_by_value(p, 0.0, 1.0))

    def u(name: str) -> tf.Tensor:
        return tf.cast(draws[f"u_{name}"], tf.float32)

    def n(name: str) -> tf.Tensor:
        return tf.cast(draws[f"n_{name}"], tf.float32)

    def gated(gate: str, value: tf.Tensor, identity: float, chance: tf.Tensor = p) -> tf.Tensor:
        is_open = u(f"gate_{gate}") < chance
        if value.shape.rank == 2:
            is_open = is_open[:, None]
        return tf.where(is_open, value, identity)

    def power(deviation: float, exponent: tf.Tensor) -> tf.Tensor:
        return tf.pow(2.0, deviation * exponent)

    def angle(name: str, largest: float) -> tf.Tensor:
        return (2 * u(name) - 1) * (math.pi * largest)

    def shift_within(names: Sequence[str], largest: float) -> tf.Tensor:
        return (2 * tf.stack([u(name) for name in names], axis=1) - 1) * largest

    # A value is a function, because only the members' draws exist.
    values = {
        "xflip": lambda: {"xflip_i": gated("xflip", tf.floor(2 * u("xflip")), 0)},
        "rotate90": lambda: {"rotate90_i": gated("rotate90", tf.floor(4 * u("rotate90")), 0)},
        "xint": lambda: {
            "xint_t": gated("xint", shift_within(["xint_x", "xint_y"], strength["xint"]), 0)
        },
        "scale": lambda: {"scale_s": gated("scale", power(strength["scale"], n("scale")), 1)},
        "rotate": lambda: {
            f"rotate_{when}": gated(
                f"rotate_{when}", angle(f"rotate_{when}", strength["rotate"]), 0, p_rotate
            )
            for when in ("pre", "post")
        },
        "aniso": lambda: {"aniso_s": gated("aniso", power(strength["aniso"], n("aniso")), 1)},
        "xfrac": lambda: {
            "xfrac_t": gated(
                "xfrac", tf.stack([n("xfrac_x"), n("xfrac_y")], axis=1) * strength["xfrac"], 0
            )
        },
        "brightness": lambda: {
            "brightness_b": gated("brightness", n("brightness") * strength["brightness"], 0)
        },
        "contrast": lambda: {
            "contrast_c": gated("contrast", power(strength["contrast"], n("contrast")), 1)
        },
        "lumaflip": lambda: {"lumaflip_i": gated("lumaflip", tf.floor(2 * u("lumaflip")), 0)},
        "hue": lambda: {"hue_theta": gated("hue", angle("hue", strength["hue"]), 0)},
        "saturation": lambda: {
            "saturation_s": gated("saturation", power(strength["saturation"], n("saturation")), 1)
        },
        "imgfilter": lambda: {
            "imgfilter_t": tf.stack(
                [
                    gated(name, power(strength["imgfilter"], n(name)), 1)
                    for name in (f"imgfilter_{band}" for band in range(BANDS))
                ],
                axis=1,
            )
        },
        "noise": lambda: {"noise_sigma": gated("noise", tf.abs(n("noise")) * strength["noise"], 0)},
        "cutout": lambda: {
            "cutout_size": gated("cutout", tf.fill(tf.shape(u("cutout_x")), strength["cutout"]), 0),
            "cutout_center_xy": tf.stack([u("cutout_x"), u("cutout_y")], axis=1),
        },
    }
    parameters: dict[str, tf.Tensor] = {}
    for name in members:
        parameters.update(values[name]())
    return parameters


def debug_parameters(
    pipe: str | Iterable[str],
    percentile: float,
    count: int,
    image_size: tuple[int, int],
) -> dict[str, np.ndarray]:
    """Returns the same parameters for each image: the official `debug_percentile`.

    Normal values use erf⁻¹(2q − 1) without the factor √2, as the official code does. The noise
    image is not part of them; give `noise_normal` beside `noise_sigma`.

    Args:
        pipe: see `transforms_of`.
        percentile: q, 0 to 1 without both ends.
        count: N.
        image_size: (height, width). Every value is a share of it, so it changes none.

    Returns:
        Parameters for `apply`, float32 [N] or [N, k] each.

    Raises:
        InputError: for an unknown pipe, or another percentile.
    """
    if not 0 < percentile < 1:
        raise InputError(f"percentile is {percentile}; it must be between 0 and 1, without both")
    if min(image_size) < 1:
        raise InputError(f"image_size is {tuple(image_size)}; it must be (height, width)")
    q = percentile
    normal = erfinv(2 * q - 1)
    angle = (2 * q - 1) * math.pi
    shift = (2 * q - 1) * STRENGTHS["xint"]
    values: dict[str, dict[str, Any]] = {
        "xflip": {"xflip_i": math.floor(2 * q)},
        "rotate90": {"rotate90_i": math.floor(4 * q)},
        "xint": {"xint_t": [shift, shift]},
        "scale": {"scale_s": 2 ** (STRENGTHS["scale"] * normal)},
        "rotate": {"rotate_pre": angle * STRENGTHS["rotate"], "rotate_post": 0.0},
        "aniso": {"aniso_s": 2 ** (STRENGTHS["aniso"] * normal)},
        "xfrac": {"xfrac_t": [STRENGTHS["xfrac"] * normal] * 2},
        "brightness": {"brightness_b": STRENGTHS["brightness"] * normal},
        "contrast": {"contrast_c": 2 ** (STRENGTHS["contrast"] * normal)},
        "lumaflip": {"lumaflip_i": math.floor(2 * q)},
        "hue": {"hue_theta": angle * STRENGTHS["hue"]},
        "saturation": {"saturation_s": 2 ** (STRENGTHS["saturation"] * normal)},
        "imgfilter": {"imgfilter_t": [2 ** (STRENGTHS["imgfilter"] * normal)] * BANDS},
        "noise": {"noise_sigma": STRENGTHS["noise"] * erfinv(q)},
        "cutout": {"cutout_size": STRENGTHS["cutout"], "cutout_center_xy": [q, q]},
    }
    return {
        key: np.broadcast_to(np.asarray(value, np.float32), [count, *np.shape(value)]).copy()
        for name in transforms_of(pipe)
        for key, value in values[name].items()
    }

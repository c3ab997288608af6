"""A closed path through latent space, as a looped animation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.files import new_file, new_folder
from tf_sg2.images import save_png, to_pillow

if TYPE_CHECKING:
    from tf_sg2.latent.renderer import Renderer

SPACES = ("w", "z")
# Suffix -> (format in Pillow, its smallest unit of time in milliseconds, further arguments).
ANIMATIONS: dict[str, tuple[str, int, dict[str, Any]]] = {
    ".gif": ("GIF", 10, {"disposal": 2}),
    ".webp": ("WEBP", 1, {"lossless": True}),
    ".png": ("PNG", 1, {}),
}
# Viewers slow down a GIF whose frames last less than two units of time.
FASTEST_GIF = 50.0


def closed_spline(points: np.ndarray, count: int) -> np.ndarray:
    """Returns `count` points on the smooth closed curve through `points`, in even steps.

    The curve is a periodic cubic spline: its value, slope and curvature are continuous everywhere,
    also where it closes.

    Args:
        points: [K, ...], two or more.
        count: number of points; the curve starts at the first point and does not repeat it.

    Returns:
        float64 [count, ...].

    Raises:
        InputError: if SciPy is not installed.
    """
    try:
        from scipy.interpolate import CubicSpline
    except ImportError as error:
        raise InputError("interpolation needs SciPy: pip install scipy") from error
    closed = np.concatenate([points, points[:1]]).astype(np.float64)
    curve = CubicSpline(np.arange(len(closed)), closed, axis=0, bc_type="periodic")
    return curve(np.arange(count) * len(points) / count)


def interpolate(
    renderer: Renderer, seeds: Sequence[int], frames: int, space: str = "w"
) -> Iterator[np.ndarray]:
    """Yields the frames of a loop through the pictures of `seeds`, uint8 [H, W, C].

    Args:
        renderer: makes the pictures, without random noise.
        seeds: two or more; the loop takes the same number of frames from each to the next.
        frames: number of frames of the whole loop.
        space: "w" for a spline through their w, "z" for a spline through their z. The mapping
            network scales every z to a sphere, and the spline goes through points on that sphere.

    Raises:
        InputError: for an unusable value.
    """
    check_loop(seeds, frames)
    if space not in SPACES:
        raise InputError(f"there is no space {space!r}; take one of {', '.join(SPACES)}")
    if renderer.noise_mode == "random":
        raise InputError("random noise would flicker in an animation; take const or none")
    if space == "w":
        curve = closed_spline(renderer.map_seeds(seeds), frames)  # [frames, num_ws, w_dim]
    else:
        z = renderer.latents(seeds)
        z = z / np.sqrt(np.mean(np.square(z), axis=1, keepdims=True))
        curve = renderer.map_latents(closed_spline(z, frames))
    return renderer.images(curve)


def check_loop(seeds: Sequence[int], frames: int) -> None:
    """Checks the number of seeds and frames.

    Raises:
        InputError: for fewer than two seeds, or fewer frames than seeds.
    """
    if len(seeds) < 2:
        raise InputError("a loop needs two seeds or more, such as --seeds=0,1,2,3")
    if frames < len(seeds):
        raise InputError(f"{frames} frames cannot show {len(seeds)} seeds; ask for more --frames")


def frame_times(count: int, frame_rate: float, unit: int = 1) -> list[int]:
    """Returns how long each frame is shown, in ms; rounding errors do not add up.

    Args:
        count: number of frames.
        frame_rate: frames per second.
        unit: smallest unit of time of the format, in milliseconds.
    """
    ends = [round(i * 1000 / frame_rate / unit) * unit for i in range(count + 1)]
    return [max(after - before, unit) for before, after in itertools.pairwise(ends)]


def check_out(out: Path, frame_rate: float) -> None:
    """Checks that `write_animation` can write `out`, before any work is done.

    Raises:
        InputError: for an unknown suffix, a frame rate that the format cannot store, or a folder
            that is not empty.
    """
    suffix = out.suffix.lower()
    if suffix and suffix not in ANIMATIONS:
        raise InputError(
            f"--out={out} has an unknown suffix; take {', '.join(ANIMATIONS)}, or a folder for "
            "PNG frames"
        )
    if not 0 < frame_rate <= 1000:
        raise InputError(f"the frame rate is {frame_rate:g}; it must be above 0 and at most 1000")
    if suffix == ".gif" and frame_rate > FASTEST_GIF:
        raise InputError(
            f"a GIF shows {FASTEST_GIF:g} frames per second at most; take .webp or .png"
        )
    if not suffix and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out={out} exists already; remove it, or name another folder")


def write_animation(out: str | Path, frames: Iterable[np.ndarray], frame_rate: float) -> None:
    """Writes frames as an endless animation, or as a folder of PNGs if `out` has no suffix.

    Args:
        out: .gif, .webp or .png file, or a folder that is new or empty.
        frames: uint8 [H, W, C] each.
        frame_rate: frames per second; not used for a folder.

    Raises:
        InputError: see `check_out`; or if `out` cannot be written.
    """
    out = Path(out)
    check_out(out, frame_rate)
    if not out.suffix:
        with new_folder(out) as folder:
            for i, frame in enumerate(frames):
                save_png(folder / f"frame{i:05d}.png", frame)
        return
    kind, unit, further = ANIMATIONS[out.suffix.lower()]
    pictures = [to_pillow(frame) for frame in frames]
    with new_file(out) as file:
        pictures[0].save(
            file,
            format=kind,
            save_all=True,
            append_images=pictures[1:],
            duration=frame_times(len(pictures), frame_rate, unit),
            loop=0,
            **further,
        )

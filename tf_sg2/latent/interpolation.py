"""`tf-sg2 interpolate`: a closed way through latent space, as an animation without a seam."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags
from tqdm import tqdm

from tf_sg2.commands import flags as command_line
from tf_sg2.commands.model_flags import define_model_flags, load_renderer, require
from tf_sg2.errors import InputError
from tf_sg2.files import new_file, new_folder
from tf_sg2.images import save_png, to_pillow
from tf_sg2.latent.seeds import latents, parse_numbers

if TYPE_CHECKING:
    from tf_sg2.latent.renderer import Renderer

SPACES = ("w", "z")
# Suffix -> (Pillow's format, its smallest unit of time in milliseconds, further arguments).
ANIMATIONS = {
    ".gif": ("GIF", 10, {"disposal": 2}),
    ".webp": ("WEBP", 1, {"lossless": True}),
    ".png": ("PNG", 1, {}),
}
# Viewers play a GIF's frames of less than two units of time slowly.
FASTEST_GIF = 50.0

USAGE = """
tf-sg2 interpolate: an animation through the pictures of some seeds and back to the first.

  tf-sg2 interpolate --run=runs/cards --seeds=0,1,2,3 --frames=120 --out=loop.webp
  tf-sg2 interpolate --run=runs/cards --seeds=0-7 --frames=480 --out=frames

--out is a .gif (256 colours), .webp or .png (both lossless and animated), or else a folder of PNG
frames, which ffmpeg makes a film of:

  ffmpeg -framerate 30 -i frames/frame%05d.png -pix_fmt yuv420p film.mp4
"""


def closed_spline(points: np.ndarray, count: int) -> np.ndarray:
    """Returns `count` points on the smooth closed curve through `points`, from the first one on.

    A periodic cubic spline at even steps; the curve, its slope and its bend also meet at the seam.

    Args:
        points: [K, ...], two or more.
        count: how many; the first point does not come again at the end.

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
        seeds: two or more; each is met after the same number of frames.
        frames: in the whole loop.
        space: "w": a spline through their w; "z": a spline through their z on the sphere that the
            mapping network scales every z to.

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
        z = np.asarray(latents(seeds, renderer.generator.config.z_dim))
        z = z / np.sqrt(np.mean(np.square(z), axis=1, keepdims=True))
        curve = renderer.map_latents(closed_spline(z, frames))
    return renderer.images(curve)


def check_loop(seeds: Sequence[int], frames: int) -> None:
    """Refuses a loop that leads nowhere.

    Raises:
        InputError: for less than two seeds, or less frames than seeds.
    """
    if len(seeds) < 2:
        raise InputError("a loop needs two seeds or more, such as --seeds=0,1,2,3")
    if frames < len(seeds):
        raise InputError(f"{frames} frames cannot show {len(seeds)} seeds; ask for more --frames")


def frame_times(count: int, frame_rate: float, unit: int = 1) -> list[int]:
    """Returns how long each frame is shown, in ms; the sum is right even where a frame's is not.

    Args:
        count: of frames.
        frame_rate: frames a second.
        unit: the format's smallest unit of time in milliseconds.
    """
    ends = [round(i * 1000 / frame_rate / unit) * unit for i in range(count + 1)]
    return [max(after - before, unit) for before, after in itertools.pairwise(ends)]


def check_out(out: Path, frame_rate: float) -> None:
    """Refuses what `write_animation` cannot write, before any work.

    Raises:
        InputError: for an unknown suffix, a frame rate beyond the format, or a folder in use.
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
        raise InputError(f"a GIF shows {FASTEST_GIF:g} frames a second at most; take .webp or .png")
    if not suffix and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"--out={out} exists already; remove it, or name another folder")


def write_animation(out: str | Path, frames: Iterable[np.ndarray], frame_rate: float) -> None:
    """Writes frames as an endless animation, or as a folder of PNGs where `out` has no suffix.

    Args:
        out: .gif, .webp or .png file, or a folder that is new or empty.
        frames: uint8 [H, W, C] each.
        frame_rate: frames a second; no matter for a folder.

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


def _define_flags(values: flags.FlagValues) -> None:
    shared = {"flag_values": values}
    define_model_flags(values, ("const", "none"))
    flags.DEFINE_string(
        "out", None, ".gif, .webp or .png file, or a new folder for PNG frames (needed)", **shared
    )
    flags.DEFINE_string("seeds", None, "the stations, such as 0,1,2,3 (needed)", **shared)
    flags.DEFINE_integer("frames", 60, "in the whole loop", lower_bound=2, **shared)
    flags.DEFINE_float("frame_rate", 20.0, "frames a second", **shared)
    flags.DEFINE_enum(
        "space",
        "w",
        list(SPACES),
        "w: even changes; z: every frame is the picture of a z",
        **shared,
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 interpolate`."""
    values = command_line.parse("interpolate", arguments, _define_flags, USAGE)
    require(values, "run", "out", "seeds")
    seeds = parse_numbers(values.seeds, "--seeds")
    check_loop(seeds, values.frames)
    check_out(Path(values.out), values.frame_rate)
    run, renderer = load_renderer(values)
    frames = interpolate(renderer, seeds, values.frames, values.space)
    shown = tqdm(frames, total=values.frames, unit="frame", leave=False, disable=None)
    write_animation(values.out, shown, values.frame_rate)
    print(f"{values.frames} frames of {run.checkpoint.name}: {values.out}")

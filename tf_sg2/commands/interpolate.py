"""The command `tf-sg2 interpolate`: a looped animation through latent space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from tf_sg2.commands.flags import CommandFlags, parse
from tf_sg2.commands.trained_run import define_renderer_flags, load_renderer
from tf_sg2.latent.interpolation import SPACES, check_loop, check_out, interpolate, write_animation
from tf_sg2.latent.seeds import parse_numbers

USAGE = """
Animates a path through the pictures of some seeds and back to the first.

  tf-sg2 interpolate --run=runs/cards --seeds=0,1,2,3 --frames=120 --out=loop.webp
  tf-sg2 interpolate --run=runs/cards --seeds=0-7 --frames=480 --out=frames

--out is a .gif (256 colours), .webp or .png (both lossless and animated), or a folder for PNG
frames. ffmpeg turns the frames into a film:

  ffmpeg -framerate 30 -i frames/frame%05d.png -pix_fmt yuv420p film.mp4
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    define_renderer_flags(flags, ("const", "none"))
    flags.string(
        "out", None, ".gif, .webp or .png file, or a new folder for PNG frames", required=True
    )
    flags.string("seeds", None, "seeds on the path, such as 0,1,2,3", required=True)
    flags.integer("frames", 60, "frames of the whole loop", lower_bound=2)
    flags.number("frame_rate", 20.0, "frames per second")
    flags.enum(
        "space",
        "w",
        SPACES,
        "space of the path; w: even changes; z: every frame is the picture of a z",
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 interpolate`."""
    values = parse("interpolate", arguments, define_flags, USAGE)
    seeds = parse_numbers(values.seeds, "--seeds")
    check_loop(seeds, values.frames)
    check_out(Path(values.out), values.frame_rate)
    run, renderer = load_renderer(values)
    frames = interpolate(renderer, seeds, values.frames, values.space)
    shown = tqdm(frames, total=values.frames, unit="frame", leave=False, disable=None)
    write_animation(values.out, shown, values.frame_rate)
    print(f"{values.frames} frames of {run.checkpoint.name}: {values.out}")

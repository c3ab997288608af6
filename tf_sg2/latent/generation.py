"""`tf-sg2 generate`: pictures by seed, one file each or all on one sheet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags
from tqdm import tqdm

from tf_sg2.commands import flags as command_line
from tf_sg2.commands.model_flags import define_model_flags, load_renderer, picture_metadata, require
from tf_sg2.errors import InputError
from tf_sg2.images import grid, save_png
from tf_sg2.latent.seeds import parse_numbers

if TYPE_CHECKING:
    from tf_sg2.latent.renderer import Renderer

USAGE = """
tf-sg2 generate: pictures by seed, from a trained run.

  tf-sg2 generate --run=runs/cards --out=pictures --seeds=0-15
  tf-sg2 generate --run=runs/cards --out=sheet.png --seeds=0-15,20,33 --grid --columns=6

Writes pictures/seed0000.png and so on, or with --grid one sheet. A seed stands for one picture of
a checkpoint, whichever seeds are generated beside it. The PNGs say what made them (seed, psi, ...)
in their text entries.
"""


def generate(
    renderer: Renderer,
    seeds: Sequence[int],
    out: str | Path,
    as_grid: bool = False,
    columns: int | None = None,
    metadata: Mapping[str, object] | None = None,
) -> list[Path]:
    """Writes the pictures of seeds.

    Args:
        renderer: makes them.
        seeds: one a picture.
        out: a folder (made if need be; files of the same name are replaced), or a .png file for a
            grid or a single seed.
        as_grid: whether all pictures go on one sheet.
        columns: of the grid; about as many as rows where None.
        metadata: text for the PNGs, beside the seed.

    Returns:
        The files written.

    Raises:
        InputError: if `out` does not fit, or cannot be written.
    """
    out = Path(out)
    check_out(out, seeds, as_grid, columns)
    pictures = tqdm(
        renderer.seed_images(seeds), total=len(seeds), unit="image", leave=False, disable=None
    )
    if as_grid:
        columns = columns or math.ceil(math.sqrt(len(seeds)))
        sheet = grid(np.stack(list(pictures)), math.ceil(len(seeds) / columns), columns)
        save_png(out, sheet, {"seeds": ",".join(map(str, seeds)), **(metadata or {})})
        return [out]
    written = []
    for seed, picture in zip(seeds, pictures, strict=True):
        path = out if _is_png(out) else out / f"seed{seed:04d}.png"
        save_png(path, picture, {"seed": seed, **(metadata or {})})
        written.append(path)
    return written


def check_out(out: Path, seeds: Sequence[int], as_grid: bool, columns: int | None) -> None:
    """Refuses an `out` that does not fit, before any work.

    Raises:
        InputError: saying what would fit.
    """
    if as_grid and not _is_png(out):
        raise InputError(f"a grid is one picture, but --out={out} is no .png file")
    if columns is not None and not as_grid:
        raise InputError("--columns is for a grid; add --grid, or leave it out")
    if columns is not None and columns > len(seeds):
        raise InputError(
            f"--columns={columns} is more than the {len(seeds)} pictures of the grid; "
            f"take at most {len(seeds)}"
        )
    if not as_grid and _is_png(out) and len(seeds) != 1:
        raise InputError(
            f"--out={out} is one file, but there are {len(seeds)} seeds; name a folder, "
            "or add --grid"
        )
    if not _is_png(out) and out.exists() and not out.is_dir():
        raise InputError(f"--out={out} is a file that is there already; name a folder")


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png"


def _define_flags(values: flags.FlagValues) -> None:
    shared = {"flag_values": values}
    define_model_flags(values)
    flags.DEFINE_string(
        "out", None, "folder; or .png file for --grid or a single seed (needed)", **shared
    )
    flags.DEFINE_string("seeds", None, "such as 0-15,20,33 (needed)", **shared)
    flags.DEFINE_boolean("grid", False, "one sheet of all pictures, row by row", **shared)
    flags.DEFINE_integer(
        "columns", None, "of the grid; default: about as many as rows", lower_bound=1, **shared
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 generate`."""
    values = command_line.parse("generate", arguments, _define_flags, USAGE)
    require(values, "run", "out", "seeds")
    seeds = parse_numbers(values.seeds, "--seeds")
    check_out(Path(values.out), seeds, values.grid, values.columns)
    run, renderer = load_renderer(values)
    written = generate(
        renderer, seeds, values.out, values.grid, values.columns, picture_metadata(run, renderer)
    )
    where = written[0] if len(written) == 1 else values.out
    print(f"{len(seeds)} picture{'s' * (len(seeds) > 1)} of {run.checkpoint.name}: {where}")

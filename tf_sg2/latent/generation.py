"""Writes the pictures of seeds, one file each or all in one grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from tf_sg2.errors import InputError
from tf_sg2.images import grid, save_png

if TYPE_CHECKING:
    from tf_sg2.latent.renderer import Renderer


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
        renderer: makes the pictures.
        seeds: one per picture.
        out: a folder, which is made if it does not exist; files of the same name are replaced. Or
            a .png file, for a grid or a single seed.
        as_grid: whether all pictures go into one grid.
        columns: columns of the grid; None for about as many as rows.
        metadata: further text entries of the PNGs, which always hold the seed.

    Returns:
        The files written.

    Raises:
        InputError: if `out` does not fit the other arguments, or cannot be written.
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
    """Checks that `generate` can write to `out`, before any work is done.

    Raises:
        InputError: if it cannot; the message says which `out` fits.
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
        raise InputError(f"--out={out} is an existing file; name a folder")


def _is_png(path: Path) -> bool:
    return path.suffix.lower() == ".png"

"""`tf-sg2 mix`: the style-mixing table (Karras et al. 2018, section 3.1 and figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from absl import flags
from tqdm import tqdm

from tf_sg2.commands import flags as command_line
from tf_sg2.commands.model_flags import define_model_flags, load_renderer, picture_metadata, require
from tf_sg2.errors import InputError
from tf_sg2.images import PADDING_VALUE, grid, save_png
from tf_sg2.latent.seeds import parse_numbers

if TYPE_CHECKING:
    from tf_sg2.latent.renderer import Renderer

USAGE = """
tf-sg2 mix: the style-mixing table of two sets of seeds, from a trained run.

  tf-sg2 mix --run=runs/cards --rows=0-3 --columns=10-15 --layers=0-3 --out=mixed.png

The first column shows the row seeds, the first row the column seeds. Every other picture is its
row's, with the given layers taken from its column. Layers count from 0, coarse to fine, two a
resolution: 0-3 are pose and layout, the last ones colours and texture.
"""


def mixing_table(
    renderer: Renderer, rows: Sequence[int], columns: Sequence[int], layers: Sequence[int]
) -> np.ndarray:
    """Returns the pictures of the table, uint8 [1 + rows, 1 + columns, H, W, C].

    The corner is white. With random noise a picture has its row's noise, the first row its own.

    Args:
        renderer: makes the pictures.
        rows, columns: seeds.
        layers: which w of a picture come from its column.

    Raises:
        InputError: for a layer that the model does not have.
    """
    num_ws = renderer.generator.config.num_ws
    beyond = [layer for layer in layers if not 0 <= layer < num_ws]
    if beyond:
        raise InputError(f"there is no layer {beyond[0]}; this model has layers 0...{num_ws - 1}")
    row_w, column_w = renderer.map_seeds(rows), renderer.map_seeds(columns)
    taken = np.isin(np.arange(num_ws), layers)[None, :, None]  # [1, num_ws, 1]
    w, noise = [column_w], [*columns]  # each [pictures, num_ws, w_dim]
    for seed, own in zip(rows, row_w[:, None], strict=True):
        w += [own, np.where(taken, column_w, own)]
        noise += [seed] * (1 + len(columns))
    w = np.concatenate(w)
    pictures = list(
        tqdm(renderer.images(w, noise), total=len(w), unit="image", leave=False, disable=None)
    )
    corner = np.full_like(pictures[0], PADDING_VALUE)
    table = np.stack([corner, *pictures])
    return table.reshape(1 + len(rows), 1 + len(columns), *corner.shape)


def _define_flags(values: flags.FlagValues) -> None:
    shared = {"flag_values": values}
    define_model_flags(values)
    flags.DEFINE_string("out", None, ".png file (needed)", **shared)
    flags.DEFINE_string("rows", None, "seeds of the rows, such as 0-3 (needed)", **shared)
    flags.DEFINE_string("columns", None, "seeds of the columns, such as 10-15 (needed)", **shared)
    flags.DEFINE_string("layers", "0-3", "layers that come from the column", **shared)
    flags.DEFINE_integer("padding", 0, "white pixels between the pictures", lower_bound=0, **shared)


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 mix`."""
    values = command_line.parse("mix", arguments, _define_flags, USAGE)
    require(values, "run", "out", "rows", "columns", "layers")
    if Path(values.out).suffix.lower() != ".png":
        raise InputError(f"the table is one picture, but --out={values.out} is no .png file")
    rows, columns, layers = (
        parse_numbers(values[name].value, f"--{name}") for name in ("rows", "columns", "layers")
    )
    run, renderer = load_renderer(values)
    table = mixing_table(renderer, rows, columns, layers)
    sheet = grid(table.reshape(-1, *table.shape[2:]), *table.shape[:2], values.padding)
    named = {name: values[name].value for name in ("rows", "columns", "layers")}
    save_png(values.out, sheet, {**named, **picture_metadata(run, renderer)})
    print(f"table of {len(rows)} rows and {len(columns)} columns: {values.out}")

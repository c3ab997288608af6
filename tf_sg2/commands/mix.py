"""The command `tf-sg2 mix`: a style-mixing table as one picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tf_sg2.commands.flags import CommandFlags, parse
from tf_sg2.commands.trained_run import define_renderer_flags, load_renderer, picture_metadata
from tf_sg2.errors import InputError
from tf_sg2.images import grid, save_png
from tf_sg2.latent.mixing import mixing_table
from tf_sg2.latent.seeds import parse_numbers

USAGE = """
Mixes the styles of two lists of seeds into a table, with a trained run.

  tf-sg2 mix --run=runs/cards --rows=0-3 --columns=10-15 --layers=0-3 --out=mixed.png

The first column shows the row seeds, the first row the column seeds. Every other picture is that of
its row, but the given layers take the style of its column. Layers count from 0, coarse to fine, two
per resolution: 0-3 are pose and layout, the last ones colours and texture.
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    define_renderer_flags(flags)
    flags.string("out", None, ".png file", required=True)
    flags.string("rows", None, "seeds of the rows, such as 0-3", required=True)
    flags.string("columns", None, "seeds of the columns, such as 10-15", required=True)
    flags.string("layers", "0-3", "layers that take the style of the column", required=True)
    flags.integer("padding", 0, "width of the white lines between pictures", lower_bound=0)


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 mix`."""
    values = parse("mix", arguments, define_flags, USAGE)
    if Path(values.out).suffix.lower() != ".png":
        raise InputError(f"the table is one picture, but --out={values.out} is no .png file")
    rows = parse_numbers(values.rows, "--rows")
    columns = parse_numbers(values.columns, "--columns")
    layers = parse_numbers(values.layers, "--layers")
    run, renderer = load_renderer(values)
    table = mixing_table(renderer, rows, columns, layers)
    pictures = table.reshape(-1, *table.shape[2:])
    sheet = grid(pictures, 1 + len(rows), 1 + len(columns), values.padding)
    seeds = {"rows": values.rows, "columns": values.columns, "layers": values.layers}
    save_png(values.out, sheet, {**seeds, **picture_metadata(run, renderer)})
    print(f"table of {len(rows)} rows and {len(columns)} columns: {values.out}")

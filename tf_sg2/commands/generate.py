"""The command `tf-sg2 generate`: pictures from seeds, one file each or all in one grid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tf_sg2.commands.flags import CommandFlags, parse
from tf_sg2.commands.trained_run import define_renderer_flags, load_renderer, picture_metadata
from tf_sg2.latent.generation import check_out, generate
from tf_sg2.latent.seeds import parse_numbers

USAGE = """
Generates pictures from seeds with a trained run.

  tf-sg2 generate --run=runs/cards --out=pictures --seeds=0-15
  tf-sg2 generate --run=runs/cards --out=sheet.png --seeds=0-15,20,33 --grid --columns=6

Writes pictures/seed0000.png and so on, or one grid with --grid. A seed always gives the same
picture of a checkpoint; the other seeds of the command do not change it. The text entries of each
PNG hold its settings (seed, psi, ...).
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    define_renderer_flags(flags)
    flags.string("out", None, "folder; or .png file for --grid or for a single seed", required=True)
    flags.string("seeds", None, "seeds, such as 0-15,20,33", required=True)
    flags.boolean("grid", False, "write all pictures into one grid, row by row")
    flags.integer(
        "columns",
        None,
        "columns of the grid; default: about as many as rows",
        lower_bound=1,
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 generate`."""
    values = parse("generate", arguments, define_flags, USAGE)
    seeds = parse_numbers(values.seeds, "--seeds")
    check_out(Path(values.out), seeds, values.grid, values.columns)
    run, renderer = load_renderer(values)
    written = generate(
        renderer, seeds, values.out, values.grid, values.columns, picture_metadata(run, renderer)
    )
    where = written[0] if len(written) == 1 else values.out
    print(f"{len(seeds)} picture{'s' * (len(seeds) > 1)} of {run.checkpoint.name}: {where}")

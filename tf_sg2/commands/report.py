"""The command `tf-sg2 report`: one HTML file that shows how a run went."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tf_sg2.commands.flags import CommandFlags, parse

USAGE = """
Writes a report of a run as one HTML file, which needs no server and nothing beside it.

  tf-sg2 report --run=runs/cards
  tf-sg2 report --run=runs/cards,runs/other --out=compared.html

It shows what was trained on what and for how long, all curves against kimg and hours, samples over
training, a truncation sweep, style mixing, the scores of the discriminator, and the nearest real
images of generated ones. Its last part says how healthy and sick curves look. Several runs are
drawn over each other.

Real images are in the report only if the data set is drawn cards, or if --real_images is given.
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    flags.strings("run", [], "run directories of tf-sg2 train, separated by commas")
    flags.string(
        "out", None, ".html file; default: report.html in the first run's folder, replaced if there"
    )
    flags.string(
        "checkpoint",
        None,
        "iteration or name of the checkpoint that makes the pictures; default: the newest one",
    )
    flags.string(
        "labels",
        None,
        "for conditional models: a class number, or the numbers of the label; default: class 0",
    )
    flags.boolean(
        "real_images",
        False,
        "show real images also where the data set is not known to be drawn cards; the report then "
        "holds personal data if they do",
    )
    flags.integer(
        "neighbours",
        256,
        "generated images whose nearest real images are looked for; 0 for none",
        lower_bound=0,
    )
    flags.integer(
        "most_real",
        2000,
        "real images that are looked at, at most, in each of training and hold-out",
        lower_bound=1,
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 report`."""
    values = parse("report", arguments, define_flags, USAGE)
    from tf_sg2.report.records import read_runs

    read_runs(values.run)  # Refuses a wrong folder before TensorFlow is imported.
    from tf_sg2.report.writing import Settings, write_report

    out = Path(values.out) if values.out else Path(values.run[0]) / "report.html"
    settings = Settings(
        values.checkpoint, values.labels, values.real_images, values.neighbours, values.most_real
    )
    write_report(values.run, out, settings, _warn)
    print(f"report: {out.resolve().as_uri()} ({out.stat().st_size / 1e6:.1f} MB)")


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)

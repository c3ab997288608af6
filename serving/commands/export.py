"""`tf-sg2 export`: exports a trained run as a version of a served model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tf_sg2.commands.flags import CommandFlags, parse
from tf_sg2.commands.trained_run import define_run_flags, load_named_run

USAGE = """
tf-sg2 export: exports a trained run as a SavedModel for TensorFlow Serving.

  tf-sg2 export --run=runs/cards --out=models/cards

Writes models/cards/1, or the next number. A server that watches models/cards loads the version when
it is complete. The averaged generator has six signatures: serving_default, generate, map,
synthesize, synthesize_png and style_mix. models/cards/1/assets.extra/model_card.md describes them
and the model.
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    define_run_flags(flags)
    flags.string(
        "out", None, "folder with the model's name; gets one folder per version", required=True
    )
    flags.integer("version", None, "version number; default: the next one")
    flags.boolean(
        "bfloat16",
        False,
        "compute pictures in bfloat16: about half the memory, and faster on hardware that supports "
        "it; the model card holds the measured difference from float32",
    )
    flags.string("license", None, "licence of the weights, for the model card")
    flags.integer(
        "rows_at_once",
        1,
        "rows computed together. 1 is fastest for single requests; about 8 use a GPU better, but "
        "then a single row takes as long as 8",
        lower_bound=1,
        upper_bound=64,
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 export`."""
    values = parse("export", arguments, define_flags, USAGE)
    run = load_named_run(values)
    from tf_sg2.serving.export.saved_model import export

    written = export(
        run,
        Path(values.out),
        values.version,
        values.bfloat16,
        values.rows_at_once,
        values.license,
    )
    print(f"{run.checkpoint.name} of {values.run}: {written}")

"""`tf-sg2 export`: exports a trained run as a version of a served model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tf_sg2.commands import flags as command_line
from tf_sg2.errors import InputError
from tf_sg2.networks.precision import use_tf32

USAGE = """
tf-sg2 export: exports a trained run as a SavedModel for TensorFlow Serving.

  tf-sg2 export --run=runs/cards --out=models/cards

Writes models/cards/1, or the next number. A server that watches models/cards loads the version when
it is complete. The averaged generator has six signatures: serving_default, generate, map,
synthesize, synthesize_png and style_mix. models/cards/1/assets.extra/model_card.md describes them
and the model.
"""


def _define_flags(values: flags.FlagValues) -> None:
    shared = {"flag_values": values}
    flags.DEFINE_string("run", None, "run directory of tf-sg2 train (needed)", **shared)
    flags.DEFINE_string(
        "checkpoint",
        None,
        "checkpoint of the run: iteration, name or path; default: the newest",
        **shared,
    )
    flags.DEFINE_string(
        "out",
        None,
        "folder with the model's name; gets one folder per version (needed)",
        **shared,
    )
    flags.DEFINE_integer("version", None, "version number; default: the next one", **shared)
    flags.DEFINE_boolean(
        "bfloat16",
        False,
        "compute pictures in bfloat16: about half the memory, and faster on hardware that supports "
        "it; the model card holds the measured difference from float32",
        **shared,
    )
    flags.DEFINE_string("license", None, "licence of the weights, for the model card", **shared)
    flags.DEFINE_integer(
        "rows_at_once",
        1,
        "rows computed together. 1 is fastest for single requests; about 8 use a GPU better, but "
        "then a single row takes as long as 8",
        lower_bound=1,
        upper_bound=64,
        **shared,
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 export`."""
    values = command_line.parse("export", arguments, _define_flags, USAGE)
    for name in ("run", "out"):
        if not values[name].value:
            raise InputError(f"--{name} is needed: {values[name].help.removesuffix(' (needed)')}")
    from tf_sg2.runs.directory import RunDirectory, load_run

    # Refuses a wrong folder without TensorFlow.
    use_tf32(RunDirectory(values.run).read_config().training.tf32)
    run = load_run(values.run, values.checkpoint)
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

"""The command `tf-sg2 convert`: other programs' weights to runs, and runs to their files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tf_sg2.commands.flags import CommandFlags, parse
from tf_sg2.errors import InputError
from tf_sg2.networks.precision import use_tf32

if TYPE_CHECKING:
    from tf_sg2.config import Config
    from tf_sg2.weights.foreign.build import Built

ENDINGS = (".safetensors", ".npz", ".pt", ".keras")
USAGE = """
Converts networks between a run directory and the files of other programs.

  tf-sg2 convert --source=network.pkl --dest=runs/imported
  tf-sg2 convert --source=runs/cards --dest=cards.safetensors

Sources: a run directory; a pickle of the official PyTorch or TensorFlow release of StyleGAN2; a
checkpoint of rosinality/stylegan2-pytorch; a .safetensors file of this command. Nothing in a file
is executed. Destinations, by their ending:

  .safetensors  all networks, with the names of the official PyTorch release
  .npz          the same arrays for NumPy
  .pt           a checkpoint of rosinality/stylegan2-pytorch
  .keras        the averaged generator as a Keras model
  no ending     a run directory, for every command that takes --run and for train --init_from

An official pickle cannot be written, because it holds the source text of NVIDIA's classes.
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    flags.string("source", None, "run directory or file", required=True)
    flags.string("dest", None, "new run directory, or file by its ending", required=True)
    flags.string("checkpoint", None, "of a run: iteration, name or path; default: the newest one")


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 convert`."""
    values = parse("convert", arguments, define_flags, USAGE)
    print(convert(values.source, values.dest, values.checkpoint))


def convert(source: str, dest: str, checkpoint: str | None = None) -> str:
    """Converts `source` to `dest`; returns a sentence about what was written.

    Args:
        source: run directory or file.
        dest: new run directory, or a file whose ending is in `ENDINGS`.
        checkpoint: of a run, see `load_run`; None for the newest.

    Raises:
        InputError: if the source cannot be read, or the destination cannot be written.
    """
    ending = Path(dest).suffix
    if ending and ending not in ENDINGS:
        raise InputError(
            f"--dest={dest} has the ending {ending}; use {', '.join(ENDINGS)}, or none for a run "
            "directory"
        )
    if os.path.isdir(source):
        if not ending:
            raise InputError(
                f"--source={source} is a run directory already; name a file with one of the "
                f"endings {', '.join(ENDINGS)} as --dest"
            )
        config, networks = _from_run(source, checkpoint)
    else:
        from tf_sg2.weights.foreign.read import config_of, read_networks, state_of

        if checkpoint is not None:
            raise InputError("--checkpoint is for run directories; leave it out for a file")
        use_tf32(False)
        found = read_networks(source)
        from tf_sg2.weights.foreign.build import build

        config = config_of(found)
        networks = build(state_of(found))
        if not ending:
            from tf_sg2.runs.imported import origin_of, write_imported_run

            origin = origin_of(source, found.kind, networks.notes)
            write_imported_run(dest, config, networks, origin)
    if ending:
        from tf_sg2.weights.foreign.write import WRITERS

        WRITERS[ending](Path(dest), config, networks)
    return " ".join([f"wrote {dest}", *(f"({note})" for note in networks.notes)])


def _from_run(source: str, checkpoint: str | None) -> tuple[Config, Built]:
    from tf_sg2.runs.directory import RunDirectory
    from tf_sg2.runs.load import load_run, restore_parts

    use_tf32(RunDirectory(source).read_config().training.tf32)
    run = load_run(source, checkpoint)
    from tf_sg2.networks.generator import Generator
    from tf_sg2.weights.foreign.build import Built

    generator = Generator(run.config.generator)
    restore_parts(run.checkpoint, run.directory, {"generator": generator})
    return run.config, Built(generator, run.discriminator, run.generator, ())

"""Flags of the commands that use a trained run, and functions that load what they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tf_sg2 import __version__
from tf_sg2.commands.flags import CommandFlags, FlagValues
from tf_sg2.latent.seeds import SEED_KINDS
from tf_sg2.networks.precision import use_tf32
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.runs.load import LoadedRun, load_run

if TYPE_CHECKING:
    from tf_sg2.latent.renderer import Renderer

_NOISE_MODES = {
    "const": "the stored noise of the model",
    "random": "noise from the seed",
    "none": "no noise",
}


def define_run_flags(flags: CommandFlags) -> None:
    """Defines the flags that name a run and one of its checkpoints."""
    flags.string("run", None, "run directory of tf-sg2 train", required=True)
    flags.string(
        "checkpoint",
        None,
        "iteration, name or path of a checkpoint, or best; default: the newest one",
    )


def load_named_run(values: FlagValues) -> LoadedRun:
    """Loads the run that the flags of `define_run_flags` name.

    Raises:
        InputError: if the run cannot be loaded.
    """
    # Reading the configuration first refuses a wrong folder before TensorFlow is imported.
    use_tf32(RunDirectory(values.run).read_config().training.tf32)
    return load_run(values.run, values.checkpoint)


def define_renderer_flags(
    flags: CommandFlags, noise_modes: Sequence[str] = tuple(_NOISE_MODES)
) -> None:
    """Defines the flags of commands that make pictures with a trained generator."""
    define_run_flags(flags)
    flags.string(
        "labels",
        None,
        "for conditional models: a class number, or the numbers of the label separated by commas",
    )
    flags.number(
        "truncation_psi",
        0.7,
        "1: full variety; closer to 0: fewer flaws and less variety; 0: only the mean picture",
    )
    flags.integer(
        "truncation_cutoff",
        None,
        "number of layers that are truncated, counted from the coarsest; default: all layers",
        lower_bound=0,
    )
    flags.enum(
        "noise_mode",
        "const",
        noise_modes,
        "; ".join(f"{mode}: {_NOISE_MODES[mode]}" for mode in noise_modes),
    )
    flags.enum(
        "seeds_as",
        "philox",
        SEED_KINDS,
        "how a seed becomes z; numpy: as the official PyTorch scripts do",
    )
    flags.integer(
        "batch_size",
        4,
        "pictures per batch; more are faster and need more memory",
        lower_bound=1,
    )


def load_renderer(values: FlagValues) -> tuple[LoadedRun, Renderer]:
    """Loads a run and makes its renderer from the flags of `define_renderer_flags`.

    Raises:
        InputError: if the run cannot be loaded, or a flag does not fit its model.
    """
    from tf_sg2.latent.labels import parse_label

    run = load_named_run(values)
    from tf_sg2.latent.renderer import Renderer

    renderer = Renderer(
        run.generator,
        parse_label(values.labels, run.config.generator.label_dim),
        values.truncation_psi,
        values.truncation_cutoff,
        values.noise_mode,
        values.batch_size,
        values.seeds_as,
    )
    return run, renderer


def picture_metadata(run: LoadedRun, renderer: Renderer) -> dict[str, object]:
    """Returns the settings of a picture for `images.save_png`, which stores them in the file."""
    metadata: dict[str, object] = {
        "psi": renderer.truncation_psi,
        "noise_mode": renderer.noise_mode,
        "checkpoint": run.checkpoint.name,
        "kimg": run.images_seen / 1000,
        "Software": f"tf-sg2 {__version__}",
    }
    if renderer.truncation_cutoff is not None:
        metadata["psi_cutoff"] = renderer.truncation_cutoff
    if renderer.seeds_as != "philox":
        metadata["seeds_as"] = renderer.seeds_as
    if renderer.label is not None:
        metadata["labels"] = ",".join(f"{value:g}" for value in renderer.label)
    return metadata

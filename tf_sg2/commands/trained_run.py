"""What the commands on a trained generator share: their flags, and loading what these name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from tf_sg2 import __version__
from tf_sg2.errors import InputError
from tf_sg2.networks.precision import use_tf32

if TYPE_CHECKING:
    from tf_sg2.latent.renderer import Renderer
    from tf_sg2.runs.load import LoadedRun


def define_model_flags(
    values: flags.FlagValues, noise_modes: Sequence[str] = ("const", "random", "none")
) -> None:
    """Adds the flags that say which generator makes the pictures, and how."""
    shared = {"flag_values": values}
    flags.DEFINE_string("run", None, "run directory of tf-sg2 train (needed)", **shared)
    flags.DEFINE_string(
        "checkpoint", None, "its checkpoint: iteration, name or path; default: the newest", **shared
    )
    flags.DEFINE_string(
        "labels",
        None,
        "conditional models: class number, or the label's numbers separated by commas",
        **shared,
    )
    flags.DEFINE_float(
        "truncation_psi",
        0.7,
        "1: all variety; towards 0: fewer flaws and less variety; 0: the mean picture",
        **shared,
    )
    flags.DEFINE_integer(
        "truncation_cutoff",
        None,
        "truncate the first so many layers only, coarse to fine; default: all",
        lower_bound=0,
        **shared,
    )
    explained = {
        "const": "the model's stored noise",
        "random": "noise by seed",
        "none": "no noise",
    }
    flags.DEFINE_enum(
        "noise_mode",
        "const",
        list(noise_modes),
        "; ".join(f"{mode}: {explained[mode]}" for mode in noise_modes),
        **shared,
    )
    flags.DEFINE_integer(
        "batch_size", 4, "pictures at a time: memory against speed", lower_bound=1, **shared
    )


def require(values: flags.FlagValues, *names: str) -> None:
    """Refuses a command line that leaves one of these flags out.

    Raises:
        InputError: naming the first one.
    """
    for name in names:
        if not values[name].value:
            raise InputError(f"--{name} is needed: {values[name].help.removesuffix(' (needed)')}")


def load_renderer(values: flags.FlagValues) -> tuple[LoadedRun, Renderer]:
    """Loads the run and settles its generator as the flags of `define_model_flags` say.

    Raises:
        InputError: if the run cannot be loaded, or a flag does not fit its model.
    """
    from tf_sg2.latent.labels import parse_label
    from tf_sg2.runs.directory import RunDirectory
    from tf_sg2.runs.load import load_run

    # Refuses a wrong folder without TensorFlow.
    use_tf32(RunDirectory(values.run).read_config().training.tf32)
    run = load_run(values.run, values.checkpoint)
    from tf_sg2.latent.renderer import Renderer

    renderer = Renderer(
        run.generator,
        parse_label(values.labels, run.config.generator.label_dim),
        values.truncation_psi,
        values.truncation_cutoff,
        values.noise_mode,
        values.batch_size,
    )
    return run, renderer


def picture_metadata(run: LoadedRun, renderer: Renderer) -> dict[str, object]:
    """Returns what made a picture, as `images.save_png` stores it."""
    metadata: dict[str, object] = {
        "psi": renderer.truncation_psi,
        "noise_mode": renderer.noise_mode,
        "checkpoint": run.checkpoint.name,
        "kimg": run.images_seen / 1000,
        "Software": f"tf-sg2 {__version__}",
    }
    if renderer.truncation_cutoff is not None:
        metadata["psi_cutoff"] = renderer.truncation_cutoff
    if renderer.label is not None:
        metadata["labels"] = ",".join(f"{value:g}" for value in renderer.label)
    return metadata

"""Loads a trained run: its configuration, and its networks with the weights of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_sg2.config import Config
from tf_sg2.errors import InputError, first_line
from tf_sg2.runs.checkpoints import checkpoint_of
from tf_sg2.runs.directory import RunDirectory

if TYPE_CHECKING:
    from tf_sg2.networks.discriminator import Discriminator
    from tf_sg2.networks.generator import Generator


@dataclass(frozen=True)
class LoadedRun:
    """A trained run, restored by `load_run`.

    `generator` is the EMA generator. `images_seen` counts the real images shown until the
    checkpoint. `checkpoint` is the path of the checkpoint without suffix.
    """

    config: Config
    generator: Generator
    discriminator: Discriminator
    images_seen: int
    checkpoint: Path
    directory: RunDirectory


def load_run(path: str | Path, checkpoint: str | int | Path | None = None) -> LoadedRun:
    """Builds the networks of a run and restores their weights.

    Args:
        path: the run directory.
        checkpoint: see `RunDirectory.find_checkpoint`; None for the newest.

    Raises:
        InputError: if `path` is no run, has no such checkpoint, or the checkpoint cannot be
            restored.
    """
    directory = RunDirectory(path)
    config = directory.read_config()
    import tensorflow as tf

    from tf_sg2.networks.discriminator import Discriminator
    from tf_sg2.networks.generator import Generator

    found = directory.find_checkpoint(checkpoint)
    generator = Generator(config.generator, name="generator_ema")
    discriminator = Discriminator(config.discriminator)
    images_seen = tf.Variable(0, dtype=tf.int64, trainable=False)
    restore_parts(
        found,
        directory,
        {"generator_ema": generator, "discriminator": discriminator, "images_seen": images_seen},
    )
    return LoadedRun(config, generator, discriminator, int(images_seen.numpy()), found, directory)


def restore_parts(checkpoint: Path, directory: RunDirectory, parts: Mapping[str, Any]) -> None:
    """Restores `parts` from a checkpoint by their names; reads nothing else of it.

    Args:
        checkpoint: path without suffix, from `RunDirectory.find_checkpoint`.
        directory: the run of the checkpoint, for messages.
        parts: see `checkpoint_of`.

    Raises:
        InputError: if the checkpoint is damaged or does not hold all of them.
    """
    import tensorflow as tf

    try:
        status = checkpoint_of(parts).restore(str(checkpoint)).expect_partial()
        status.assert_existing_objects_matched()
    except (AssertionError, IndexError, ValueError, RuntimeError, tf.errors.OpError) as error:
        raise InputError(
            f"checkpoint {checkpoint} is damaged, or of another configuration than "
            f"{directory.config_path} ({first_line(error)}); choose another one"
        ) from error

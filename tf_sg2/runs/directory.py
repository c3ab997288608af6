"""The contract between training and everything after it: where a run's files lie, and loading it.

RUN/config.json    the configuration that the run was started with
    checkpoints/   the last states of training, one `checkpoint-ITERATION` each
    log.jsonl      one line of scalars a tick
    samples/       pictures
    metrics/       measurements
    events...      the same for TensorBoard
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_sg2 import config as configuration
from tf_sg2.config import Config
from tf_sg2.errors import InputError, first_line
from tf_sg2.files import new_file

if TYPE_CHECKING:
    import tensorflow as tf

    from tf_sg2.networks.discriminator import Discriminator
    from tf_sg2.networks.generator import Generator

CHECKPOINT_NAME = "checkpoint"
# TensorFlow reads a checkpoint's path as a pattern in which these are special.
_PATTERN_CHARACTERS = "[*?\\"


@dataclass(frozen=True)
class RunDirectory:
    """The paths of a run, and its configuration. Nothing needs to exist yet.

    Args:
        path: the run's folder.

    Raises:
        InputError: if the path is empty, or TensorFlow would read it as a pattern.
    """

    path: Path

    def __init__(self, path: str | Path):
        if not str(path):
            raise InputError(
                "the path of the run directory is empty; name a folder (is a shell variable unset?)"
            )
        for character in _PATTERN_CHARACTERS:
            if character in str(path):
                raise InputError(
                    f"the path of the run directory, {path}, contains {character!r}, which "
                    "TensorFlow reads as part of a pattern; rename the folder, or go into it "
                    "and give a relative path"
                )
        object.__setattr__(self, "path", Path(path))

    @property
    def config_path(self) -> Path:
        """The configuration, JSON."""
        return self.path / "config.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def log_path(self) -> Path:
        """The scalars of training, one JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def samples(self) -> Path:
        """The folder of pictures."""
        return self.path / "samples"

    @property
    def metrics(self) -> Path:
        """The folder of measurements."""
        return self.path / "metrics"

    def write_config(self, config: Config) -> None:
        """Writes `config.json`, whole or not at all; makes the folder if need be."""
        with new_file(self.config_path) as file:
            file.write(configuration.to_json(config).encode())

    def read_config(self) -> Config:
        """Returns the run's configuration.

        Raises:
            InputError: if the folder is absent or is no run, or its configuration is unusable.
        """
        if not os.path.isdir(self.path):  # It never raises, as Path.is_dir does for long names.
            raise InputError(f"run directory {self.path} does not exist")
        if not os.path.isfile(self.config_path):
            raise InputError(
                f"{self.path} is no run directory: it has no {self.config_path.name}; give the "
                "folder that tf-sg2 train was given as --run"
            )
        return configuration.load(self.config_path)

    def checkpoint_numbers(self) -> list[int]:
        """Returns the iterations of the checkpoints that are there, in order."""
        names = os.listdir(self.checkpoints) if self.checkpoints.is_dir() else []
        found = (re.fullmatch(rf"{CHECKPOINT_NAME}-([0-9]+)\.index", name) for name in names)
        return sorted(int(match[1]) for match in found if match)

    def has_checkpoints(self) -> bool:
        """Returns whether there are files of a checkpoint, whole, incomplete or damaged."""
        return any(self.checkpoints.glob(f"*{CHECKPOINT_NAME}-*.*"))

    def find_checkpoint(self, checkpoint: str | int | Path | None = None) -> Path:
        """Returns the path of a checkpoint, without suffix, as TensorFlow takes it.

        Args:
            checkpoint: the iteration (12 or "12"), the name ("checkpoint-12"), or a path with or
                without ".index"; None for the newest.

        Raises:
            InputError: if it does not exist, or there is none.
        """
        if checkpoint is None:
            # The numbered files, and not TensorFlow's index of the folder: an index is written
            # after its checkpoint, may be lost, and may name the place that a run was moved from.
            numbers = self.checkpoint_numbers()
            if not numbers:
                raise InputError(
                    f"run {self.path} has no checkpoint yet; training writes the first one after "
                    "training.checkpoint_kimg, or when it ends"
                )
            return self.checkpoints / f"{CHECKPOINT_NAME}-{numbers[-1]}"
        wanted = str(checkpoint).removesuffix(".index")
        name = f"{CHECKPOINT_NAME}-{wanted}" if wanted.isdigit() else wanted
        for path in (self.checkpoints / name, Path(name)):
            if path.with_name(path.name + ".index").is_file():
                return path
        there = ", ".join(map(str, self.checkpoint_numbers()))
        raise InputError(
            f"run {self.path} has no checkpoint {str(checkpoint)!r}; it has {there or 'none yet'}"
        )


@dataclass(frozen=True)
class Run:
    """A run as it was saved: what `load_run` returns.

    `generator` is the EMA generator, `images_seen` counts the real images shown so far, and
    `checkpoint` is the path of the restored checkpoint without suffix.
    """

    config: Config
    generator: Generator
    discriminator: Discriminator
    images_seen: int
    checkpoint: Path
    directory: RunDirectory


def checkpoint_of(parts: Mapping[str, Any]) -> tf.train.Checkpoint:
    """Returns the checkpoint that holds `parts`, in the one layout of a run's checkpoints.

    Networks are held weight by weight under their official names. Handed over whole, they would
    lose most weights without an error: Keras 3 hides layers that stand in lists from TensorFlow's
    object graph. By name, a checkpoint also passes between Keras 2.15 and Keras 3, and restoring
    into other networks fails.

    Args:
        parts: networks, optimisers and variables by name.
    """
    import tensorflow as tf

    from tf_sg2.networks.discriminator import Discriminator
    from tf_sg2.networks.generator import Generator
    from tf_sg2.weights.names import discriminator_entries, generator_entries

    def held(part: Any) -> Any:
        if isinstance(part, Generator):
            return {entry.name: entry.variable for entry in generator_entries(part)}
        if isinstance(part, Discriminator):
            return {entry.name: entry.variable for entry in discriminator_entries(part)}
        return part

    return tf.train.Checkpoint(**{name: held(part) for name, part in parts.items()})


def load_run(path: str | Path, checkpoint: str | int | Path | None = None) -> Run:
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
    return Run(config, generator, discriminator, int(images_seen.numpy()), found, directory)


def restore_parts(checkpoint: Path, directory: RunDirectory, parts: Mapping[str, Any]) -> None:
    """Gives `parts` what a checkpoint holds under their names; the rest of it stays unread.

    Args:
        checkpoint: path without suffix, from `RunDirectory.find_checkpoint`.
        directory: its run, for messages.
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

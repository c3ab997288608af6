"""The layout of a run directory: the contract between training and everything after it.

RUN/config.json    the configuration that the run was started with
    checkpoints/   the last states of training, one `checkpoint-ITERATION` each
    log.jsonl      scalars, one JSON object per log interval
    samples/       pictures
    metrics/       measurements
    events...      scalars and pictures for TensorBoard
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tf_sg2 import config as configuration
from tf_sg2.config import Config
from tf_sg2.errors import InputError
from tf_sg2.files import new_file
from tf_sg2.runs.checkpoints import CHECKPOINT_NAME

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

"""The layout of a run directory: the contract between training and everything after it.

RUN/config.json    the configuration that the run was started with
    origin.json    of an imported network: its file, hash and licence
    checkpoints/   the last states of training, one `checkpoint-ITERATION` each; the state that is
                   best by a metric in `best/`, and states that are never removed in `lasting/`
    log.jsonl      scalars, one JSON object per log interval
    samples/       pictures
    metrics/       measurements
    events...      scalars and pictures for TensorBoard
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_sg2 import config as configuration
from tf_sg2.config import Config
from tf_sg2.errors import InputError, first_line
from tf_sg2.files import new_file
from tf_sg2.runs.checkpoints import CHECKPOINT_NAME

# The name of the best checkpoint in commands, and of its folder.
BEST = "best"

# Special characters in the patterns that TensorFlow reads paths of checkpoints as.
_PATTERN_CHARACTERS = "[*?\\"


@dataclass(frozen=True)
class RunDirectory:
    """The paths of a run, and its configuration. The files need not exist yet.

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
    def origin_path(self) -> Path:
        """Where the weights of an imported network come from, JSON."""
        return self.path / "origin.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The folder of the checkpoint that is best by a metric, and of `best.json`."""
        return self.checkpoints / BEST

    @property
    def best_path(self) -> Path:
        """What the best checkpoint is, JSON: metric, value, iteration and kimg."""
        return self.best / "best.json"

    @property
    def lasting(self) -> Path:
        """The folder of the checkpoints that are never removed."""
        return self.checkpoints / "lasting"

    @property
    def log_path(self) -> Path:
        """The scalars of training, one JSON object per line."""
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
        """Writes `config.json` atomically; makes the folder if it does not exist."""
        with new_file(self.config_path) as file:
            file.write(configuration.to_json(config).encode())

    def read_config(self) -> Config:
        """Returns the run's configuration.

        Raises:
            InputError: if the folder does not exist or is no run, or its configuration is unusable.
        """
        if not os.path.isdir(self.path):  # Path.is_dir raises an error for long names.
            raise InputError(f"run directory {self.path} does not exist")
        if not os.path.isfile(self.config_path):
            raise InputError(
                f"{self.path} is no run directory: it has no {self.config_path.name}; give the "
                "same folder as in tf-sg2 train --run"
            )
        return configuration.load(self.config_path)

    def checkpoint_numbers(self) -> list[int]:
        """Returns the iterations of the last checkpoints, in order; training resumes from them."""
        return checkpoint_numbers_in(self.checkpoints)

    def lasting_numbers(self) -> list[int]:
        """Returns the iterations of the checkpoints that are never removed, in order."""
        return checkpoint_numbers_in(self.lasting)

    def read_best(self) -> dict[str, Any] | None:
        """Returns `best.json`: metric, value, iteration and kimg; None if there is none.

        Raises:
            InputError: if it cannot be read.
        """
        path = self.best_path
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return {**found, "iteration": int(found["iteration"])}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise InputError(
                f"{path} is damaged ({first_line(error)}); name another checkpoint, or remove the "
                f"folder {self.best}"
            ) from error

    def has_checkpoints(self) -> bool:
        """Returns whether there are files of a checkpoint, complete or not."""
        return any(self.checkpoints.glob(f"*{CHECKPOINT_NAME}-*.*"))

    def find_checkpoint(self, checkpoint: str | int | Path | None = None) -> Path:
        """Returns the path of a checkpoint without suffix, the form that TensorFlow needs.

        Args:
            checkpoint: the iteration (12 or "12"), the name ("checkpoint-12"), "best" for the best
                one by the run's metric, or a path with or without ".index"; None for the newest.

        Raises:
            InputError: if it does not exist, or there is no checkpoint.
        """
        if checkpoint is None:
            # TensorFlow's index of the folder is not used: it is written after the checkpoint, may
            # be lost, and may hold an old path after a run was moved.
            numbers = self.checkpoint_numbers()
            if not numbers:
                raise InputError(
                    f"run {self.path} has no checkpoint yet; training writes the first one after "
                    "training.checkpoint_kimg, or when it ends"
                )
            return self.checkpoints / f"{CHECKPOINT_NAME}-{numbers[-1]}"
        wanted = str(checkpoint).removesuffix(".index")
        if wanted == BEST and (entry := self.read_best()):
            return self.best / f"{CHECKPOINT_NAME}-{entry['iteration']}"
        name = f"{CHECKPOINT_NAME}-{wanted}" if wanted.isdigit() else wanted
        for path in (self.checkpoints / name, self.lasting / name, Path(name)):
            if path.with_name(path.name + ".index").is_file():
                return path
        numbers = sorted({*self.checkpoint_numbers(), *self.lasting_numbers()})
        there = ", ".join([*map(str, numbers), *([BEST] if self.best_path.exists() else [])])
        advice = ""
        if wanted == BEST:
            advice = "; training keeps the best one if training.best_metric names a result"
        raise InputError(
            f"run {self.path} has no checkpoint {str(checkpoint)!r}; it has {there or 'none yet'}"
            f"{advice}"
        )


def checkpoint_numbers_in(folder: Path) -> list[int]:
    """Returns the iterations of the checkpoints in a folder, in order; none if it is missing."""
    names = os.listdir(folder) if folder.is_dir() else []
    found = (re.fullmatch(rf"{CHECKPOINT_NAME}-([0-9]+)\.index", name) for name in names)
    return sorted(int(match[1]) for match in found if match)

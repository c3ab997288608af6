"""Rollback: a run that diverged goes on from its last checkpoint with other random numbers.

`rollbacks.json` in the run directory lists the rollbacks. From the iteration of entry n on, the run
draws from random stream n. So a resumed run draws the same numbers as an undisturbed one.
"""

from __future__ import annotations

import json
import time

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.files import new_file
from tf_sg2.runs.directory import RunDirectory

# The run stops after this number of rollbacks to the same checkpoint: it would diverge again.
MOST = 3


def read(directory: RunDirectory) -> list[dict]:
    """Returns the entries of `rollbacks.json`, the oldest first.

    Raises:
        InputError: if the file cannot be read.
    """
    path = directory.path / "rollbacks.json"
    if not path.exists():
        return []
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return [{**entry, "iteration": int(entry["iteration"])} for entry in entries]
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(
            f"{path} is damaged ({error!r}), so the run's random stream is not known; put the file "
            "back from a copy, or remove it to go on with the first random stream"
        ) from error


def stream_at(directory: RunDirectory, iteration: int) -> int:
    """Returns the number of the random stream of an iteration, 0 for a run without rollbacks."""
    entries = read(directory)
    # The newest entry counts, because a rollback may go back further than an older one.
    reached = [n for n, entry in enumerate(entries, 1) if entry["iteration"] <= iteration]
    return max(reached, default=0)


def count_at(directory: RunDirectory, iteration: int) -> int:
    """Returns how many rollbacks there were to the checkpoint of an iteration."""
    return sum(entry["iteration"] == iteration for entry in read(directory))


def note(directory: RunDirectory, iteration: int, reason: str) -> None:
    """Adds a rollback to the checkpoint of `iteration`."""
    entries = read(directory)
    entries.append({"iteration": iteration, "time": time.time(), "reason": reason})
    with new_file(directory.path / "rollbacks.json") as file:
        file.write((json.dumps(entries, indent=2) + "\n").encode())


def stream_seed(seed: int, stream: int) -> int:
    """Returns the seed of a random stream of a run; stream 0 has the run's own seed."""
    if not stream:
        return seed
    return int(np.random.SeedSequence([seed, stream]).generate_state(1)[0] >> 1)

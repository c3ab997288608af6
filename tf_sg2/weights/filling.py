"""Filling networks from named arrays: all or nothing, with every misfit named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.weights.names import Entry

Assignment = tuple[Entry, np.ndarray]


def matched(
    letter: str,
    half: dict[str, str],
    arrays: Mapping[str, np.ndarray],
    entries: Iterable[Entry],
) -> tuple[list[Assignment], list[str]]:
    """Returns the arrays in our layout with their entries, and a sentence for every misfit.

    Args:
        letter: "G" or "D", for the sentences.
        half: official name -> key of `arrays`.
        arrays: key -> array, official layout.
        entries: every weight of the network.
    """
    rest, assignments, problems = dict(half), [], []
    for entry in entries:
        if entry.name not in rest:
            problems.append(f"{letter}/{entry.name} is missing")
            continue
        official = np.asarray(arrays[rest.pop(entry.name)])
        ours = tuple(entry.variable.shape)
        expected = entry.to_official(np.empty(ours, np.bool_)).shape
        if official.shape != expected:
            problems.append(
                f"{letter}/{entry.name} has shape {official.shape}, expected {expected}"
            )
            continue
        assignments.append((entry, entry.from_official(official)))
    problems.extend(f"{letter}/{name} is left over" for name in rest)
    return assignments, problems


def assign(assignments: Sequence[Assignment], problems: Sequence[str]) -> None:
    """Assigns the arrays if there is no problem.

    Raises:
        InputError: if there is a problem, or nothing to assign.
    """
    if problems:
        raise InputError("the weights do not fit the networks: " + "; ".join(problems))
    if not assignments:
        raise InputError(
            "the arrays hold no weights of these networks; names must begin with G/ or D/"
        )
    for entry, value in assignments:
        entry.variable.assign(value.astype(np.float32))

"""Checkpoints that are kept apart from the last ones: the best by a metric, and lasting ones.

`best.json` follows from the lines of a metric. A resumed run forgets the lines after its
checkpoint, and with them what was best since. So an earlier best one stays on disk until the run
can no longer go back behind the one that replaced it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from tf_sg2.errors import InputError, first_line
from tf_sg2.evaluation.results import file_of
from tf_sg2.files import new_file
from tf_sg2.runs.checkpoints import CHECKPOINT_NAME
from tf_sg2.runs.directory import RunDirectory, checkpoint_numbers_in
from tf_sg2.runs.lines import read_lines

# A rollback goes to the last checkpoint, or to the one before it.
_MOST_STEPS_BACK = 2

# Parts of a recipe that may differ between results that are compared.
_OF_ONE_RESULT = ("generated", "versions")


class BestMetric(NamedTuple):
    """What is best: a result, such as fd_ppocr, the metric that gives it, and its direction."""

    result: str
    metric: str
    higher_is_better: bool


def keep_best(
    run: RunDirectory, manager: tf.train.CheckpointManager, iteration: int, best: BestMetric
) -> bool:
    """Keeps the state of `iteration` as the best checkpoint, if it is; returns whether it is.

    Args:
        run: the run directory, with the line of this iteration in `metric-NAME.jsonl`.
        manager: the manager of the run's checkpoints, which holds the state.
        iteration: the iteration of the state.
        best: what is compared. Only lines of the same recipe are.

    Raises:
        InputError: if the checkpoint cannot be written.
    """
    kept = {*checkpoint_numbers_in(run.best), iteration}
    found = _best_line(run, best, iteration, kept)
    if found is None:
        return False
    is_best = found["iteration"] == iteration
    path = run.best / f"{CHECKPOINT_NAME}-{iteration}"
    if is_best and iteration not in checkpoint_numbers_in(run.best):
        try:
            run.best.mkdir(parents=True, exist_ok=True)
            # This makes the counter of saves, which each checkpoint of a run must hold, if the
            # manager has not saved anything yet.
            _ = manager.checkpoint.save_counter
            manager.checkpoint.write(str(path))
        except (tf.errors.OpError, OSError) as error:
            raise InputError(
                f"the best checkpoint cannot be written to {run.best} ({first_line(error)}); make "
                "room, then give the same command again"
            ) from error
    _write_entry(run, found, best)
    _remove_replaced(run, found["iteration"])
    return is_best


def forget_after(run: RunDirectory, iteration: int) -> None:
    """Removes what was kept after an iteration, for a run that goes on from there.

    The lines of the metrics must have been removed before. The best of the others is then named
    by `best.json`.
    """
    last = iteration or -1
    for folder in (run.best, run.lasting):
        for number in checkpoint_numbers_in(folder):
            if number > last:
                _remove(folder, number)
    entry = run.read_best()
    if entry is None or entry["iteration"] <= last:
        return
    best = BestMetric(entry["metric"], entry["measured_by"], entry["higher_is_better"])
    kept = set(checkpoint_numbers_in(run.best))
    found = _best_line(run, best, max(kept, default=-1), kept)
    if found is None:
        run.best_path.unlink()
    else:
        _write_entry(run, found, best)


def keep_for_ever(run: RunDirectory, iteration: int) -> None:
    """Puts a checkpoint into the folder of those that are never removed.

    Its files are linked, so they need no more room until the manager removes the original.

    Raises:
        InputError: if they cannot be written.
    """
    files = sorted(run.checkpoints.glob(f"{CHECKPOINT_NAME}-{iteration}.*"))
    # The index comes last: a checkpoint with an index is complete.
    for path in sorted(files, key=lambda path: path.suffix == ".index"):
        target = run.lasting / path.name
        temporary = target.with_name(f".{path.name}.tmp")
        try:
            run.lasting.mkdir(exist_ok=True)
            temporary.unlink(missing_ok=True)
            try:
                os.link(path, temporary)
            except OSError:  # The file system has no hard links.
                shutil.copyfile(path, temporary)
            os.replace(temporary, target)
            temporary.unlink(missing_ok=True)  # It is left if both were links to one file.
        except OSError as error:
            raise InputError(
                f"{target} cannot be written ({error.strerror or error}); make room, then give "
                "the same command again"
            ) from error


def same_recipe(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Returns whether two results differ only in what was generated and in versions."""

    def compared(recipe: Mapping[str, Any]) -> Any:
        shared = {key: value for key, value in recipe.items() if key not in _OF_ONE_RESULT}
        return json.loads(json.dumps(shared))

    return compared(ours) == compared(theirs)


def _best_line(
    run: RunDirectory, best: BestMetric, reference: int, kept: set[int]
) -> dict[str, Any] | None:
    """Returns the line of the best kept checkpoint among those with the recipe of `reference`."""
    lines = [
        line
        for line in read_lines(file_of(run.metrics, best.metric))
        if line.get("iteration") in kept and _is_number(line.get("results", {}).get(best.result))
    ]
    recipes = [line.get("recipe", {}) for line in lines if line["iteration"] == reference]
    if not recipes:
        return None
    sign = -1 if best.higher_is_better else 1
    compared = [line for line in lines if same_recipe(line.get("recipe", {}), recipes[-1])]
    return min(compared, key=lambda line: (sign * line["results"][best.result], line["iteration"]))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _write_entry(run: RunDirectory, line: Mapping[str, Any], best: BestMetric) -> None:
    entry = {
        "metric": best.result,
        "value": line["results"][best.result],
        "iteration": line["iteration"],
        "kimg": line["kimg"],
        "measured_by": best.metric,
        "higher_is_better": best.higher_is_better,
    }
    with new_file(run.best_path) as file:
        file.write((json.dumps(entry, indent=2) + "\n").encode())


def _remove_replaced(run: RunDirectory, best: int) -> None:
    """Removes earlier best checkpoints that no rollback can bring back."""
    last = run.checkpoint_numbers()[-_MOST_STEPS_BACK:]
    if len(last) < _MOST_STEPS_BACK:
        return
    kept = checkpoint_numbers_in(run.best)
    for number, replaced_by in itertools.pairwise(kept):
        if replaced_by <= min(last[0], best):
            _remove(run.best, number)


def _remove(folder: Path, number: int) -> None:
    # The index goes first: without it, the rest is no checkpoint.
    files = folder.glob(f"{CHECKPOINT_NAME}-{number}.*")
    for path in sorted(files, key=lambda path: path.suffix != ".index"):
        with contextlib.suppress(OSError):
            path.unlink()

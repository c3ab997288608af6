"""Checkpoints that are kept apart: the best by a metric, and those that are never removed."""

from __future__ import annotations

import json
import os

import pytest
import tensorflow as tf

from tf_sg2.errors import InputError
from tf_sg2.runs.checkpoints import CHECKPOINT_NAME
from tf_sg2.runs.directory import RunDirectory, checkpoint_numbers_in
from tf_sg2.runs.lines import append_line, forget_lines
from tf_sg2.training.run import kept
from tf_sg2.training.run.kept import BestMetric

FD = BestMetric("fd_x", "fd", higher_is_better=False)
RECALL = BestMetric("pr_x_recall", "pr", higher_is_better=True)


class TinyRun:
    """A run whose state is one number, the iteration."""

    def __init__(self, path, checkpoints_kept=5):
        self.directory = RunDirectory(path)
        self.value = tf.Variable(0)
        self.manager = tf.train.CheckpointManager(
            tf.train.Checkpoint(value=self.value),
            str(self.directory.checkpoints),
            max_to_keep=checkpoints_kept,
            checkpoint_name=CHECKPOINT_NAME,
        )

    def save(self, iteration):
        self.value.assign(iteration)
        self.manager.save(checkpoint_number=iteration)

    def measure(self, iteration, value, best=FD, recipe=None):
        line = {"results": {best.result: value}, "iteration": iteration, "kimg": iteration / 1000}
        path = self.directory.metrics / f"metric-{best.metric}.jsonl"
        append_line(path, {**line, "recipe": recipe or {"eye": "x", "versions": str(iteration)}})
        self.value.assign(iteration)
        return kept.keep_best(self.directory, self.manager, iteration, best)

    def forget_after(self, iteration):
        for path in self.directory.metrics.glob("*.jsonl"):
            forget_lines(path, iteration)
        kept.forget_after(self.directory, iteration)

    def best(self):
        entry = self.directory.read_best()
        return entry and (entry["iteration"], entry["value"])

    def best_state(self):
        return stored(self.directory.find_checkpoint("best"))

    def kept_best(self):
        return checkpoint_numbers_in(self.directory.best)


def stored(path):
    return int(tf.train.load_checkpoint(str(path)).get_tensor("value/.ATTRIBUTES/VARIABLE_VALUE"))


@pytest.fixture
def run(tmp_path):
    return TinyRun(tmp_path / "run")


def test_the_best_state_is_kept_with_its_value(run):
    found = [run.measure(i, value) for i, value in enumerate([5.0, 3.0, 4.0, 3.0, 2.5, 9.0])]
    assert found == [True, True, False, False, True, False]  # Of equal ones, the first.
    assert run.best() == (4, 2.5)
    assert run.best_state() == 4
    assert json.loads(run.directory.best_path.read_text()) == {
        "metric": "fd_x",
        "value": 2.5,
        "iteration": 4,
        "kimg": 0.004,
        "measured_by": "fd",
        "higher_is_better": False,
    }


def test_a_higher_recall_is_better(run):
    for iteration, value in enumerate([0.2, 0.5, 0.1]):
        run.measure(iteration, value, RECALL)
    assert run.best() == (1, 0.5)


def test_results_of_another_recipe_are_not_compared(run):
    run.measure(1, 1.0, recipe={"eye": "x", "samples": 10})
    run.measure(2, 7.0, recipe={"eye": "x", "samples": 20})
    assert run.best() == (2, 7.0)
    run.measure(3, 5.0, recipe={"eye": "x", "samples": 20, "generated": {"fingerprint": "3"}})
    assert run.best() == (3, 5.0)


def test_a_result_that_is_not_finite_is_never_best(run):
    assert not run.measure(1, float("nan"))
    assert run.best() is None
    run.measure(2, 7.0)
    run.measure(3, float("-inf"))
    assert run.best() == (2, 7.0)


def test_a_run_that_goes_back_has_the_best_of_before(run):
    run.save(2)
    run.measure(2, 5.0)
    run.save(4)
    run.measure(5, 3.0)
    run.measure(6, 2.0)
    run.forget_after(4)  # A rollback to the last checkpoint.
    assert run.best() == (2, 5.0)
    assert run.best_state() == 2
    assert run.kept_best() == [2]
    run.measure(6, 4.0)
    assert run.best() == (6, 4.0)
    run.forget_after(0)  # It begins again.
    assert run.best() is None
    assert run.kept_best() == []


def test_a_best_one_goes_when_no_rollback_can_bring_it_back(run):
    for iteration in range(1, 6):
        run.save(iteration)
        run.measure(iteration, 10.0 - iteration)
    # A rollback goes to 5 or 4, so the best ones of these are kept.
    assert run.kept_best() == [4, 5]
    run.measure(6, 1.0)
    assert run.kept_best() == [4, 5, 6]


def test_a_line_without_its_checkpoint_is_made_up_for(run):
    """As after a kill between the line and the checkpoint, or within its files."""
    run.save(1)
    run.measure(1, 5.0)
    (run.directory.best / "best.json").unlink()
    (run.directory.best / "checkpoint-1.index").unlink()
    run.value.assign(1)
    kept.keep_best(run.directory, run.manager, 1, FD)
    assert run.best() == (1, 5.0)
    assert run.best_state() == 1


def test_the_rotation_leaves_best_and_lasting_checkpoints(tmp_path):
    run = TinyRun(tmp_path, checkpoints_kept=2)
    for iteration in range(1, 9):
        run.save(iteration)
        run.measure(iteration, abs(iteration - 3.0))
        if iteration % 4 == 0:
            kept.keep_for_ever(run.directory, iteration)
            kept.keep_for_ever(run.directory, iteration)  # As a resumed process does.
    assert run.directory.checkpoint_numbers() == [7, 8]
    assert run.directory.lasting_numbers() == [4, 8]
    assert run.best_state() == 3
    assert stored(run.directory.find_checkpoint(4)) == 4
    assert run.directory.find_checkpoint(8).parent == run.directory.checkpoints
    assert not list(run.directory.lasting.glob(".*"))
    with pytest.raises(InputError, match=r"has no checkpoint '5'; it has 4, 7, 8, best$"):
        run.directory.find_checkpoint(5)
    run.forget_after(6)
    assert run.directory.lasting_numbers() == [4]


def test_a_disk_without_hard_links_gets_a_copy(run, monkeypatch):
    def refuse(*_):
        raise OSError("no links")

    monkeypatch.setattr(os, "link", refuse)
    run.save(4)
    kept.keep_for_ever(run.directory, 4)
    for path in run.directory.checkpoints.glob("checkpoint-4.*"):
        path.unlink()
    assert stored(run.directory.find_checkpoint(4)) == 4


def test_folders_that_cannot_be_written_are_named(run):
    run.save(1)
    run.directory.lasting.write_text("a file")
    run.directory.best.write_text("a file")
    with pytest.raises(InputError, match=r"lasting/checkpoint-1\..* cannot be written .*make room"):
        kept.keep_for_ever(run.directory, 1)
    with pytest.raises(InputError, match=r"the best checkpoint cannot be written to .*best \("):
        run.measure(1, 5.0)


def test_no_best_checkpoint_and_a_damaged_entry_are_named(run):
    run.save(1)
    with pytest.raises(InputError) as caught:
        run.directory.find_checkpoint("best")
    assert str(caught.value) == (
        f"run {run.directory.path} has no checkpoint 'best'; it has 1; training keeps the best "
        "one if training.best_metric names a result"
    )
    run.measure(1, 5.0)
    for text in ("", "[]", '{"iteration": "x"}'):
        run.directory.best_path.write_text(text)
        with pytest.raises(InputError, match=r"best.json is damaged \(.*\); name another"):
            run.directory.find_checkpoint("best")
    assert run.directory.find_checkpoint(1).name == "checkpoint-1"

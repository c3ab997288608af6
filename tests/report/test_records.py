"""What a run wrote about itself, also where files are damaged."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from tf_sg2.errors import InputError
from tf_sg2.report.records import read_run, read_runs
from tf_sg2.runs.directory import RunDirectory
from tiny_config import tiny_config


@pytest.fixture
def run(tmp_path):
    directory = RunDirectory(tmp_path / "run")
    directory.write_config(tiny_config())
    directory.metrics.mkdir()
    return directory


def write(path, *lines):
    path.write_text("".join((x if isinstance(x, str) else json.dumps(x)) + "\n" for x in lines))


def test_hours_add_up_ticks_and_leave_out_pauses(run):
    write(
        run.log_path,
        {"kimg": 1.0, "time": 1000.0, "timing/seconds_per_kimg": 3600.0, "loss/generator": 1},
        # Between these two, the process was stopped for a long time.
        {"kimg": 1.5, "time": 900000.0, "timing/seconds_per_kimg": 1800.0, "loss/generator": 2},
        {"kimg": 1.25, "to_rgb_share/0004": 0.5},
    )
    record = read_run(run.path, "run")
    assert record.kimg == 1.5
    assert record.hours == pytest.approx(1.25)
    np.testing.assert_allclose(record.log["loss/generator"].hours, [1.0, 1.25])
    np.testing.assert_allclose(record.log["to_rgb_share/0004"].hours, [1.125])


def test_lines_that_are_not_whole_are_left_out(run):
    write(
        run.log_path,
        {"kimg": 1.0, "a": 1.0},
        '{"kimg": 2.0, "a": 2.',
        "[]",
        {"kimg": "3", "a": 3.0},
        {"kimg": -1, "a": 4.0},
        {"kimg": 5.0, "a": "text", "b": True},
        '{"kimg": 6.0, "a": NaN}',
        '{"kimg": NaN, "a": 1.0}',
    )
    series = read_run(run.path, "run").log["a"]
    np.testing.assert_array_equal(series.kimg, [1.0, 6.0])
    assert series.values[0] == 1.0
    assert math.isnan(series.values[1])


def test_the_later_of_two_results_of_one_checkpoint_counts(run):
    lines = [{"kimg": kimg, "results": {"fd_x": value}} for kimg, value in ((2, 5.0), (1, 9.0))]
    write(run.metrics / "metric-fd.jsonl", *lines, {"kimg": 2, "results": {"fd_x": 4.0}})
    series = read_run(run.path, "run").metrics["fd_x"]
    np.testing.assert_array_equal(series.kimg, [1.0, 2.0])
    np.testing.assert_array_equal(series.values, [9.0, 4.0])


def test_histograms_that_are_not_whole_are_left_out(run):
    whole = {"edges": [0.0, 1.0, 2.0], "training": [1, 2], "heldout": None, "generated": [3, 0]}
    write(
        run.metrics / "scores.jsonl",
        {"kimg": 2.0, **whole, "auc": None, "gap": None},
        {"kimg": 1.0, **whole, "heldout": [4, 5], "auc": 0.75, "gap": 0.5},
        {"kimg": 3.0, **whole, "training": [1]},
        {"kimg": 4.0, **whole, "edges": [0.0, 0.0, 0.0]},
        {"kimg": 5.0, **whole, "edges": 7},
    )
    first, second = read_run(run.path, "run").scores
    assert (first.kimg, first.auc, first.gap) == (1.0, 0.75, 0.5)
    np.testing.assert_array_equal(first.heldout, [4, 5])
    assert (second.kimg, second.heldout, second.auc) == (2.0, None, None)


def test_best_checkpoint_is_read_and_a_damaged_one_is_none(run):
    assert read_run(run.path, "run").best is None
    run.best.mkdir(parents=True)
    entry = {"metric": "fd_x", "value": 3.5, "iteration": 7, "kimg": 1.5}
    run.best_path.write_text(json.dumps(entry))
    best = read_run(run.path, "run").best
    assert (best.metric, best.value, best.kimg) == ("fd_x", 3.5, 1.5)
    run.best_path.write_text("{")
    assert read_run(run.path, "run").best is None


def test_runs_of_one_name_are_called_by_their_paths(tmp_path):
    paths = [tmp_path / side / "cards" for side in ("a", "b")]
    for path in paths:
        RunDirectory(path).write_config(tiny_config())
    assert [record.name for record in read_runs(list(map(str, paths)))] == list(map(str, paths))
    assert [record.name for record in read_runs([str(paths[0])])] == ["cards"]


def test_unusable_lists_of_runs_are_refused(run, tmp_path):
    path = str(run.path)
    for paths, sentence in (
        ([], "--run names no run; give a run directory of tf-sg2 train"),
        ([path, path], f"--run names {path} twice; name each run once"),
        (
            [f"{path}{i}" for i in range(9)],
            "a report compares at most 8 runs, and --run names 9; name fewer",
        ),
        ([str(tmp_path / "no")], f"run directory {tmp_path / 'no'} does not exist"),
    ):
        with pytest.raises(InputError) as error:
            read_runs(paths)
        assert str(error.value) == sentence

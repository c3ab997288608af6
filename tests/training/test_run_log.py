"""The log of a run, and what it removes when the run resumes from a checkpoint."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tf_sg2.runs.directory import RunDirectory
from tf_sg2.training.monitor.run_log import RunLog
from tiny_config import tiny_config


def log_at(run, images_seen):
    return RunLog(run, tiny_config(), images_seen, progress=False)


def lines_of(run):
    return [json.loads(line) for line in run.log_path.read_text().splitlines()]


def steps_of(run, tag="loss"):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.path), size_guidance={"tensors": 0}).Reload()
    return [event.step for event in events.Tensors(tag)]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run").mkdir()
    return RunDirectory(tmp_path / "run")


def test_no_line_is_lost_to_rounding(run):
    seen = [n for n in range(1, 5000) if n / 1000 * 1000 > n]
    assert len(seen) > 10, "products that are rounded up"
    log = log_at(run, 0)
    for number in seen:
        log.tick(number, {"loss": 1.0})
    log.close()
    log_at(run, seen[-1]).close()
    assert [round(line["kimg"] * 1000) for line in lines_of(run)] == seen


def test_tensorboard_and_the_log_forget_what_comes_after_the_checkpoint(run):
    log = log_at(run, 0)
    for number in (8, 16, 24):
        log.tick(number, {"loss": number})
        log.picture("fakes", np.zeros((2, 4, 4, 3), np.uint8), number, 2)
    log.close()
    log = log_at(run, 16)
    log.tick(24, {"loss": 24.5})
    log.tick(32, {"loss": 32})
    log.forget_after(24)  # As a rollback does, in one process.
    log.tick(40, {"loss": 40})
    log.close()
    assert [round(line["kimg"] * 1000) for line in lines_of(run)] == [8, 16, 24, 40]
    assert steps_of(run) == [8, 16, 24, 40]
    assert steps_of(run, "samples/fakes") == [8, 16]


def test_a_run_that_begins_again_forgets_all(run):
    log = log_at(run, 0)
    log.tick(0, {"loss": 0})
    log.tick(8, {"loss": 8})
    log.close()
    log = log_at(run, 0)
    log.tick(0, {"loss": 0})
    log.close()
    assert [line["kimg"] for line in lines_of(run)] == [0]
    assert steps_of(run) == [0]


@pytest.mark.parametrize(
    "rest",
    [
        bytes(10),
        (100).to_bytes(8, "little") + bytes(30),
        (1).to_bytes(8, "little") + bytes(4) + b"\xff" + bytes(4),
    ],
    ids=["cut", "short", "damaged"],
)
def test_an_event_that_was_not_written_whole_goes(run, rest):
    log = log_at(run, 0)
    log.tick(8, {"loss": 8})
    log.close()
    (events,) = run.path.glob("events*")
    whole = events.read_bytes()
    events.write_bytes(whole + rest)
    log_at(run, 8).close()
    assert events.read_bytes() == whole
    assert steps_of(run) == [8]


def test_pictures_below_a_kimg_have_names_of_their_own(run):
    log = log_at(run, 0)
    for seen in (0, 48, 96, 1000, 200_064):
        log.picture("fakes", np.zeros((2, 4, 4, 3), np.uint8), seen, 2)
    log.close()
    assert sorted(path.name for path in run.samples.iterdir()) == [
        "fakes_000000.png",
        "fakes_000000_048.png",
        "fakes_000000_096.png",
        "fakes_000001.png",
        "fakes_000200_064.png",
    ]

"""`tf-sg2 evaluate`: what it judges, what it writes, how it goes on, and what it refuses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from onnx_writer import write
from pictures import save
from tf_sg2.commands.main import main
from tf_sg2.evaluation import results
from tiny_config import IMAGE_SIZE
from tiny_run import make_tiny_run

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def eye(tmp_path_factory):
    """A tiny eye: the mean of each channel, as an ONNX model."""
    path = tmp_path_factory.mktemp("eye") / "means.onnx"
    write(path, "Identity", ["N", 3, *IMAGE_SIZE], 4)
    return str(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a tiny untrained model."""
    return make_tiny_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def evaluate(eye, tmp_path, capsys):
    """Runs the command with the tiny eye; returns its status and both outputs."""

    def call(*arguments):
        status = main(
            ["evaluate", f"--features={eye}", f"--feature_cache={tmp_path / 'cache'}", *arguments]
        )
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


def lines(folder, metric):
    return results.read(folder)[metric]


def test_a_run_is_judged_against_its_own_data(made, evaluate, tmp_path):
    out = tmp_path / "results"
    status, output, _ = evaluate(
        f"--run={made.path}", "--samples=30", "--metrics=fd,kd,pr,dc", f"--out={out}"
    )
    assert status == 0
    assert "fd_means" in output
    (line,) = lines(out, "fd")
    assert line["metric"] == "fd"
    assert line["checkpoint"] == "checkpoint-6"
    assert line["iteration"] == 6
    assert line["kimg"] == 0.048
    assert set(line["results"]) == {"fd_means", "fd_means_floor"}
    assert line["recipe"]["samples"] == 30
    assert line["recipe"]["real"]["count"] == 40
    assert line["recipe"]["eye"]["sha256"]
    assert json.dumps(line)
    assert np.isfinite(list(lines(out, "pr")[0]["results"].values())).all()
    assert set(lines(out, "dc")[0]["results"]) == {"dc_means_density", "dc_means_coverage"}


def test_results_of_a_run_lie_in_it_and_in_tensorboard(evaluate, tmp_path):
    run = make_tiny_run(tmp_path / "run")
    for _ in range(2):
        assert evaluate(f"--run={run.path}", "--samples=20", "--metrics=kd")[0] == 0
    first, second = lines(run.metrics, "kd")
    assert first["results"] == second["results"]
    assert list(run.metrics.glob("events.out.tfevents.*"))
    assert not list(run.path.glob("events.out.tfevents.*"))


def test_images_of_another_size_are_refused(made, evaluate, tmp_path):
    for i in range(3):
        save(tmp_path / "images" / f"{i}.png", np.zeros((16, 16, 3), np.uint8))
    status, _, error = evaluate(f"--run={made.path}", f"--data={tmp_path / 'images'}")
    assert status == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "16x16" in error
    assert "16x20" in error

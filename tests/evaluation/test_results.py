"""Results on disk: one line each, also after a killed process, and torch-fidelity's keys."""

from __future__ import annotations

from tf_sg2.evaluation import results
from tf_sg2.runs.lines import forget_lines


def add(folder, kimg, value):
    return results.write(folder, "fd", {"fd_x": value}, 1.23456, "c-1", 1, kimg, {"seed": 0})


def test_lines_are_added_and_read(tmp_path):
    path = add(tmp_path, 1.0, 0.5)
    assert path == tmp_path / "metrics" / "metric-fd.jsonl"
    assert add(tmp_path, None, 0.25) == path
    first, second = results.read(tmp_path / "metrics")["fd"]
    assert first == {
        "results": {"fd_x": 0.5},
        "metric": "fd",
        "seconds": 1.235,
        "checkpoint": "c-1",
        "iteration": 1,
        "kimg": 1.0,
        "recipe": {"seed": 0},
    }
    assert second["kimg"] is None


def test_a_line_that_a_killed_process_left_swallows_no_other(tmp_path):
    path = add(tmp_path, 1.0, 0.5)
    path.write_bytes(path.read_bytes() + b'{"results": {"fd')
    add(tmp_path, 2.0, 0.25)
    found = results.read(tmp_path / "metrics")["fd"]
    assert [line["kimg"] for line in found] == [1.0, 2.0]


def test_a_resumed_run_forgets_later_lines(tmp_path):
    path = add(tmp_path, 1.0, 0.5)
    before = path.read_bytes()
    add(tmp_path, 2.0, 0.25)
    forget_lines(path, 1000)
    assert path.read_bytes() == before


def test_torch_fidelity_has_its_keys_for_official_names():
    scores = {"pr50k3_full_precision": 0.5, "pr50k3_full_recall": 0.25}
    found = results.torch_fidelity_keys("pr50k3_full", scores)
    assert found == {"precision": 0.5, "recall": 0.25, "f_score": 1 / 3}
    assert (
        results.line_of("pr50k3_full", scores, 1, None, None, None, {})["torch_fidelity"] == found
    )
    found = results.torch_fidelity_keys("kid50k", {"kid50k": 1.0, "kid50k_std": 2.0})
    assert found == {"kernel_inception_distance_mean": 1.0, "kernel_inception_distance_std": 2.0}
    assert not results.torch_fidelity_keys("fd", {"fd_inception": 1.0})


def test_the_table_puts_floors_beside_their_distances():
    text = results.table([{"fd_x": 1.5, "fd_x_floor": 0.25}, {"pr_x_precision": 0.5}])
    assert text.split("\n") == [
        "metric          value  floor",
        "fd_x              1.5   0.25",
        "pr_x_precision    0.5",
    ]

"""A run directory: its paths, its configuration, and the paths it refuses."""

from __future__ import annotations

import pytest

from tf_sg2.errors import InputError
from tf_sg2.runs.directory import RunDirectory
from tiny_config import tiny_config


@pytest.mark.parametrize("name", ["a[1]", "a*", "a?", "a\\b"])
def test_a_path_that_tensorflow_takes_for_a_pattern_is_refused(tmp_path, name):
    character = next(c for c in name if c in "[*?\\")
    with pytest.raises(InputError) as caught:
        RunDirectory(tmp_path / name / "run")
    assert f"contains {character!r}" in str(caught.value)
    assert "rename" in str(caught.value)


def test_an_empty_path_is_refused():
    with pytest.raises(InputError, match=r"is empty.*a shell variable"):
        RunDirectory("")


def test_config_comes_back_equal_and_whole(tmp_path):
    run = RunDirectory(str(tmp_path / "deep" / "run"))
    run.write_config(tiny_config(3))
    run.write_config(tiny_config(2))
    assert run.read_config() == tiny_config(2)
    assert [entry.name for entry in run.path.iterdir()] == ["config.json"]


def test_paths_are_the_contract():
    run = RunDirectory("runs/cards")
    names = {key: str(getattr(run, key)) for key in ("path", "checkpoints", "samples", "metrics")}
    assert names == {
        "path": "runs/cards",
        "checkpoints": "runs/cards/checkpoints",
        "samples": "runs/cards/samples",
        "metrics": "runs/cards/metrics",
    }
    assert run.config_path.name == "config.json"
    assert run.log_path.name == "log.jsonl"

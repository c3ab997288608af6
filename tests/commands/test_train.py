"""`tf-sg2 train`: from flags to a configuration, and exit statuses."""

from __future__ import annotations

import numpy as np
import pytest

from tf_sg2 import InputError, config
from tf_sg2.commands import main as cli
from tf_sg2.commands.flags import CommandFlags
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.training.commands.train import build_config, define_flags
from tf_sg2.training.run.signals import INTERRUPTED_STATUS
from tiny_config import IMAGE_SIZE, tiny_config


def configuration(*arguments):
    flags = CommandFlags()
    define_flags(flags)
    flags.values(["train", *arguments])
    return build_config(flags.values)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """A data set of two classes."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("data") / "labelled"
    folder.mkdir()
    for i in range(4):
        Image.fromarray(np.full((*IMAGE_SIZE, 3), i, np.uint8)).save(folder / f"{i}.png")
    pairs = ", ".join(f'["{i}.png", {i % 2}]' for i in range(4))
    (folder / "dataset.json").write_text(f'{{"labels": [{pairs}]}}')
    return folder


@pytest.fixture
def written(tmp_path):
    (tmp_path / "tiny.json").write_text(config.to_json(tiny_config()))
    return tmp_path / "tiny.json"


def test_labels_are_taken_with_a_configuration_too(written, labelled):
    found = configuration(f"--config={written}", f"--data={labelled}", "--labels")
    assert found.generator.label_dim == found.discriminator.label_dim == 2
    assert configuration(f"--config={written}", f"--data={labelled}").generator.label_dim == 0


def test_labels_are_taken_with_a_preset(labelled):
    found = configuration("--preset=cards", f"--data={labelled}", "--labels")
    assert found.generator.label_dim == found.discriminator.label_dim == 2


def test_labels_are_taken_with_a_run_too(tmp_path, labelled):
    run = RunDirectory(tmp_path / "run")
    run.write_config(tiny_config(data__source=str(labelled)))
    assert configuration(f"--run={run.path}", "--labels").generator.label_dim == 2


@pytest.mark.parametrize("start", ["--preset=cards", "--config={written}"])
def test_labels_of_a_set_without_any_are_refused(written, start):
    with pytest.raises(InputError, match=r"--labels was given, but cards:.* has no labels"):
        configuration(start.format(written=written), "--labels")


@pytest.mark.parametrize("flag", ["--run=", "--config=", "--init_from="])
def test_an_empty_flag_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys, flag):
    monkeypatch.chdir(tmp_path)
    arguments = ["train", "--preset=cards", "--data=cards:count=9,size=16x20"]
    arguments.append("--training.total_kimg=0.001")
    if flag != "--run=":
        arguments.append("--run=run")
    assert cli.main([*arguments, flag]) == 2
    assert f"error: {flag[:-1]} is empty" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_time_limit_has_the_status_of_a_run_that_can_go_on(tmp_path, written, capsys):
    command = ["train", f"--run={tmp_path / 'run'}", f"--config={written}"]
    command.append("--training.total_kimg=0.016")  # Two iterations.
    with pytest.raises(SystemExit) as caught:
        cli.main([*command, "--stop_after_minutes=0"])
    assert caught.value.code == INTERRUPTED_STATUS == 75
    said = capsys.readouterr().err
    assert "--stop_after_minutes=0: stopped after iteration 1; the checkpoint is written" in said
    assert cli.main(command) == 0
    assert "TensorBoard" in capsys.readouterr().out
    assert cli.main([*command, "--stop_after_minutes=0"]) == 0, "nothing is left to do"


@pytest.mark.parametrize("seed", ["4294967296", "-1"])
def test_a_seed_out_of_range_is_one_line(tmp_path, written, capsys, seed):
    command = ["train", f"--run={tmp_path / 'run'}", f"--config={written}"]
    assert cli.main([*command, f"--training.seed={seed}"]) == 2
    assert capsys.readouterr().err.startswith("error: training.seed is ")


def test_a_run_below_a_file_is_one_line(written, capsys):
    assert cli.main(["train", f"--run={written}/x", f"--config={written}"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: run directory {written}/x cannot be made: ")
    assert error.count("\n") == 1

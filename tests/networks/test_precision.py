"""TF32 in every command that computes: off by default, on if the run's configuration says so."""

from __future__ import annotations

import pytest
import tensorflow as tf

from tf_sg2.commands import main as cli
from tf_sg2.config import override
from tf_sg2.networks.precision import use_tf32
from tf_sg2.training.loop import train
from tiny_run import IMAGES_SEEN, make_tiny_run


def is_on() -> bool:
    return tf.config.experimental.tensor_float_32_execution_enabled()


@pytest.fixture(autouse=True)
def put_back():
    assert not is_on(), "tests compute in float32"
    yield
    use_tf32(False)


@pytest.fixture(scope="module", params=[False, True], ids=["off", "on"])
def run(request, tmp_path_factory):
    run = make_tiny_run(tmp_path_factory.mktemp("runs") / "run")
    run.write_config(override(run.read_config(), {"training.tf32": request.param}))
    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "--seeds=0", "--out={out}/one.png"],
        ["mix", "--rows=0", "--columns=1", "--out={out}/table.png"],
        ["interpolate", "--seeds=0,1", "--frames=2", "--out={out}/loop.gif"],
        pytest.param(["export", "--out={out}/model"], marks=pytest.mark.slow),
    ],
    ids=lambda arguments: arguments[0],
)
def test_commands_on_a_run_use_its_tf32(run, tmp_path, arguments):
    wanted = run.read_config().training.tf32
    use_tf32(not wanted)
    arguments = [argument.format(out=tmp_path) for argument in arguments]
    assert cli.main([*arguments, f"--run={run.path}"]) == 0
    assert is_on() == wanted


def test_training_uses_the_tf32_of_its_configuration(run):
    """The run is at its end, so training only opens it."""
    wanted = run.read_config().training.tf32
    use_tf32(not wanted)
    ended = override(run.read_config(), {"training.total_kimg": IMAGES_SEEN / 1000})
    train(ended, run.path, progress=False)
    assert is_on() == wanted


def test_a_server_computes_without_tf32(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr("tf_sg2.serving.server.app.serve", lambda settings: seen.append(is_on()))
    use_tf32(True)
    assert cli.main(["serve", f"--model_dir={tmp_path}"]) == 0
    assert seen == [False]


def test_doctor_reports_tf32(capsys):
    use_tf32(True)
    assert cli.main(["doctor"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("TF32")]
    assert line.split()[1] == "off;"
    assert "training.tf32" in line

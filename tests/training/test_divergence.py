"""Divergence of a run: skipped updates, checkpoints without NaN, rollback."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from tf_sg2.runs.directory import RunDirectory
from tf_sg2.training import loop, step
from tf_sg2.training.loop import train
from tf_sg2.training.monitor.reporter import Reporter
from tf_sg2.training.run import checkpoint, divergence, rollback
from tf_sg2.training.run.divergence import DivergenceError
from tiny_config import tiny_config

SPOILED = {1, 4, 5, 9}  # Iterations.
FAST = {  # Without lazy terms, because their passes take time to compile.
    "training__path_length_weight": 0,
    "training__r1_gamma": 0,
    "training__sample_kimg": 1000,
}

pytestmark = pytest.mark.slow


def lines_of(run):
    return [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]


def ticks_of(run):
    return [line for line in lines_of(run) if "iteration" in line]


@pytest.fixture(autouse=True, scope="module")
def without_samples():
    """No test here looks at the samples, which take time to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reporter, "sample", lambda self: None)
        yield


@pytest.fixture(scope="module")
def skipped(tmp_path_factory):
    """A run of 12 iterations, four of them with skipped updates, and its state at the end."""
    run = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch:
        spoil_gradients(patch, SPOILED)
        state = train(tiny_config(**FAST), run, progress=False)
    return run, state


@pytest.fixture(scope="module")
def trained(skipped):
    """The same run, with checkpoints after iterations 6 and 12."""
    return skipped[0]


@pytest.fixture
def without_passes(monkeypatch):
    """Iterations that compute nothing, for tests of what the loop does with their results."""

    def run(self, number, inputs):
        self.state.iteration.assign_add(1)
        self.state.images_seen.assign_add(self.config.training.batch_size)
        names = ("loss/generator", "loss/discriminator")
        names += ("skipped_in_a_row/generator", "skipped_in_a_row/discriminator")
        return dict.fromkeys(names, tf.constant(0.0))

    monkeypatch.setattr(loop.TrainStep, "run", run)


def copy_of(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


def longer(**overrides):
    return tiny_config(training__total_kimg=0.128, **FAST, **overrides)  # 16 iterations.


def spoil_gradients(monkeypatch, iterations, stream_seed=None):
    """Gives the discriminator a NaN gradient in these iterations, but a finite loss."""
    spoiled = tf.Variable(False, trainable=False)
    real_loss, real_run = step.losses.discriminator_loss_real, loop.TrainStep.run

    @tf.custom_gradient
    def poison(values):
        return values, lambda upstream: tf.where(spoiled, np.nan, upstream)

    def run(self, iteration, inputs):
        ours = stream_seed in (None, self.config.training.seed)
        spoiled.assign(ours and iteration in iterations)
        return real_run(self, iteration, inputs)

    monkeypatch.setattr(
        step.losses, "discriminator_loss_real", lambda scores: poison(real_loss(scores))
    )
    monkeypatch.setattr(loop.TrainStep, "run", run)


def test_skipped_steps_are_counted_in_the_log_and_across_a_resume(skipped, tmp_path, monkeypatch):
    run, whole = skipped
    counts = [tick["skipped_steps/discriminator"] for tick in ticks_of(run)]
    assert counts == [1, 1, 3, 3, 4, 4]
    assert {tick["skipped_steps/generator"] for tick in ticks_of(run)} == {0}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run), size_guidance={"tensors": 0}).Reload()
    shown = [
        float(tf.make_ndarray(event.tensor_proto))
        for event in events.Tensors("skipped_steps/discriminator")
    ]
    assert shown == counts
    # From the checkpoint after iteration 6, between skipped updates.
    resumed = copy_of(run, tmp_path)
    for path in resumed.glob("checkpoints/checkpoint-12*"):
        path.unlink()
    spoil_gradients(monkeypatch, SPOILED)
    again = train(tiny_config(**FAST), resumed, progress=False)
    assert ticks_of(resumed)[-1]["skipped_steps/discriminator"] == 4
    for name, variable in whole.variables().items():
        np.testing.assert_array_equal(variable, again.variables()[name], err_msg=name)


def test_too_many_skipped_steps_in_a_row_end_the_run(trained, tmp_path, monkeypatch):
    assert divergence.MOST_SKIPS_IN_A_ROW == 20
    monkeypatch.setattr(divergence, "MOST_SKIPS_IN_A_ROW", 3)
    spoil_gradients(monkeypatch, {12, 13, 14, 15})
    run = copy_of(trained, tmp_path)
    with pytest.raises(
        DivergenceError,
        match=r"3 updates of the discriminator in a row were skipped, .* until iteration 14 .*kimg"
        r"\); the last good checkpoint is .*checkpoint-12",
    ):
        train(longer(), run, progress=False)
    assert RunDirectory(run).checkpoint_numbers() == [6, 12]


def spoil_weights(monkeypatch, iteration):
    """Makes a weight NaN after an iteration whose scalars are all finite."""
    real = loop.TrainStep.run

    def run(self, number, inputs):
        scalars = real(self, number, inputs)
        if number == iteration:
            weight = self.state.generator_ema.mapping.fc[0].weight
            weight.assign(tf.fill(weight.shape, np.nan))
        return scalars

    monkeypatch.setattr(loop.TrainStep, "run", run)


def test_checkpoint_with_a_nan_is_not_written(trained, tmp_path, without_passes, monkeypatch):
    spoil_weights(monkeypatch, 15)
    run = copy_of(trained, tmp_path)
    before = sorted(path.name for path in (run / "checkpoints").iterdir())
    with pytest.raises(
        DivergenceError,
        match=r"generator_ema/\d+ .* became NaN or infinite before iteration 16 \(0.1 kimg\); "
        "the last good checkpoint is .*checkpoint-12",
    ):
        train(longer(), run, progress=False)
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == before


def poison_loss(monkeypatch, iteration, streams=None):
    """Gives the loss of an iteration a NaN, in some random streams (seeds) or in all."""
    real = loop.TrainStep.run

    def run(self, number, inputs):
        scalars = real(self, number, inputs)
        if number == iteration and (streams is None or self.config.training.seed in streams):
            scalars["loss/generator"] = tf.constant(np.nan)
        return scalars

    monkeypatch.setattr(loop.TrainStep, "run", run)


def test_rollback_takes_the_checkpoint_before_if_the_newest_diverges_at_once(
    trained, tmp_path, monkeypatch, capsys
):
    poison_loss(monkeypatch, 12, streams={longer().training.seed})
    run = copy_of(trained, tmp_path)
    state = train(longer(), run, on_nan="rollback", progress=False)
    said = capsys.readouterr().err
    assert "the run diverged at once from checkpoint" in said
    assert "checkpoint-12; set aside as damaged-checkpoint-12" in said
    assert "rolled back to iteration 6, and on with another random stream (1 of at most 3" in said
    assert int(state.iteration) == 16
    assert RunDirectory(run).checkpoint_numbers() == [6, 12, 16]  # 12 is written again.
    assert (run / "checkpoints" / "damaged-checkpoint-12.index").exists()
    # A process that resumes from the new checkpoint 12 draws from the same stream.
    resumed = shutil.copytree(run, tmp_path / "resumed")
    for path in resumed.glob("checkpoints/checkpoint-16*"):
        path.unlink()
    again = train(longer(), resumed, progress=False)
    for name, variable in state.variables().items():
        np.testing.assert_array_equal(variable, again.variables()[name], err_msg=name)


def test_only_checkpoint_is_kept_though_the_run_diverges_at_once(
    trained, tmp_path, without_passes, monkeypatch
):
    poison_loss(monkeypatch, 6)
    monkeypatch.setattr(loop.rollback, "MOST", 1)
    run = copy_of(trained, tmp_path)
    for path in run.glob("checkpoints/checkpoint-12*"):
        path.unlink()
    with pytest.raises(DivergenceError, match="checkpoint-6; rolled back to it 1 times already"):
        train(longer(), run, on_nan="rollback", progress=False)
    assert RunDirectory(run).checkpoint_numbers() == [6]


def test_newest_rollback_names_the_stream_also_behind_an_older_one(tmp_path):
    run = RunDirectory(tmp_path)
    for iteration in (12, 6, 20):
        rollback.note(run, iteration, "a reason")
    streams = [rollback.stream_at(run, iteration) for iteration in (5, 6, 12, 19, 20)]
    assert streams == [0, 2, 2, 2, 3]


def test_checkpoint_set_aside_is_forgotten_by_the_manager(trained, tmp_path):
    run = RunDirectory(copy_of(trained, tmp_path))
    said = []
    checkpoint.set_newest_aside(run, said.append)
    assert len(said) == 1
    assert "set aside as damaged-checkpoint-12" in said[0]
    assert run.checkpoint_numbers() == [6]
    assert run.find_checkpoint().name == "checkpoint-6"

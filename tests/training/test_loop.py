"""Whole runs, by the function that the command calls."""

import importlib.util
import json
import os
import shutil
import signal
import time

import numpy as np
import PIL
import pytest
import tensorflow as tf
from PIL import Image

import tf_sg2
from processes import checkpoint_values, start
from tf_sg2 import InputError
from tf_sg2.cards import fonts
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.training import loop
from tf_sg2.training.loop import train
from tf_sg2.training.run import checkpoint
from tf_sg2.training.run.divergence import DivergenceError
from tf_sg2.training.state import create_state
from tiny_config import IMAGE_SIZE, tiny_config
from tiny_run import save_state

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An undisturbed run of 12 iterations, in its own process."""
    folder = tmp_path_factory.mktemp("trained")
    run = folder / "run"
    assert start(run, tiny_config(), folder).wait(timeout=300) == 0
    return run


def test_killed_and_resumed_run_equals_an_undisturbed_one_bit_for_bit(trained, tmp_path):
    run = tmp_path / "killed"
    process = start(run, tiny_config(), tmp_path)
    deadline = time.monotonic() + 240
    index = run / "checkpoints" / "checkpoint"  # It lists only complete checkpoints.
    while not index.exists() or "checkpoint-6" not in index.read_text():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    # The resumed process starts from iteration 6, independent of the instant of the kill.
    for left in run.glob("checkpoints/checkpoint-12*"):
        left.unlink()
    index.write_text(
        'model_checkpoint_path: "checkpoint-6"\nall_model_checkpoint_paths: "checkpoint-6"\n'
    )
    assert start(run, tiny_config(), tmp_path).wait(timeout=300) == 0
    whole, resumed = checkpoint_values(trained, 12), checkpoint_values(run, 12)
    assert whole.keys() == resumed.keys()
    assert len(whole) > 150
    different = [
        name
        for name in whole
        # The manager's counter of saves differs, because there were two processes.
        if "save_counter" not in name and not np.array_equal(whole[name], resumed[name])
    ]
    assert not different


def test_run_directory_holds_what_the_design_says(trained):
    run = RunDirectory(trained)
    assert run.read_config() == tiny_config()
    assert run.checkpoint_numbers() == [6, 12]
    lines = [json.loads(line) for line in run.log_path.read_text().splitlines()]
    scalars = set().union(*lines)
    for name in (
        "loss/generator",
        "loss/discriminator",
        "loss/r1",
        "loss/path_length",
        "path_length/mean",
        "scores/real_sign",
        "scores/fake_sign",
        "learning_rate/generator",
        "timing/images_per_second",
        "timing/seconds_per_kimg",
        "timing/data_wait_share",
        "memory/process_peak_gib",
        "to_rgb_share/0004",
        "to_rgb_share/0016",
    ):
        assert name in scalars, name
    shares = [line for line in lines if "to_rgb_share/0004" in line][-1]
    assert sum(v for k, v in shares.items() if k.startswith("to_rgb")) == pytest.approx(1)
    for name in ("reals_000000", "fakes_psi0.7_000000", "fakes_psi1_000000"):
        assert Image.open(run.samples / f"{name}.png").size == (40, 16)


def test_tensorboard_shows_the_same_scalars_the_samples_and_the_configuration(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained), size_guidance={"tensors": 0}).Reload()
    tags = set(events.Tags()["tensors"])
    lines = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    named = {name for line in lines for name in line} - {"kimg", "time"}
    assert named <= tags
    assert {"samples/reals", "samples/fakes_psi0.7", "samples/fakes_psi1", "config"} <= tags
    losses = {e.step: tf.make_ndarray(e.tensor_proto) for e in events.Tensors("loss/generator")}
    written = {
        round(line["kimg"] * 1000): line["loss/generator"] for line in lines if "iteration" in line
    }
    assert losses.keys() == written.keys()
    assert all(losses[step] == pytest.approx(written[step]) for step in losses)


def test_load_run_gives_the_averaged_generator(trained):
    run = tf_sg2.load_run(trained)
    values = checkpoint_values(trained, 12)
    assert run.images_seen == 96
    const = np.asarray(run.generator.synthesis.blocks[0].const)
    names = [name for name in values if "const" in name and values[name].shape == const.shape]
    averaged = [name for name in names if name.startswith("generator_ema/")]
    assert any(np.array_equal(values[name], const) for name in averaged)
    assert not any(
        np.array_equal(values[name], const) for name in names if name.startswith("generator/")
    )


def copy_of(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training__r1_gamma": 7}, r"training.r1_gamma: 1.0 -> 7.0"),
        ({"generator__channel_base": 32}, r"generator.channel_base: 64 -> 32"),
        (
            {"data__source": "cards:count=40,seed=4,size=16x20"},
            r"another data set .* fingerprint: ",
        ),
        ({"data__source": "cards:count=41,seed=3,size=16x20"}, r"images: 40 -> 41"),
        ({"data__holdout": 0.1}, r"data.holdout: 0.0 -> 0.1"),
        (
            {"data__heldout": "cards:count=5,seed=9,size=16x20"},
            r"another data set .* heldout: None -> \{'images': 5, ",
        ),
    ],
)
def test_resume_of_something_else_is_refused_with_the_differences(
    trained, tmp_path, change, message
):
    run = copy_of(trained, tmp_path)
    with pytest.raises(InputError, match=message):
        train(tiny_config(**change), run, progress=False)
    assert RunDirectory(run).read_config() == tiny_config(), "the run is as it was"


def test_resume_with_cards_drawn_by_another_pillow_is_refused_with_the_difference(
    trained, tmp_path, monkeypatch
):
    monkeypatch.setattr(fonts, "drawn_with", lambda: "Pillow 9.5.0")
    with pytest.raises(InputError, match=rf"Pillow {PIL.__version__}, .* -> .*Pillow 9.5.0"):
        train(tiny_config(), copy_of(trained, tmp_path), progress=False)


def test_a_start_that_failed_does_not_bind_the_next_one(tmp_path):
    mistyped = tiny_config(training__total_kimg=0.008, training__r1_gamma=7)
    with pytest.raises(InputError, match="nowhere does not exist"):
        train(mistyped, tmp_path / "run", init_from=tmp_path / "nowhere", progress=False)
    corrected = tiny_config(
        training__total_kimg=0.008, data__source="cards:count=41,seed=3,size=16x20"
    )
    train(corrected, tmp_path / "run", progress=False)
    run = RunDirectory(tmp_path / "run")
    assert run.read_config() == corrected
    assert json.loads((run.path / "data.json").read_text())["images"] == 41
    kimg = [json.loads(line)["kimg"] for line in run.log_path.read_text().splitlines()]
    assert len(kimg) == len(set(kimg)) + 1, "two lines at the end: the tick's, the samples'"


def test_a_run_with_a_fingerprint_of_an_older_version_goes_on(trained, tmp_path, capsys):
    run = copy_of(trained, tmp_path)
    description = json.loads((run / "data.json").read_text())
    old = {**description, "fingerprint": "0123"}
    del old["fingerprint_version"]
    (run / "data.json").write_text(json.dumps(old))
    train(tiny_config(), run, progress=False)
    assert "the content of the data is not compared" in capsys.readouterr().err
    assert json.loads((run / "data.json").read_text()) == description
    (run / "data.json").write_text(json.dumps({**old, "images": 39}))
    with pytest.raises(InputError, match="images: 39 -> 40"):
        train(tiny_config(), run, progress=False)


def test_a_run_of_a_version_without_held_out_images_goes_on(trained, tmp_path):
    run = copy_of(trained, tmp_path)
    stored = json.loads((run / "config.json").read_text())
    for field in ("holdout", "group", "heldout"):
        del stored["data"][field]
    (run / "config.json").write_text(json.dumps(stored))
    description = json.loads((run / "data.json").read_text())
    del description["heldout"]
    (run / "data.json").write_text(json.dumps(description))
    state = train(tiny_config(), run, progress=False)
    assert int(state.iteration.numpy()) == 12


@pytest.mark.parametrize("text", ["", "[]", "[1", '{"images": [' * 10])
def test_a_damaged_description_of_the_data_is_named(trained, tmp_path, text):
    run = copy_of(trained, tmp_path)
    (run / "data.json").write_text(text)
    with pytest.raises(InputError, match=r"data.json is damaged .*; put it back from a copy, or"):
        train(tiny_config(), run, progress=False)


def test_resume_of_a_finished_run_trains_no_more(trained, tmp_path):
    run = copy_of(trained, tmp_path)
    state = train(tiny_config(), run, progress=False)
    assert int(state.iteration.numpy()) == 12


def test_initialisation_from_a_run_of_another_size_copies_the_levels_both_have(
    trained, tmp_path, capsys
):
    settings = tiny_config(
        generator__image_size="32x40",
        discriminator__image_size="32x40",
        data__source="cards:count=40,seed=3,size=32x40",
        training__total_kimg=0.008,
    )
    state = create_state(settings, tf.distribute.get_strategy())
    transfer = checkpoint.initialize_from(state, trained)
    theirs = tf_sg2.load_run(trained)
    assert "G/synthesis.b16.conv1.weight" in transfer.copied
    assert "D/b16.conv0.weight" in transfer.copied
    assert {"G/synthesis.b32.conv1.weight", "D/b32.fromrgb.weight"} <= set(transfer.fresh)
    for i, block in enumerate(theirs.generator.synthesis.blocks):
        ours = state.generator_ema.synthesis.blocks[i]  # `load_run` returns the average.
        np.testing.assert_array_equal(ours.conv1.conv.weight, block.conv1.conv.weight)
    train(settings, tmp_path / "larger", init_from=trained, progress=False)
    assert "weights copied" in capsys.readouterr().err


def test_a_transferred_run_starts_each_network_from_its_own_weights(trained):
    from tf_sg2.weights.names import discriminator_entries, generator_entries

    state = create_state(tiny_config(training__seed=9), tf.distribute.get_strategy())
    transfer = checkpoint.initialize_from(state, trained)
    assert not transfer.fresh
    values = checkpoint_values(trained, 12)
    for name in ("generator", "generator_ema", "discriminator"):
        entries = discriminator_entries if name == "discriminator" else generator_entries
        for entry in entries(getattr(state, name)):
            key = f"{name}/{entry.name.replace('.', '..')}/.ATTRIBUTES/VARIABLE_VALUE"
            np.testing.assert_array_equal(entry.variable, values[key], err_msg=key)


def test_a_transferred_run_has_no_ema_rampup_also_when_resumed(trained, tmp_path, capsys):
    settings = tiny_config(training__total_kimg=0.032)  # Four iterations, with ema_rampup.
    assert settings.training.ema_rampup is not None
    whole = train(settings, tmp_path / "whole", init_from=trained, progress=False)
    assert "without training.ema_rampup" in capsys.readouterr().err
    assert RunDirectory(tmp_path / "whole").read_config().training.ema_rampup is None
    # The same command resumes the run, and so does its configuration without --init_from.
    run = tmp_path / "parts"
    train(settings, run, init_from=trained, stop_after_minutes=0, progress=False)
    train(settings, run, init_from=trained, stop_after_minutes=0, progress=False)
    resumed = train(RunDirectory(run).read_config(), run, progress=False)
    for name, variable in whole.variables().items():
        np.testing.assert_array_equal(variable, resumed.variables()[name], err_msg=name)


def test_loss_that_is_not_finite_stops_with_its_name_step_and_checkpoint(trained, tmp_path):
    run = copy_of(trained, tmp_path)
    before = RunDirectory(run).checkpoint_numbers()
    real = loop.TrainStep.run

    def poisoned(self, iteration, inputs):
        scalars = real(self, iteration, inputs)
        if iteration == 14:
            scalars["loss/generator"] = tf.constant(float("nan"))
        return scalars

    loop.TrainStep.run = poisoned
    try:
        with pytest.raises(
            DivergenceError, match=r"loss/generator became nan in iteration 14 .*checkpoint-12"
        ):
            train(tiny_config(training__total_kimg=0.192), run, progress=False)
    finally:
        loop.TrainStep.run = real
    assert RunDirectory(run).checkpoint_numbers() == before


def poison(monkeypatch, iteration, seed=None):
    """Makes weights NaN in an iteration, for one random stream or for all."""
    real = loop.TrainStep.run

    def poisoned(self, number, inputs):
        scalars = real(self, number, inputs)
        if number == iteration and seed in (None, self.config.training.seed):
            scalars["loss/generator"] = tf.constant(float("nan"))
            self.state.generator.mapping.w_avg.assign_add(
                tf.fill(self.state.generator.mapping.w_avg.shape, float("nan"))
            )
        return scalars

    monkeypatch.setattr(loop.TrainStep, "run", poisoned)


def test_rollback_goes_on_with_another_random_stream_also_after_a_kill(
    trained, tmp_path, monkeypatch, capsys
):
    rolled, resumed = copy_of(trained, tmp_path), tmp_path / "resumed"
    longer = tiny_config(training__total_kimg=0.128)  # 16 iterations, from 12.
    plain = train(longer, copy_of(trained, tmp_path / "plain"), progress=False)
    poison(monkeypatch, iteration=14, seed=longer.training.seed)
    state = train(longer, rolled, on_nan="rollback", progress=False)
    said = capsys.readouterr().err
    assert "loss/generator became nan in iteration 14" in said
    assert "rolled back to iteration 12, and on with another random stream (1 of at most 3" in said
    (entry,) = json.loads((rolled / "rollbacks.json").read_text())
    assert entry["iteration"] == 12
    assert "became nan" in entry["reason"]
    weights = np.asarray(state.generator.mapping.w_avg)
    assert np.isfinite(weights).all()
    assert np.abs(weights - np.asarray(plain.generator.mapping.w_avg)).max() > 0
    # The log has each iteration once.
    seen = [json.loads(line)["kimg"] for line in (rolled / "log.jsonl").read_text().splitlines()]
    assert seen == sorted(seen)
    # A resumed process also draws from the second stream.
    shutil.copytree(rolled, resumed)
    for name in ("checkpoint-16.index", "checkpoint-16.data-00000-of-00001"):
        (resumed / "checkpoints" / name).unlink()
    again = train(longer, resumed, progress=False)
    for name, variable in state.variables().items():
        np.testing.assert_array_equal(variable, again.variables()[name], err_msg=name)


def test_the_number_of_rollbacks_is_limited(trained, tmp_path, monkeypatch):
    poison(monkeypatch, iteration=13)
    monkeypatch.setattr(loop.rollback, "MOST", 1)
    with pytest.raises(DivergenceError, match="checkpoint-12; rolled back to it 1 times already"):
        train(
            tiny_config(training__total_kimg=0.128),
            copy_of(trained, tmp_path),
            on_nan="rollback",
            progress=False,
        )


def test_run_of_version_0_1_resumes_with_its_missing_counters_at_zero(trained, tmp_path):
    run = RunDirectory(copy_of(trained, tmp_path))
    settings = tiny_config()
    state = create_state(settings, tf.distribute.get_strategy())
    checkpoint.restore(checkpoint.checkpoint_manager(state, settings, run), state)
    parts = {
        name: part
        for name, part in state.trackables().items()
        if name not in ("generator_skips", "discriminator_skips")
    }
    for path in run.checkpoints.iterdir():
        path.unlink()
    save_state(run, parts, 12)
    resumed = train(settings, run.path, progress=False).variables()
    for name, variable in state.variables().items():
        np.testing.assert_array_equal(variable, resumed[name], err_msg=name)
    assert list(resumed["discriminator_skips"].numpy()) == [0, 0]
    # Only these counters may be missing.
    del parts["path_length_mean"]
    save_state(run, parts, 13)
    with pytest.raises(
        InputError, match=r"checkpoint-13 cannot be restored \(.*; remove its files"
    ):
        train(settings, run.path, progress=False)


def test_checkpoint_without_counters_sets_them_to_zero(tmp_path):
    """As in a rollback of a process that has skipped updates since."""
    run, settings = RunDirectory(tmp_path), tiny_config()
    state = create_state(settings, tf.distribute.get_strategy())
    parts = state.trackables()
    save_state(run, {name: parts[name] for name in parts if not name.endswith("_skips")}, 1)
    state.generator_skips.assign([5, 2])
    assert checkpoint.restore(checkpoint.checkpoint_manager(state, settings, run), state)
    assert list(state.generator_skips.numpy()) == [0, 0]


def test_a_resume_removes_log_lines_after_the_checkpoint(trained, tmp_path):
    run = copy_of(trained, tmp_path)
    lines = (run / "log.jsonl").read_text()
    (run / "log.jsonl").write_text(lines + '{"kimg": 0.2, "time": 1.0}\n{"kimg": 0.3, "ti')
    train(tiny_config(), run, progress=False)
    assert (run / "log.jsonl").read_text() == lines


def test_images_that_vanish_are_skipped_and_counted_if_asked(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(16):
        values = rng.integers(0, 256, (*IMAGE_SIZE, 3)).astype(np.uint8)
        Image.fromarray(values).save(folder / f"{i:02}.png")
    real = loop.TrainStep.run

    def lose_two(self, iteration, inputs):
        if iteration == 1:
            whole = (folder / "11.png").read_bytes()
            # Replaced in one step, because the reader runs and must not find the file empty.
            (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
            (tmp_path / "half.png").replace(folder / "11.png")
            (folder / "05.png").unlink()
        return real(self, iteration, inputs)

    monkeypatch.setattr(loop.TrainStep, "run", lose_two)
    # Twelve epochs, of which at most four are prefetched.
    settings = tiny_config(data__source=str(folder), training__total_kimg=0.192)
    shutil.copytree(folder, tmp_path / "copy")
    with pytest.raises(InputError, match=r"(05|11).png (cannot be read|is broken)"):
        train(settings, tmp_path / "stopped", progress=False)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "copy", folder)
    train(settings, tmp_path / "skipped", on_bad_image="skip", progress=False)
    said = capsys.readouterr().err
    assert said.count("image 5 is skipped:") == said.count("image 11 is skipped:") == 1
    lines = (tmp_path / "skipped" / "log.jsonl").read_text().splitlines()
    counts = [tick["data/skipped_images"] for tick in map(json.loads, lines) if "iteration" in tick]
    assert counts == sorted(counts)
    assert counts[-1] >= 6


def test_a_bad_image_of_the_sample_grid_is_skipped_if_asked(tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (4, *IMAGE_SIZE, 3)).astype(np.uint8)
    for i, values in enumerate(pixels):
        Image.fromarray(values).save(folder / f"{i}.png")
    whole = (folder / "0.png").read_bytes()
    (folder / "0.png").write_bytes(whole[: len(whole) // 2])  # The header is complete.
    settings = tiny_config(data__source=str(folder), training__total_kimg=0.008)
    with pytest.raises(InputError, match=r"0.png is broken"):
        train(settings, tmp_path / "stopped", progress=False)
    train(settings, tmp_path / "run", on_bad_image="skip", progress=False)
    assert "image 0 is skipped:" in capsys.readouterr().err
    shown = np.asarray(Image.open(tmp_path / "run" / "samples" / "reals_000000.png"))
    np.testing.assert_array_equal(shown, np.concatenate([pixels[1], pixels[2]], axis=1))


def test_infinite_weights_stop_a_real_run(tmp_path):
    settings = tiny_config(generator_optimizer__learning_rate=1e30)
    with pytest.raises(
        DivergenceError, match=r"became (nan|inf).*no checkpoint has been written yet"
    ):
        train(settings, tmp_path / "run", progress=False)


def test_time_limit_checkpoints_and_the_run_goes_on(tmp_path):
    settings = tiny_config(training__total_kimg=0.024)
    run = tmp_path / "run"
    state = train(settings, run, stop_after_minutes=0, progress=False)
    assert int(state.iteration.numpy()) == 1
    assert RunDirectory(run).checkpoint_numbers() == [1]
    assert int(train(settings, run, progress=False).iteration.numpy()) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"training__batch_size": 9, "training__accumulation_steps": 3}, "minibatch-stddev groups"),
        ({"data__source": ""}, "no data set is given"),
        ({"data__source": "cards:size=32x40"}, "32x40"),
        ({"data__source": "/nowhere"}, "there is no data set at '/nowhere'"),
    ],
)
def test_unusable_settings_are_refused_before_anything_is_written(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        train(tiny_config(**change), tmp_path / "run", progress=False)
    assert not os.listdir(tmp_path)


@pytest.mark.skipif(
    importlib.util.find_spec("tensorflow_addons") is None,
    reason="needs tensorflow-addons (make test-addons)",
)
def test_run_with_an_addons_optimiser_resumes_with_its_slots(tmp_path):
    settings = tiny_config(
        generator_optimizer__name="Addons>LAMB",
        discriminator_optimizer__name="Addons>LAMB",
        training__total_kimg=0.016,
    )
    whole = train(settings, tmp_path / "whole", progress=False)
    train(settings, tmp_path / "parts", stop_after_minutes=0, progress=False)
    resumed = train(settings, tmp_path / "parts", progress=False)
    ours, theirs = whole.variables(), resumed.variables()
    assert ours.keys() == theirs.keys()
    assert any("optimizer/" in name and ours[name].shape.rank for name in ours), "there are slots"
    for name, variable in ours.items():
        np.testing.assert_allclose(variable, theirs[name], rtol=1e-3, atol=1e-4, err_msg=name)


def test_a_rollback_while_profiling_records_one_profile(trained, tmp_path, monkeypatch):
    poison(monkeypatch, iteration=14, seed=tiny_config().training.seed)
    monkeypatch.setattr("tf_sg2.training.monitor.profile.AFTER", 1)
    run = copy_of(trained, tmp_path)
    longer = tiny_config(training__total_kimg=0.128)
    train(longer, run, profile_iterations=3, on_nan="rollback", progress=False)
    assert len(list(run.glob("plugins/profile/*/*.xplane.pb"))) == 1


def test_a_run_that_fails_while_profiling_leaves_no_profiler_behind(trained, tmp_path, monkeypatch):
    monkeypatch.setattr("tf_sg2.training.monitor.profile.AFTER", 1)
    longer = tiny_config(training__total_kimg=0.128)
    with monkeypatch.context() as patch:
        poison(patch, iteration=14)
        with pytest.raises(DivergenceError):
            train(longer, copy_of(trained, tmp_path), profile_iterations=9, progress=False)
    tf.profiler.experimental.start(str(tmp_path / "free"))
    tf.profiler.experimental.stop(save=False)


def test_profile_on_demand_is_written(tmp_path):
    run = tmp_path / "run"
    train(tiny_config(), run, profile_iterations=1, progress=False)
    assert list(run.glob("plugins/profile/*/*.xplane.pb"))

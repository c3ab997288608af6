"""Measurements during training: the same after any kill, on any devices, and never in the way."""

from __future__ import annotations

import itertools
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import onnx_writer
import tf_sg2
from processes import checkpoint_values, start_workers, words_of
from tf_sg2 import metrics
from tf_sg2.data.split import split
from tf_sg2.errors import InputError
from tf_sg2.evaluation import results
from tf_sg2.metrics.extraction import generated_images
from tf_sg2.metrics.features import OnnxFeatures
from tf_sg2.runs.directory import RunDirectory, checkpoint_numbers_in
from tf_sg2.training import loop
from tf_sg2.training.loop import train
from tf_sg2.training.monitor import measurements
from tf_sg2.training.monitor.metrics import open_metrics
from tf_sg2.training.run import kept
from tiny_config import IMAGE_SIZE, tiny_config

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Even though the .*run_functions_eagerly:UserWarning"),
    # Keras 2.15 draws an eager seed with a float as its limit.
    pytest.mark.filterwarnings("ignore:non-integer arguments to randrange:DeprecationWarning"),
]

ITERATIONS = 8


@pytest.fixture(autouse=True, scope="module")
def eager():
    """Runs everything without compiling it: most tests run few iterations in many processes."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def eye(tmp_path_factory):
    """An eye that sees the mean colour."""
    path = tmp_path_factory.mktemp("eye") / "tiny.onnx"
    onnx_writer.write(path, "Identity", ("n", 3, *IMAGE_SIZE), 4)
    return path


def settings(eye, **overrides):
    """Few passes to compile, a checkpoint every 4 iterations, measurements every 2."""
    return tiny_config(
        **{
            "training__total_kimg": ITERATIONS * 8 / 1000,
            "training__tick_kimg": 1000,
            "training__sample_kimg": 1000,
            "training__checkpoint_kimg": 4 * 8 / 1000,
            "training__checkpoints_kept": 2,
            "training__checkpoints_every_kimg": 4 * 8 / 1000,
            "training__r1_gamma": 0,
            "training__path_length_weight": 0,
            "training__style_mixing_probability": 0,
            "training__metrics": "fd,pr",
            "training__metrics_kimg": 2 * 8 / 1000,
            "training__metrics_samples": 20,
            "training__metrics_features": str(eye),
            "training__best_metric": "fd_tiny",
            "training__score_samples": 8,
            **overrides,
        }
    )


@pytest.fixture(scope="module")
def whole(eye, tmp_path_factory):
    """A run that nothing disturbed."""
    run = tmp_path_factory.mktemp("runs") / "whole"
    train(settings(eye), run, progress=False)
    return run


def measured(run):
    """Every line of the run's measurements, without the seconds, and what is best."""
    files = {
        path.name: [
            {key: value for key, value in json.loads(line).items() if key != "seconds"}
            for line in path.read_text().splitlines()
        ]
        for path in sorted((run / "metrics").iterdir())
    }
    return {**files, "best": json.loads((run / "checkpoints/best/best.json").read_text())}


def test_every_cadence_has_its_lines(whole):
    found = measured(whole)
    assert list(found) == ["metric-fd.jsonl", "metric-pr.jsonl", "scores.jsonl", "best"]
    for name in list(found)[:3]:
        assert [line["iteration"] for line in found[name]] == [0, 2, 4, 6, 8]
        assert [line["kimg"] for line in found[name]] == [i * 8 / 1000 for i in range(0, 9, 2)]
    assert set(found["metric-fd.jsonl"][0]["results"]) == {"fd_tiny", "fd_tiny_floor"}
    assert set(found["metric-pr.jsonl"][0]["results"]) == {"pr_tiny_precision", "pr_tiny_recall"}
    recipe = found["metric-fd.jsonl"][-1]["recipe"]
    assert recipe["samples"] == 20
    assert recipe["real"]["part"] == "all"
    assert recipe["generated"]["checkpoint"]["name"] == "checkpoint-8"
    for line in found["scores.jsonl"]:
        assert sum(line["training"]) == sum(line["generated"]) == 8
        assert len(line["edges"]) == 65
        assert line["heldout"] is line["auc"] is line["gap"] is None
    logged = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    values = [line["metrics/fd_tiny"] for line in logged if "metrics/fd_tiny" in line]
    assert values == [line["results"]["fd_tiny"] for line in found["metric-fd.jsonl"]]


def test_tensorboard_shows_metrics_and_histograms_of_scores(whole):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(whole), size_guidance={"tensors": 0}).Reload()
    for tag in ("metrics/fd_tiny", "metrics/pr_tiny_recall", "scores/training", "scores/generated"):
        assert [event.step for event in events.Tensors(tag)] == list(range(0, 65, 16)), tag


def test_the_result_is_that_of_the_metric_on_the_checkpoint(whole, eye):
    best = RunDirectory(whole).read_best()
    fd = [line["results"]["fd_tiny"] for line in measured(whole)["metric-fd.jsonl"]]
    assert best["value"] == min(fd)
    assert best["iteration"] == 2 * fd.index(min(fd))
    run = tf_sg2.load_run(whole, "best")
    assert run.images_seen == best["iteration"] * 8
    source = tf_sg2.data.open_source(run.config.data.source)
    real = np.stack([source.image(i) for i in range(len(source))])
    generated = generated_images(run.generator, "").read(0, 20)
    network = OnnxFeatures(eye)
    ours = metrics.frechet_distance(network(real), network(generated))
    # Features are means of rounded pixels, which another batch size may round otherwise.
    assert best["value"] == pytest.approx(ours, rel=1e-3)


def test_the_rotation_leaves_lasting_checkpoints(whole):
    run = RunDirectory(whole)
    assert run.checkpoint_numbers() == [4, 8]
    assert run.lasting_numbers() == [4, 8]
    assert tf_sg2.load_run(whole, 4).images_seen == 32


class Killed(BaseException):
    """Ends a run as a kill does: nothing is written after it."""


def kill_at(monkeypatch, owner, name, call):
    """Makes the given call of a function the end of the run, before it does anything."""
    real, calls = getattr(owner, name), itertools.count(1)

    def killed(*args, **kwargs):
        if next(calls) == call:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, killed)


def test_a_run_killed_at_any_point_ends_with_the_same_files(whole, eye, tmp_path, monkeypatch):
    run = tmp_path / "killed"
    points = [
        (results, "append", 2),  # After fd of iteration 0, before its pr.
        (kept, "keep_for_ever", 1),  # Checkpoint 4 is written, but not linked.
        (measurements, "append_line", 1),  # Before the scores of iteration 4.
        (kept, "_write_entry", 2),  # The best checkpoint 6 is written, but not named.
        (loop.TrainStep, "run", 3),  # Two iterations after a checkpoint.
        (results, "append", 2),  # After fd of iteration 6, before its pr.
    ]
    for owner, name, call in points:
        with monkeypatch.context() as patch:
            kill_at(patch, owner, name, call)
            with pytest.raises(Killed):
                train(settings(eye), run, progress=False)
    with open(run / "metrics" / "metric-fd.jsonl", "a") as file:
        file.write('{"results": {"fd_ti')  # A line that was not written whole.
    train(settings(eye), run, progress=False)
    assert measured(run) == measured(whole)
    ours, theirs = (
        [RunDirectory(path).checkpoint_numbers(), RunDirectory(path).lasting_numbers()]
        for path in (run, whole)
    )
    assert ours == theirs
    for folder in ("", "best/", "lasting/"):
        for number in checkpoint_numbers_in(whole / "checkpoints" / folder):
            assert_equal_checkpoints(run, whole, f"{folder}checkpoint-{number}")


def assert_equal_checkpoints(ours, theirs, name):
    readers = [
        tf.train.load_checkpoint(str(path / "checkpoints" / name)) for path in (ours, theirs)
    ]
    for key in readers[0].get_variable_to_shape_map():
        if "save_counter" not in key and "_CHECKPOINTABLE" not in key:
            values = [reader.get_tensor(key) for reader in readers]
            np.testing.assert_array_equal(*values, err_msg=f"{name} {key}")


def test_a_run_with_measurements_trains_as_one_without(whole, eye, tmp_path):
    plain = settings(eye, training__metrics="", training__best_metric="", training__score_samples=0)
    train(plain, tmp_path / "plain", progress=False)
    assert not list((tmp_path / "plain" / "metrics").glob("*"))
    ours, theirs = (checkpoint_values(run, ITERATIONS) for run in (whole, tmp_path / "plain"))
    for name, value in ours.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_a_run_that_was_stopped_measures_when_it_resumes(whole, eye, tmp_path):
    run = tmp_path / "stopped"
    for _ in range(2):
        train(settings(eye), run, stop_after_minutes=0, progress=False)
    assert [line["iteration"] for line in measured(run)["metric-fd.jsonl"]] == [0, 2]
    train(settings(eye), run, progress=False)
    assert measured(run) == measured(whole)


def test_two_devices_measure_as_one(whole, eye, tmp_path):
    run = tmp_path / "two"
    train(settings(eye), run, devices="cpu:2", progress=False)
    assert_alike(measured(run), measured(whole))


def assert_alike(ours, theirs):
    """The same lines, to the rounding of float32 sums."""
    assert list(ours) == list(theirs)
    for one, other in zip(ours["metric-fd.jsonl"], theirs["metric-fd.jsonl"], strict=True):
        assert one["iteration"] == other["iteration"]
        assert one["results"] == pytest.approx(other["results"], rel=1e-3)
    for one, other in zip(ours["scores.jsonl"], theirs["scores.jsonl"], strict=True):
        np.testing.assert_allclose(one["edges"], other["edges"], atol=1e-4)


@pytest.mark.workers
def test_two_workers_measure_as_one(whole, eye, tmp_path):
    run = tmp_path / "run"
    workers = start_workers(run, settings(eye), tmp_path)
    try:
        assert [worker.wait(240) for worker in workers] == [0, 0], words_of(run, tmp_path)
    finally:
        for worker in workers:
            worker.kill()
    assert_alike(measured(run), measured(whole))


def test_held_out_images_are_compared_with(eye, tmp_path):
    config = settings(eye, data__holdout=0.4, training__total_kimg=0.008)
    train(config, tmp_path, progress=False)
    source = tf_sg2.data.open_source(config.data.source)
    heldout = split(source, 0.4).heldout
    found = measured(tmp_path)
    real = found["metric-fd.jsonl"][-1]["recipe"]["real"]
    assert (real["part"], real["count"]) == ("heldout", len(heldout))
    line = found["scores.jsonl"][-1]
    assert sum(line["heldout"]) == sum(line["training"]) == 8
    assert 0 <= line["auc"] <= 1
    logged = [json.loads(text) for text in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["scores/gap"] for entry in logged if "scores/gap" in entry][-1] == line["gap"]


def test_a_rollback_forgets_lines_and_the_best_after_it(whole, eye, tmp_path, monkeypatch):
    run = tmp_path / "rolled"
    longer = settings(eye, training__total_kimg=12 * 8 / 1000)
    shutil.copytree(whole, run)
    real = loop.TrainStep.run

    def poisoned(self, number, inputs):
        scalars = real(self, number, inputs)
        if number == 10 and self.config.training.seed == longer.training.seed:
            scalars["loss/generator"] = tf.constant(float("nan"))
        return scalars

    monkeypatch.setattr(loop.TrainStep, "run", poisoned)
    # The measurement of iteration 10 is made, and forgotten with its random stream.
    seen = []
    write = results.write
    monkeypatch.setattr(results, "write", lambda *args: seen.append(args[5]) or write(*args))
    train(longer, run, on_nan="rollback", progress=False)
    assert seen == [10, 10, 10, 10, 12, 12]
    found = measured(run)
    for name in ("metric-fd.jsonl", "metric-pr.jsonl", "scores.jsonl"):
        assert [line["iteration"] for line in found[name]] == list(range(0, 13, 2))
    fd = [line["results"]["fd_tiny"] for line in found["metric-fd.jsonl"]]
    assert found["best"]["value"] == min(fd)
    assert found["best"]["iteration"] == 2 * fd.index(min(fd))
    assert tf_sg2.load_run(run, "best").images_seen == found["best"]["iteration"] * 8


def test_an_image_that_cannot_be_read_is_skipped_if_asked(eye, tmp_path, capsys):
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (8, *IMAGE_SIZE, 3)).astype(np.uint8)
    for i, values in enumerate(pixels):
        Image.fromarray(values).save(folder / f"{i}.png")
    whole = (folder / "5.png").read_bytes()
    (folder / "5.png").write_bytes(whole[: len(whole) // 2])  # The header is complete.
    few = settings(eye, data__source=str(folder), training__total_kimg=0.008)
    with pytest.raises(InputError, match=r"5.png is broken"):
        train(few, tmp_path / "stopped", progress=False)
    train(few, tmp_path / "run", on_bad_image="skip", progress=False)
    assert capsys.readouterr().err.count("image 5 is skipped:") == 1
    assert [line["iteration"] for line in measured(tmp_path / "run")["scores.jsonl"]] == [0, 1]


def test_the_default_eye_sees_a_run(tmp_path):
    pytest.importorskip("rapidocr", reason="the wheel of the default eye is not installed")
    config = settings(
        "ppocr",
        training__total_kimg=0.008,
        training__metrics="pr",
        training__metrics_kimg=1,
        training__best_metric="pr_ppocr_recall",
    )
    train(config, tmp_path, progress=False)
    lines = measured(tmp_path)["metric-pr.jsonl"]
    assert [line["iteration"] for line in lines] == [0, 1]
    assert set(lines[0]["results"]) == {"pr_ppocr_precision", "pr_ppocr_recall"}
    assert lines[0]["recipe"]["eye"]["eye"] == "ppocr"
    assert not list(tmp_path.rglob("*.features")), "features of real images are not kept"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"training__metrics": "fid"},
            "there is no metric 'fid'; take some of fid50k_full",
        ),
        (
            {"training__best_metric": "fd"},
            "training.best_metric is 'fd', which training.metrics do not give; take one of "
            "fd_tiny, pr_tiny_precision, pr_tiny_recall",
        ),
        (
            {"training__best_metric": "fd_tiny_floor"},
            "training.best_metric is 'fd_tiny_floor', which training.metrics do not give; ",
        ),
        (
            {"training__metrics": ""},
            "training.best_metric is 'fd_tiny', but training.metrics is empty; name the metric "
            "that gives it there",
        ),
        (
            {"training__metrics": "fid50k_full"},
            "fid50k_full means 50000 samples; leave training.metrics_samples out, or take names "
            "that promise no count, such as fd",
        ),
        (
            {"training__metrics_features": "nowhere.onnx"},
            "there is no ONNX model at nowhere.onnx; give an existing file",
        ),
        (
            {"training__metrics_features": "eyes"},
            "there is no eye 'eyes'; take ppocr, inception, vgg16 or the path of an .onnx file",
        ),
        (
            {"training__metrics_weights": "nowhere.pth"},
            "the weight file nowhere.pth does not exist; ",
        ),
    ],
)
def test_settings_that_cannot_be_used_are_refused_before_anything_is_written(
    eye, tmp_path, change, message
):
    with pytest.raises(InputError) as caught:
        train(settings(eye, **change), tmp_path / "run", progress=False)
    assert str(caught.value).startswith(message)
    assert not list(tmp_path.iterdir())


def test_images_with_an_alpha_channel_are_refused(eye):
    config = settings(eye, generator__image_channels=4, discriminator__image_channels=4)
    with pytest.raises(InputError) as caught:
        open_metrics(config)
    assert str(caught.value) == (
        "training.metrics need images of 1 or 3 channels, and these have 4; leave training.metrics "
        "out"
    )


def test_too_few_images_for_a_metric_end_the_run_before_it_trains(eye, tmp_path):
    with pytest.raises(InputError, match="2 generated images are too few"):
        train(settings(eye, training__metrics_samples=2), tmp_path / "run", progress=False)
    assert not RunDirectory(tmp_path / "run").checkpoint_numbers()

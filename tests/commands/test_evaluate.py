"""`tf-sg2 evaluate` and `tf-sg2 features`: what they judge, write, resume and refuse."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

import rule_weights
from onnx_writer import write
from pictures import save
from tf_sg2 import config, metrics
from tf_sg2.commands.main import main
from tf_sg2.compat import raw_variable
from tf_sg2.data import open_source
from tf_sg2.data.split import open_split
from tf_sg2.evaluation import results
from tf_sg2.evaluation.judged import images_of, labels_of
from tf_sg2.evaluation.real import real_of_run
from tf_sg2.metrics import extraction
from tf_sg2.metrics.extraction import extract, generated_images
from tf_sg2.metrics.features import OnnxFeatures, ppocr
from tf_sg2.metrics.features.weight_files import SOURCES
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.runs.load import load_run
from tiny_config import IMAGE_SIZE
from tiny_exports import export_tiny, serve_exports
from tiny_run import make_tiny_run, save_state, tiny_state

pytestmark = pytest.mark.stack
CARDS = f"cards:count=40,seed=3,size={IMAGE_SIZE[0]}x{IMAGE_SIZE[1]}"


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


@pytest.fixture
def refused(evaluate):
    """Runs the command and returns its only line of error."""

    def call(*arguments):
        status, output, error = evaluate(*arguments)
        assert status == 2, output + error
        assert error.startswith("error: ")
        assert error.count("\n") == 1
        return error.removeprefix("error: ").rstrip("\n")

    return call


def lines(folder, metric):
    return results.read(folder)[metric]


def only(folder, metric):
    (line,) = lines(folder, metric)
    return line


def seen(monkeypatch, most=None):
    """Counts the images that ONNX eyes see; stops after `most` as Ctrl-C would."""
    counts = []
    call = OnnxFeatures.__call__

    def counting(self, images):
        if most is not None and sum(counts) >= most:
            raise KeyboardInterrupt
        counts.append(len(images))
        return call(self, images)

    monkeypatch.setattr(OnnxFeatures, "__call__", counting)
    return counts


def test_a_run_is_judged_against_its_own_data(made, eye, evaluate, tmp_path):
    out = tmp_path / "results"
    status, output, _ = evaluate(
        f"--run={made.path}", "--samples=30", "--metrics=fd,kd,pr,dc", f"--out={out}"
    )
    assert status == 0
    line = only(out, "fd")
    assert line["metric"] == "fd"
    assert (line["checkpoint"], line["iteration"], line["kimg"]) == ("checkpoint-6", 6, 0.048)
    assert line["recipe"]["samples"] == 30
    assert line["recipe"]["real"]["count"] == 40
    assert line["recipe"]["real"]["part"] == "all"
    assert line["recipe"]["eye"]["sha256"]
    assert set(line["results"]) == {"fd_means", "fd_means_floor"}
    assert f"fd_means {line['results']['fd_means']:.5g}" in " ".join(output.split())
    run = load_run(made.path)
    real = extract(OnnxFeatures(eye), images_of(open_source(CARDS)), 40)
    generated = extract(OnnxFeatures(eye), generated_images(run.generator, "g"), 30)
    assert line["results"]["fd_means"] == pytest.approx(metrics.frechet_distance(real, generated))
    spread = metrics.kernel_distance_spread(real, generated)
    kernel = only(out, "kd")["results"]
    assert kernel["kd_means"] == pytest.approx(spread.mean)
    assert kernel["kd_means_std"] == pytest.approx(spread.std)
    assert set(only(out, "dc")["results"]) == {"dc_means_density", "dc_means_coverage"}


@pytest.mark.slow
def test_results_of_a_run_lie_in_it_and_beside_its_events(evaluate, tmp_path):
    run = make_tiny_run(tmp_path / "run")
    for _ in range(2):
        assert evaluate(f"--run={run.path}", "--samples=20", "--metrics=kd")[0] == 0
    first, second = lines(run.metrics, "kd")
    assert first["results"] == second["results"]
    assert not list(run.path.glob("events.out.tfevents.*"))
    (path, _) = sorted(run.metrics.glob("events.out.tfevents.*"))
    events = [e for e in tf.compat.v1.train.summary_iterator(str(path)) if e.summary.value]
    scalars = {event.summary.value[0].tag: event.step for event in events}
    assert scalars == dict.fromkeys([f"metrics/{name}" for name in first["results"]], 48)


def test_a_stopped_evaluation_goes_on_where_it_was(made, evaluate, tmp_path, monkeypatch):
    monkeypatch.setattr(extraction, "CHUNK_ROWS", 16)
    arguments = (f"--run={made.path}", "--samples=48", "--metrics=fd", "--batch_size=8")
    with monkeypatch.context() as patch:
        counts = seen(patch, 40 + 24)
        assert evaluate(*arguments, f"--out={tmp_path / 'a'}")[0] == 130
        assert sum(counts) == 64
    assert not (tmp_path / "a").exists()
    with monkeypatch.context() as patch:
        counts = seen(patch)
        assert evaluate(*arguments, f"--out={tmp_path / 'a'}")[0] == 0
        assert sum(counts) == 48 - 16  # The first chunk of generated images was whole.
    shutil.rmtree(tmp_path / "cache")
    assert evaluate(*arguments, f"--out={tmp_path / 'b'}")[0] == 0
    assert only(tmp_path / "a", "fd")["results"] == only(tmp_path / "b", "fd")["results"]


def test_the_cache_keeps_features_of_real_images_only(made, evaluate, tmp_path, monkeypatch):
    arguments = (f"--run={made.path}", "--samples=20", "--metrics=kd", f"--out={tmp_path / 'out'}")
    counts = seen(monkeypatch)
    assert evaluate(*arguments)[0] == 0
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    (file,) = (tmp_path / "cache").iterdir()
    assert file.stat().st_size == 32 + 40 * 3 * 4
    assert sum(counts) == 60
    assert evaluate(*arguments)[0] == 0
    assert sum(counts) == 60 + 20
    shutil.rmtree(tmp_path / "cache")
    assert evaluate(*arguments, "--feature_cache=none")[0] == 0
    assert not (tmp_path / "cache").exists()


@pytest.mark.slow
def test_repeats_give_the_mean_and_the_spread(made, evaluate, tmp_path):
    values = []
    for seed in range(3):
        out = tmp_path / str(seed)
        arguments = (f"--run={made.path}", "--samples=20", "--metrics=fd", f"--out={out}")
        assert evaluate(*arguments, f"--seed={seed}")[0] == 0
        values.append(only(out, "fd")["results"]["fd_means"])
    assert evaluate(*arguments[:-1], f"--out={tmp_path / 'all'}", "--repeats=3")[0] == 0
    line = only(tmp_path / "all", "fd")
    assert line["results"]["fd_means"] == pytest.approx(np.mean(values))
    assert line["results"]["fd_means_spread"] == pytest.approx(np.std(values, ddof=1))
    assert len(set(values)) == 3
    assert line["recipe"]["repeats"] == 3


def test_held_out_images_are_the_default(evaluate, tmp_path):
    run = make_tiny_run(tmp_path / "run")
    settings = config.override(run.read_config(), {"data.holdout": 0.3})
    run.write_config(settings)
    parts = open_split(settings.data)
    assert len(parts.training) + len(parts.heldout) == 40
    for part, source in (("training", parts.training), ("heldout", parts.heldout)):
        real = real_of_run(settings, part)
        assert real.part == part
        assert real.source.fingerprint() == source.fingerprint()
    assert len(real_of_run(settings, "all").source) == 40
    out = tmp_path / "out"
    arguments = (f"--run={run.path}", "--samples=20", "--metrics=kd", f"--out={out}")
    assert evaluate(*arguments)[0] == 0
    real = only(out, "kd")["recipe"]["real"]
    assert (real["part"], real["count"]) == ("heldout", len(parts.heldout))


def test_convention_changes_the_divisor(made, evaluate, tmp_path):
    values = []
    for flags in ((), ("--convention=tensorflow1",)):
        out = tmp_path / str(len(values))
        arguments = (f"--run={made.path}", "--samples=30", "--metrics=fd", f"--out={out}")
        assert evaluate(*arguments, *flags)[0] == 0
        values.append(only(out, "fd"))
    assert values[1]["recipe"]["convention"] == "tensorflow1"
    assert values[0]["results"]["fd_means"] != values[1]["results"]["fd_means"]


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_a_folder_and_a_zip_of_real_images_are_at_distance_zero(suffix, evaluate, tmp_path):
    path = tmp_path / f"images{suffix}"
    assert main(["dataset", f"--source={CARDS}", f"--dest={path}"]) == 0
    out = tmp_path / "out"
    assert (
        evaluate(f"--images={path}", f"--data={CARDS}", "--metrics=fd,pr", f"--out={out}")[0] == 0
    )
    line = only(out, "fd")
    assert line["results"]["fd_means"] == pytest.approx(0, abs=1e-9)
    assert line["recipe"]["samples"] == 40
    assert line["checkpoint"] is None
    assert set(only(out, "pr")["results"].values()) == {1.0}


def labelled(path):
    """Writes 20 images of noise in three classes."""
    for i in range(20):
        pixels = np.random.default_rng(i).integers(0, 255, [*IMAGE_SIZE, 3], np.uint8)
        save(path / f"{i:02}.png", pixels)
    labels = [[f"{i:02}.png", i % 3] for i in range(20)]
    (path / "dataset.json").write_text(json.dumps({"labels": labels}))
    return path


@pytest.mark.slow
def test_an_export_and_its_server_are_judged(evaluate, refused, tmp_path):
    folder = export_tiny(tmp_path, "classes", label_dim=3)
    data = f"--data={labelled(tmp_path / 'labelled')}"
    values = {}
    with serve_exports(folder) as server:
        for kind, flag in {
            "model": f"--model={folder}",
            "version": f"--model={folder / '1'}",
            "rest": f"--server={server.rest}",
            "grpc": f"--server={server.grpc}",
        }.items():
            out = tmp_path / kind
            flags = [flag, "--served_model=classes"] if kind in ("rest", "grpc") else [flag]
            rest = [data, "--samples=24", "--metrics=kd", f"--out={out}"]
            status, _, error = evaluate(*flags, *rest)
            assert status == 0, error
            line = only(out, "kd")
            assert line["checkpoint"] == "1"
            assert line["recipe"]["generated"]["noise"] == "const"
            assert " labels " in line["recipe"]["generated"]["fingerprint"]
            assert (line["kimg"] == 0.048) == (kind in ("model", "version"))
            values[kind] = line["results"]["kd_means"]
        address = server.rest
    assert values["model"] == values["version"]
    assert values["rest"] == values["grpc"]
    # The server's latents are others, so its value is near, not equal.
    assert values["rest"] == pytest.approx(values["model"], rel=0.5)
    assert address in refused(f"--server={address}", "--served_model=classes", data)


def test_a_conditional_run_draws_labels_of_the_data(evaluate, refused, tmp_path):
    run = make_tiny_run(tmp_path / "run", label_dim=3)
    error = refused(f"--run={run.path}", "--samples=20")
    assert error == (
        f"{run.path} needs labels of width 3, and {CARDS} has labels of width 0; give the data "
        "set that it was trained on"
    )
    data = labelled(tmp_path / "labelled")
    out = tmp_path / "out"
    arguments = (f"--run={run.path}", f"--data={data}", "--samples=20", "--metrics=kd")
    assert evaluate(*arguments, f"--out={out}")[0] == 0
    assert " labels " in only(out, "kd")["recipe"]["generated"]["fingerprint"]
    assert labels_of(open_source(str(data))).sum(axis=0).tolist() == [7, 7, 6]


@pytest.mark.slow
def test_several_devices_give_the_images_of_one(made):
    generator = load_run(made.path).generator
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    assert len(devices) == 2
    one = generated_images(generator, "g", seed=5)
    two = generated_images(generator, "g", seed=5, devices=devices)
    for first, count in ((0, 7), (7, 1), (8, 4)):
        ours = two.read(first, count).astype(int)
        assert np.abs(ours - one.read(first, count)).max() <= 1
    assert one.fingerprint == two.fingerprint


@pytest.mark.slow
def test_devices_are_named_by_the_flag(made, evaluate, refused, tmp_path):
    arguments = (f"--run={made.path}", "--samples=20", "--metrics=kd")
    assert evaluate(*arguments, "--devices=cpu:2", f"--out={tmp_path / 'two'}")[0] == 0
    assert evaluate(*arguments, f"--out={tmp_path / 'one'}")[0] == 0
    one, two = (only(tmp_path / name, "kd")["results"]["kd_means"] for name in ("one", "two"))
    assert one == pytest.approx(two, rel=1e-2)
    error = refused(*arguments, "--devices=9")
    assert error == (
        "--devices=9, but TensorFlow sees 0 GPU(s); take fewer, or cpu:N to split the CPU"
    )


@pytest.fixture(scope="module")
def vgg16(tmp_path_factory):
    """Weights made by a rule, as a conversion of the published file."""
    path = tmp_path_factory.mktemp("weights") / "vgg16-397923af.npz"
    np.savez(path, **rule_weights.trunk("vgg16."))
    return path


@pytest.mark.slow
def test_path_lengths_of_a_run(made, vgg16, evaluate, refused, tmp_path):
    out = tmp_path / "out"
    arguments = (f"--run={made.path}", "--metrics=ppl", f"--feature_weights={vgg16.parent}")
    assert evaluate(*arguments, "--pairs=6", f"--out={out}")[0] == 0
    line = only(out, "ppl")
    run = load_run(made.path)
    distance = metrics.features.LPIPS("vgg16", rule_weights.trunk("vgg16.")).of_pixels
    expected = metrics.perceptual_path_length(run.generator, distance, pairs=6)
    assert line["results"]["ppl_lpips"] == pytest.approx(expected, rel=1e-4)
    assert line["recipe"]["eye"]["path"] == "ppl2_wend"
    assert line["recipe"]["pairs"] == 6
    assert not list((tmp_path / "cache").iterdir())
    images = f"--images={tmp_path}"
    save(tmp_path / "a.png", np.zeros((*IMAGE_SIZE, 3), np.uint8))
    arguments = (images, f"--data={CARDS}", "--metrics=ppl2_wend", f"--feature_weights={vgg16}")
    assert refused(*arguments) == (
        f"ppl2_wend needs the weights of a generator; give a run instead of {tmp_path}"
    )
    arguments = (f"--run={made.path}", "--metrics=ppl2_wend", f"--feature_weights={vgg16}")
    assert refused(*arguments, "--pairs=6") == "ppl2_wend means 50000 pairs, not 6; ask for ppl"


@pytest.mark.slow
def test_the_default_eye_needs_no_weights(made, tmp_path, capsys):
    pytest.importorskip("rapidocr")
    out = tmp_path / "out"
    arguments = [f"--run={made.path}", "--samples=20", "--allow_few_samples", f"--out={out}"]
    assert main(["evaluate", *arguments, "--feature_cache=none"]) == 0
    output = capsys.readouterr().out
    for name in ("fd_ppocr", "kd_ppocr", "pr_ppocr_precision", "pr_ppocr_recall"):
        assert name in output
    assert "few samples were allowed" in output
    assert set(results.read(out)) == {"fd", "kd", "pr"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give one of --run, --model, --images, --server: what is judged"),
        (
            ["--run=a", "--images=b"],
            "give one of --run, --model, --images, --server, not --run and --images: what is "
            "judged",
        ),
        (
            ["--images=a", "--checkpoint=3"],
            "--checkpoint chooses a checkpoint of a run; give --run with it",
        ),
        (
            ["--run=a", "--data=b", "--real=all"],
            "--real chooses a part of the run's data; give --run, and leave out --data",
        ),
        (["--run=a", "--token_file=b"], "--token_file is about a server; give --server with it"),
        (["--run=missing"], "run directory missing does not exist"),
        (
            ["--model=missing", "--data=b"],
            "missing holds no exported model; give the folder that "
            "tf-sg2 export wrote, or one of its versions",
        ),
    ],
)
def test_flags_that_do_not_fit_are_refused(arguments, sentence, refused):
    assert refused(*arguments) == sentence


def test_names_and_eyes_that_do_not_fit_are_refused(made, eye, refused, tmp_path):
    run = f"--run={made.path}"
    assert refused(run, "--metrics=fid").startswith("there is no metric 'fid'; take some of fid50k")
    assert refused(run, "--metrics=").startswith(
        "no metric was asked for; name some of fid50k_full"
    )
    assert refused(run, "--features=clip") == (
        "there is no eye 'clip'; take ppocr, inception, vgg16 or the path of an .onnx file"
    )
    shutil.copy(eye, tmp_path / "inception.onnx")
    assert refused(run, f"--features={tmp_path / 'inception.onnx'}") == (
        f"the results of {tmp_path / 'inception.onnx'} would be called by 'inception', which is "
        'another eye; give a name, as in --feature_options={"name": "mine"}'
    )
    assert refused(run, "--features=clip.onnx") == (
        "there is no ONNX model at clip.onnx; give an existing file"
    )
    assert refused(run, "--feature_options=[]").startswith("--feature_options=[] is not a JSON obj")
    assert refused(run, '--feature_options={"size": 3}') == (
        "--feature_options: size must be a list of 2 numbers"
    )
    assert refused(run, "--metrics=pr50k3_full") == (
        f"the weights of 'vgg16' are needed: {SOURCES['vgg16'].command}, then give "
        "--feature_weights=vgg16=vgg16-397923af.pth"
    )
    assert refused(run, "--metrics=fid50k_full", "--feature_weights=gone.pth") == (
        "the weight file gone.pth does not exist; tf-sg2 features names them"
    )
    wrong = tmp_path / "pt_inception-2015-12-05-6726825d.pth"
    wrong.write_bytes(b"another file")
    error = refused(run, "--metrics=fid50k_full", f"--feature_weights={wrong}")
    assert error.startswith(f"{wrong} has SHA-256 ")
    source = SOURCES["inception"]
    assert error.endswith(
        f"not {source.sha256}: fetch it again; the file for 'inception' is {source.url}"
    )


def test_images_that_do_not_fit_are_refused(made, refused, tmp_path):
    run = f"--run={made.path}"
    (tmp_path / "empty").mkdir()
    error = refused(run, f"--data={tmp_path / 'empty'}")
    assert error.startswith(f"{tmp_path / 'empty'} holds no images (")
    save(tmp_path / "square" / "0.png", np.zeros((16, 16, 3), np.uint8))
    assert refused(run, f"--data={tmp_path / 'square'}") == (
        f"{tmp_path / 'square' / '0.png'} is 16x16 pixels (height x width), not 16x20; convert "
        "the data set with tf-sg2 dataset first (--size 16x20)"
    )
    for i, alpha in enumerate((0, 255)):
        pixels = np.full((*IMAGE_SIZE, 4), alpha, np.uint8)
        save(tmp_path / "rgba" / f"{i}.png", pixels)
    rgba = tmp_path / "rgba"
    assert refused(f"--images={rgba}", f"--data={rgba}", "--metrics=kd").endswith(
        "of shape [2, 16, 20, 4]; metrics take uint8 [N, H, W, 1 or 3]"
    )
    assert refused(f"--images={rgba}") == (
        f"--data is needed: the real images that {rgba} is compared with"
    )
    assert refused(run, "--real=heldout") == (
        "the run holds out no images (data.holdout); give --real=training or --data"
    )


def test_too_few_samples_are_refused_and_said(made, evaluate, refused, tmp_path):
    arguments = (f"--run={made.path}", "--samples=2", "--metrics=fd", f"--out={tmp_path / 'out'}")
    assert refused(*arguments) == (
        "2 generated images are too few: a covariance needs at least 3; give more images, or set "
        "allow_few_samples"
    )
    status, output, _ = evaluate(*arguments, "--allow_few_samples")
    assert status == 0
    assert "few samples were allowed, so Frechet distances may be too high" in output
    assert only(tmp_path / "out", "fd")["recipe"]["allow_few_samples"] is True


@pytest.mark.slow
def test_a_diverged_generator_and_a_damaged_cache_are_refused(evaluate, refused, tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.write_config(make_tiny_run(tmp_path / "good").read_config())
    state = tiny_state(run.read_config())
    for weight in state["generator_ema"].weights:
        variable = raw_variable(weight)
        variable.assign(np.full(variable.shape, np.nan, np.float32))
    save_state(run, state)
    arguments = ("--samples=20", "--metrics=kd", f"--out={tmp_path / 'out'}")
    assert refused(f"--run={run.path}", *arguments) == (
        "generated image 0 holds values that are not finite; the generator has diverged, take an "
        "earlier checkpoint"
    )
    assert evaluate(f"--run={tmp_path / 'good'}", *arguments)[0] == 0
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert refused(f"--run={tmp_path / 'good'}", *arguments) == (
        f"the cached features {file} are damaged; delete the file"
    )


def test_features_names_every_file_and_its_command(capsys):
    assert main(["features"]) == 0
    output = re.sub(r"SHA-256\s+", "SHA-256 ", capsys.readouterr().out)
    for name, source in SOURCES.items():
        assert f"{name}: " in output
        assert f"{source.file}, {source.megabytes} MiB, SHA-256 {source.sha256}\n" in output
        assert f"command: {source.command}\n" in output
    assert ppocr.SHA256 in output


def test_features_checks_a_file(vgg16, tmp_path, capsys):
    assert main(["features", f"--check={vgg16}"]) == 0
    assert f"{vgg16} can be used as vgg16: SHA-256 " in capsys.readouterr().out
    assert main(["features", f"--check={vgg16}", "--network=alexnet"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    wrong = tmp_path / "vgg16-397923af.pth"
    wrong.write_bytes(b"")
    assert main(["features", f"--check={wrong}"]) == 2
    assert f"not {SOURCES['vgg16'].sha256}: fetch it again" in capsys.readouterr().err
    assert main(["features", "--check=some.npz"]) == 2
    assert capsys.readouterr().err == (
        "error: the name of some.npz does not say what it is for; give --network, one of "
        "inception, vgg16, alexnet\n"
    )

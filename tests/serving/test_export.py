"""Export: complete versions, only stock operations, and the results of the C++ runtime."""

from __future__ import annotations

import hashlib
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from stock_model import StockError, StockModel
from tf_sg2.commands import main as cli
from tf_sg2.compat import raw_variable
from tf_sg2.errors import InputError
from tf_sg2.images import to_uint8
from tf_sg2.runs.load import load_run
from tf_sg2.serving.export import saved_model as exporter
from tf_sg2.serving.export.model_card import JSON_PATH, MARKDOWN_PATH
from tf_sg2.serving.export.stock_graph import check_stock, stock_operations
from tf_sg2.serving.export.warmup import WARMUP_PATH, example_inputs, read_warmup
from tiny_run import IMAGES_SEEN, make_tiny_run

pytestmark = [pytest.mark.slow, pytest.mark.stack]

LABELS = 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = make_tiny_run(tmp_path_factory.mktemp("runs") / "tiny", label_dim=LABELS)
    directory.metrics.mkdir()
    (directory.metrics / "fid50k.json").write_text('{"fid50k": 12.5}')
    (directory.metrics / "history.jsonl").write_text('{"kid": 2}\n{"kid": 1}\n')
    (directory.metrics / "torn.json").write_text('{"fid')
    return load_run(directory.path)


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """Returns version 1, written by the command."""
    out = tmp_path_factory.mktemp("models") / "tiny"
    arguments = [f"--run={run.directory.path}", f"--out={out}", "--license=CC0-1.0 | public"]
    assert cli.main(["export", *arguments]) == 0
    return out / "1"


@pytest.fixture(scope="module")
def half(run, tmp_path_factory):
    """Returns version 7, in bfloat16."""
    return exporter.export(run, tmp_path_factory.mktemp("models") / "half", 7, bfloat16=True)


@pytest.fixture
def quick(monkeypatch):
    """Skips the trial run, for tests that do not need it."""
    monkeypatch.setattr(exporter, "try_out", lambda folder, served: None)


def inputs_for(run, signature, rows):
    return example_inputs(run.config.generator, signature, rows)


def pixels(pngs):
    return np.stack([tf.io.decode_png(png).numpy() for png in pngs]).astype(int)


SIGNATURES = ("serving_default", "generate", "map", "synthesize", "synthesize_png", "style_mix")


def test_the_cpp_runtime_answers_as_the_keras_model(run, folder):
    stock = StockModel(folder)
    assert set(stock.signatures) == set(SIGNATURES)
    inputs = {name: inputs_for(run, name, 3) for name in SIGNATURES}
    answers = dict(zip(SIGNATURES, stock.run(list(inputs.items())), strict=True))

    def shown(w):
        return to_uint8(run.generator.synthesis(w, noise_mode="const")).numpy().astype(int)

    def mapped(z, labels, psi=1.0):
        return run.generator.mapping(z, labels, truncation_psi=psi).numpy()

    z, labels, psi = inputs["map"]["z"], inputs["map"]["labels"], inputs["map"]["truncation_psi"]
    truncated = mapped(z, labels, psi)  # The latents of the seeds 0, 1, 2.
    np.testing.assert_allclose(answers["map"]["w"], truncated, rtol=1e-4, atol=1e-5)
    other = mapped(inputs_for(run, "map", 6)["z"][3:], labels, psi)
    cut = inputs["style_mix"]["cutoff"][0]
    mixed = np.concatenate([truncated[:, :cut], other[:, cut:]], axis=1)
    for name, expected in (
        ("serving_default", shown(mapped(z, labels))),
        ("generate", shown(truncated)),
        ("synthesize", shown(inputs["synthesize"]["w"])),
        ("synthesize_png", shown(inputs["synthesize_png"]["w"])),
        ("style_mix", shown(mixed)),
    ):
        (found,) = answers[name].values()
        found = pixels(found) if found.dtype == object else found.astype(int)
        assert np.abs(found - expected).max() <= 1, name  # Of 255.


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
        {"TF_NUM_INTRAOP_THREADS": "5", "TF_NUM_INTEROP_THREADS": "3"},
        {"TF_ENABLE_ONEDNN_OPTS": "0"},
    ],
    ids=lambda environment: " ".join(environment) or "default",
)
def test_a_seed_gives_the_same_bytes_in_any_batch(run, folder, environment):
    inputs = inputs_for(run, "generate", 16)
    parts = [slice(i, i + 1) for i in range(4)] + [slice(0, n) for n in (2, 3, 7, 16)]
    parts += [slice(None, None, -1)]
    calls = [("generate", {k: v[part] for k, v in inputs.items()}) for part in parts]
    answers = [answer["image_bytes"] for answer in StockModel(folder).run(calls, environment)]
    whole = answers[-2]
    assert len(set(whole)) == 16
    for part, found in zip(parts, answers, strict=True):
        assert list(found) == list(whole[part])


def test_the_cpp_runtime_refuses_in_sentences(run, folder):
    """The runtime checks types, but no declared shape."""
    z = inputs_for(run, "serving_default", 2)
    generate = inputs_for(run, "generate", 3)
    cases = [
        ("synthesize", {"w": np.zeros([2, 7, 8], np.float32)}, "w must be [N, 6, 8], but is] [2 7"),
        ("synthesize", {"w": np.zeros([8], np.float32)}, "w must be [N, 6, 8], but is] [8]"),
        ("synthesize", {"w": np.zeros([], np.float32)}, "w must be [N, 6, 8], but is] []"),
        ("serving_default", {**z, "z": np.zeros([2, 9], np.float32)}, "z must be [N, 8], but is"),
        ("serving_default", {**z, "z": z["z"] * np.nan}, "z holds NaN or infinity"),
        (
            "serving_default",
            {**z, "labels": z["labels"][:1]},
            "z and labels must have as many rows, but have] [2] [1]",
        ),
        (
            "generate",
            {**generate, "truncation_psi": generate["truncation_psi"][:1]},
            "seed and truncation_psi must have as many rows, but have] [3] [1]",
        ),
        (
            "serving_default",
            {**z, "z": z["z"].astype(np.float64)},
            "to be float but double is provided",
        ),
        ("serving_default", {"z": z["z"]}, "labels"),  # A feed that is left out.
    ]
    answers = StockModel(folder).run([case[:2] for case in cases])
    for (name, _, sentence), answer in zip(cases, answers, strict=True):
        assert isinstance(answer, StockError), name
        assert answer.code == 3
        assert sentence in str(answer)


def test_bfloat16_stays_inside(run, half):
    assert half.name == "7"
    stock = StockModel(half)
    types = {
        info.dtype
        for signature in stock.signatures.values()
        for info in [*signature.inputs.values(), *signature.outputs.values()]
    }
    assert tf.bfloat16.as_datatype_enum not in types
    stored = tf.train.load_checkpoint(str(half / "variables" / "variables"))
    dtypes = dict(stored.get_variable_to_dtype_map().items())
    synthesis = exporter.in_bfloat16(run.generator)
    affine = {
        id(weight)
        for block in synthesis.blocks
        for layer in [*block.convolutions, block.to_rgb]
        for weight in layer.affine.weights
    }
    assert len(affine) == 2 * (5 + 3)  # Weight and bias of five convolutions and three ToRGB.
    for i, weight in enumerate(synthesis.weights):
        wanted = tf.float32 if id(weight) in affine else tf.bfloat16
        assert dtypes[f"synthesis/{i}/.ATTRIBUTES/VARIABLE_VALUE"] == wanted
    assert {dtype for key, dtype in dtypes.items() if key.startswith("mapping/")} == {tf.float32}
    inputs = inputs_for(run, "synthesize", 5)
    together, alone = stock.run([("synthesize", inputs), ("synthesize", {"w": inputs["w"][:1]})])
    np.testing.assert_array_equal(together["images"][:1], alone["images"])
    wanted = to_uint8(run.generator.synthesis(inputs["w"], noise_mode="const")).numpy()
    difference = together["images"].astype(int) - wanted
    assert 0 < np.abs(difference).mean() < 4
    card = json.loads((half / JSON_PATH).read_text())
    assert card["precision"] == "bfloat16"
    assert 0 < card["difference_from_float32"]["rms_levels"] < 5
    assert "of 255 levels" in (half / MARKDOWN_PATH).read_text()


def test_warmup_has_a_record_for_each_signature(folder):
    requests = read_warmup(folder)
    assert [request.model_spec.signature_name for request in requests] == list(SIGNATURES)
    assert {request.model_spec.name for request in requests} == {"tiny"}
    assert folder / WARMUP_PATH == folder / "assets.extra" / "tf_serving_warmup_requests"
    signatures = StockModel(folder).signatures
    for request in requests:
        declared = signatures[request.model_spec.signature_name].inputs
        assert set(request.inputs) == set(declared)
        for name, tensor in request.inputs.items():
            assert tensor.dtype == declared[name].dtype


def test_warm_up_inputs_are_always_the_same(run):
    for signature in SIGNATURES:
        one, two = (example_inputs(run.config.generator, signature, 3) for _ in range(2))
        assert one.keys() == two.keys()
        for name, value in one.items():
            np.testing.assert_array_equal(value, two[name])


def test_the_card_names_the_origin_of_the_model(run, folder):
    card = json.loads((folder / JSON_PATH).read_text(encoding="utf-8"))
    assert (card["model"], card["version"], card["license"]) == ("tiny", 1, "CC0-1.0 | public")
    assert card["training"] == {"images_seen": IMAGES_SEEN, "kimg": 0.048, "iteration": 6}
    assert card["data"]["source"] == run.config.data.source
    assert card["metrics"] == {
        "fid50k.json": {"fid50k": 12.5},
        "history.jsonl": {"kid": 1},
        "torn.json": "unreadable",
    }
    assert card["precision"] == "float32"
    assert card["difference_from_float32"] is None
    index = run.checkpoint.with_name(run.checkpoint.name + ".index")
    assert (
        card["checkpoint"]["sha256"][index.name] == hashlib.sha256(index.read_bytes()).hexdigest()
    )
    assert len(card["checkpoint"]["sha256"]) == 2
    assert list(card["signatures"]) == list(SIGNATURES)
    assert "Conv2D" in card["operations"]
    page = (folder / MARKDOWN_PATH).read_text(encoding="utf-8")
    assert "# tiny, version 1" in page
    assert "CC0-1.0 \\| public" in page
    assert '"fid50k": 12.5' in page


def test_a_card_without_metrics_says_so(tmp_path, quick):
    run = load_run(make_tiny_run(tmp_path / "run").path)
    version = exporter.export(run, tmp_path / "model")
    assert json.loads((version / JSON_PATH).read_text())["metrics"] == {}
    page = (version / MARKDOWN_PATH).read_text()
    assert "None were measured." in page
    assert "not stated; tf-sg2 export takes --license" in page


def test_versions_count_up_and_are_never_written_over(tmp_path):
    (tmp_path / "9").mkdir()
    (tmp_path / "10").mkdir()
    (tmp_path / ".11.123.tmp").mkdir()
    assert exporter.check_version(tmp_path, None) == 11
    assert exporter.check_version(tmp_path, 12) == 12
    assert exporter.check_version(tmp_path / "new", None) == 1
    with pytest.raises(InputError, match="has a version 9 already"):
        exporter.check_version(tmp_path, 9)
    for number in (0, -1, 2**63):
        with pytest.raises(InputError, match=f"--version={number} must be in 1...{2**63 - 1}"):
            exporter.check_version(tmp_path, number)
    (tmp_path / str(2**63)).mkdir()  # No server sees it as a version.
    assert exporter.check_version(tmp_path, None) == 11
    (tmp_path / str(2**63 - 1)).mkdir()
    with pytest.raises(InputError, match=f"--version={2**63} must be in 1"):
        exporter.check_version(tmp_path, None)


def test_unusable_places_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match="is itself a version; name the folder above it"):
        exporter.check_version(folder, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        exporter.check_version(tmp_path / "file", None)


def test_a_polling_server_never_sees_half_a_version(run, tmp_path, monkeypatch):
    seen = []

    def fail(folder, served):
        seen.extend(path.name for path in tmp_path.iterdir())
        assert (folder / "saved_model.pb").exists()
        raise InputError("no")

    monkeypatch.setattr(exporter, "try_out", fail)
    with pytest.raises(InputError, match=r"^no$"):
        exporter.export(run, tmp_path)
    assert seen
    assert not any(name.isdigit() for name in seen)
    assert not list(tmp_path.iterdir())


def test_two_exporters_of_one_version_leave_one_whole_version(run, tmp_path, monkeypatch):
    """Containers that share a disk can have the same process number, as here."""
    other = []

    def meanwhile(folder, served):
        if not other:
            other.append(None)
            other[0] = exporter.export(run, tmp_path, license_text="other")

    monkeypatch.setattr(exporter, "try_out", meanwhile)
    message = r" has a version 1 now: another export wrote it .* without --version for the next"
    with pytest.raises(InputError, match=message):
        exporter.export(run, tmp_path)
    assert other == [tmp_path / "1"]
    assert list(tmp_path.iterdir()) == other
    assert json.loads((other[0] / JSON_PATH).read_text())["license"] == "other"
    assert read_warmup(other[0])
    assert check_stock(other[0])


def test_an_export_that_answers_otherwise_is_refused(run, folder):
    generator = run.generator
    weights = [weight for weight in generator.mapping.weights if len(weight.shape) == 2]
    kept = tf.identity(tf.convert_to_tensor(weights[0]))
    weights[0].assign(-kept)
    try:
        served = exporter.ServedModel(generator, generator.synthesis)
        with pytest.raises(InputError, match="answers otherwise than the model in memory"):
            exporter.try_out(folder, served)
    finally:
        weights[0].assign(kept)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_never_exported(run, tmp_path, value):
    """uint8 would hide them, in memory and in the written model."""
    for weight in run.generator.weights:  # Each of them: also w_avg, noise and biases.
        weight = raw_variable(weight)
        kept = np.array(weight.numpy())  # Keras 2.15 gives scalars that are no arrays.
        broken = kept.copy()
        broken.flat[-1] = value
        weight.assign(broken)
        try:
            with pytest.raises(
                InputError, match=r"^checkpoint-6 holds NaN or infinity in [\w/:]+;"
            ):
                exporter.export(run, tmp_path / "model")
        finally:
            weight.assign(kept)
    assert not list(tmp_path.iterdir())


def test_weights_beyond_bfloat16_are_said(run, tmp_path):
    weight = raw_variable(run.generator.synthesis.blocks[0].const)
    kept = tf.identity(weight)
    weight.assign(tf.fill(kept.shape, np.finfo(np.float32).max))
    try:
        with pytest.raises(InputError, match=r"in bfloat16 holds NaN or infinity in .*const"):
            exporter.export(run, tmp_path / "model", bfloat16=True)
    finally:
        weight.assign(kept)


def save(path, function, **inputs):
    module = tf.Module()
    tf.saved_model.save(
        module, str(path), signatures=tf.function(function).get_concrete_function(**inputs)
    )


IMAGE = tf.TensorSpec([None, 3, 8, 8], tf.float32, "x")


def test_python_callbacks_are_refused(tmp_path):
    save(tmp_path, lambda x: {"y": tf.numpy_function(np.sin, [x], tf.float32)}, x=IMAGE)
    with pytest.raises(InputError, match=r"is PyFunc.*which a stock server does not have"):
        check_stock(tmp_path)


def test_compilation_is_refused(tmp_path):
    inner = tf.function(lambda x: x * 2, jit_compile=True)
    save(tmp_path, lambda x: {"y": inner(x)}, x=IMAGE)
    with pytest.raises(InputError, match="requires XLA"):
        check_stock(tmp_path)


def test_the_layout_that_cpus_lack_is_refused(tmp_path):
    kernel = tf.ones([1, 1, 3, 4])
    save(
        tmp_path,
        lambda x: {"y": tf.nn.conv2d(x, kernel, 1, "SAME", data_format="NCHW")},
        x=IMAGE,
    )
    with pytest.raises(InputError, match="layout NCHW, which CPUs lack"):
        check_stock(tmp_path)


def edited(folder, tmp_path, edit):
    """Copies the graph of an export and changes one node of its function library."""
    model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    functions = model.meta_graphs[0].graph_def.library.function
    edit(next(n for f in functions for n in f.node_def if n.op == "LeakyRelu"))
    (tmp_path / "saved_model.pb").write_bytes(model.SerializeToString())
    return tmp_path


@pytest.mark.parametrize("name", ["TfSg2>BiasAct", "Addons>Something", "FarCall"])
def test_custom_operations_are_refused(folder, tmp_path, name):
    def edit(node):
        node.op = name

    with pytest.raises(InputError, match=f"of function .* is {name}, which a stock server"):
        check_stock(edited(folder, tmp_path, edit))


def test_nodes_bound_to_a_gpu_are_refused(folder, tmp_path):
    def edit(node):
        node.device = "/device:GPU:0"

    with pytest.raises(InputError, match="is bound to /device:GPU:0"):
        check_stock(edited(folder, tmp_path, edit))


def test_the_stock_list_is_plausible():
    names = stock_operations()
    assert {"Conv2D", "VarHandleOp", "StatelessWhile", "EncodePng", "Assert"} <= names
    assert not {"PyFunc", "EagerPyFunc", "PyFuncStateless"} & names
    assert len(names) > 1000


def test_the_command_needs_its_flags(tmp_path, capsys):
    assert cli.main(["export", f"--out={tmp_path}"]) == 2
    assert capsys.readouterr().err.startswith("error: --run is needed: run directory")
    assert cli.main(["export", f"--run={tmp_path}"]) == 2
    assert capsys.readouterr().err.startswith("error: --out is needed")
    assert cli.main(["export", f"--run={tmp_path}", f"--out={tmp_path}"]) == 2
    assert "is no run directory" in capsys.readouterr().err


def test_a_model_can_be_moved(run, folder, tmp_path):
    """No file of a version contains the path where it was written."""
    shutil.copytree(folder, tmp_path / "elsewhere" / "3")
    (answer,) = StockModel(tmp_path / "elsewhere" / "3").run([("map", inputs_for(run, "map", 1))])
    assert answer["w"].shape == (1, 6, 8)

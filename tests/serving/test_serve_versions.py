"""Versions come and go under load; configuration files, labels, policies, warm-up."""

from __future__ import annotations

import gc
import io
import logging
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import weakref

import grpc
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_status_pb2,
    model_management_pb2,
    predict_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from checkout import ROOT
from local_server import PREDICT, ROW, ask, request, serving, shut_gate, wait_for, write_version
from tf_sg2.errors import InputError
from tf_sg2.serving.export.warmup import write_warmup
from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.log_lines import OneLineFormatter
from tf_sg2.serving.server.models.config_watcher import ConfigWatcher
from tf_sg2.serving.server.wire.config_files import ModelConfig, Policy, read_models

pytestmark = pytest.mark.slow

DEPLOY = ROOT / "serving" / "deploy"


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """A model's folder with versions 1, 2 and 3, not to be written to."""
    folder = tmp_path_factory.mktemp("models") / "stub"
    folder.mkdir()
    for version in (1, 2, 3):
        write_version(folder, version)
    return folder


@pytest.fixture
def one(three, tmp_path):
    """A folder of one's own with version 1."""
    shutil.copytree(three / "1", tmp_path / "stub" / "1")
    return tmp_path / "stub"


def add(three, folder, version):
    shutil.copytree(three / str(version), folder / f".{version}")
    (folder / f".{version}").rename(folder / str(version))


def answered(local, **named):
    answer = local.predict.Predict(request(**named), timeout=10)
    return answer.model_spec.version.value


def code(call, *arguments, **named):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **named)
    return caught.value.code().name, caught.value.details()


def test_a_version_swap_under_load_fails_no_request(three, one):
    wrong, counts, stop = [], {1: 0, 2: 0, 3: 0}, threading.Event()
    with serving(ModelConfig("stub", one)) as local:

        def over_grpc():
            while not stop.is_set():
                try:
                    answer = local.predict.Predict(request(), timeout=10)
                except grpc.RpcError as error:
                    wrong.append(error)
                    continue
                version = answer.model_spec.version.value
                counts[version] += 1
                if tf.make_ndarray(answer.outputs["scaled"]).tolist() != [[version, 2 * version]]:
                    wrong.append(answer)

        def over_rest():
            while not stop.is_set():
                status, answer = ask(local.port, "POST", PREDICT, ROW)
                if status != 200 or answer["predictions"][0][0] not in (1, 2, 3):
                    wrong.append((status, answer))

        threads = [threading.Thread(target=over_grpc) for _ in range(4)]
        threads += [threading.Thread(target=over_rest) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for version in (1, 2, 3):
                if version > 1:
                    add(three, one, version)
                wait_for(lambda version=version: counts[version] >= 20)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert not wrong


def test_an_old_version_is_closed_when_its_requests_are_done(three, one, monkeypatch):
    with shut_gate(monkeypatch) as gate, serving(ModelConfig("stub", one)) as local:
        wanted = get_model_status_pb2.GetModelStatusRequest()
        wanted.model_spec.name = "stub"

        def states():
            rows = local.manage.GetModelStatus(wanted, timeout=10).model_version_status
            return {row.version: row.State.Name(row.state) for row in rows}

        old = local.predict.Predict.future(request(), timeout=20)
        assert gate.entered.acquire(timeout=10)
        add(three, one, 2)
        wait_for(lambda: states() == {1: "UNLOADING", 2: "AVAILABLE"})
        gate.opened.set()
        assert old.result().model_spec.version.value == 1
        wait_for(lambda: states() == {1: "END", 2: "AVAILABLE"})


def reload_request(folder, policy=None, labels=None, names=("stub",)):
    made = model_management_pb2.ReloadConfigRequest()
    for name in names:
        config = made.config.model_config_list.config.add()
        config.name, config.base_path, config.model_platform = name, str(folder), "tensorflow"
        config.version_labels.update(labels or {})
        if policy:
            config.model_version_policy.specific.versions.extend(policy)
    return made


def test_reload_replaces_models_policies_and_labels(three):
    with serving(ModelConfig("stub", three)) as local:
        reload = local.manage.HandleReloadConfigRequest
        assert answered(local) == 3
        assert code(local.predict.Predict, request(version=1))[0] == "NOT_FOUND"
        reload(reload_request(three, policy=[1, 2]), timeout=10)
        assert answered(local) == 2
        assert answered(local, version=1) == 1
        assert code(local.predict.Predict, request(version=3))[0] == "NOT_FOUND"
        labels = {"stable": 1, "canary": 2}
        reload(reload_request(three, policy=[1, 2], labels=labels), timeout=10)
        assert answered(local, label="stable") == 1
        assert answered(local, label="canary") == 2
        status, answer = ask(local.port, "POST", "/v1/models/stub/labels/canary:predict", ROW)
        assert (status, answer["predictions"]) == (200, [[2, 4]])
        path = "/v1/models/stub/labels/nope:predict"
        error = {"error": "Unrecognized servable version label: nope"}
        assert ask(local.port, "POST", path, ROW) == (400, error)
        refused = reload_request(three, policy=[1, 2], labels={"canary": 3})
        assert code(reload, refused, timeout=10)[0] == "FAILED_PRECONDITION"
        assert answered(local, label="canary") == 2
        empty = model_management_pb2.ReloadConfigRequest()
        assert code(reload, empty, timeout=10)[0] == "INVALID_ARGUMENT"
        reload(reload_request(three, names=("other",)), timeout=10)
        assert answered(local, model="other") == 3
        assert code(local.predict.Predict, request()) == (
            "NOT_FOUND",
            "Servable not found for request: Latest(stub)",
        )


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        (Policy(), [3]),
        (Policy(latest=2), [2, 3]),
        (Policy(latest=None), [1, 2, 3]),
        (Policy(latest=None, specific=(1, 3)), [1, 3]),
    ],
)
def test_policies_choose_versions(three, policy, versions):
    with serving(ModelConfig("stub", three, policy)) as local:
        assert local.predictor.models.names() == {"stub": versions}


def test_a_folder_with_a_number_beyond_int64_is_no_version(three, tmp_path):
    for name in ("0007", str(2**63), str(2**64 + 5), "9" * 250):
        shutil.copytree(three / "1", tmp_path / name)
    with serving(ModelConfig("stub", tmp_path, Policy(latest=None))) as local:
        assert local.predictor.models.names() == {"stub": [7]}
        assert answered(local) == 7
        assert ask(local.port, "POST", PREDICT, ROW) == (200, {"predictions": [[1, 2]]})


def test_folders_that_name_the_same_version_are_reported_once(three, tmp_path, caplog):
    for name in ("7", "007", "0007"):
        shutil.copytree(three / "1", tmp_path / name)
    shutil.copytree(three / "2", tmp_path / "8")
    with serving(ModelConfig("stub", tmp_path, Policy(latest=None))) as local:
        assert local.predictor.models.names() == {"stub": [7, 8]}
        time.sleep(0.3)  # Several polls.
    lines = [record.getMessage() for record in caplog.records if "version 7, and" in record.message]
    assert lines == [
        f"model stub: {tmp_path}/7, {tmp_path}/007, {tmp_path}/0007 are all version 7, and "
        f"{tmp_path}/7 is served; remove the other folders"
    ]


def test_the_home_of_an_unknown_user_is_refused(tmp_path):
    text = 'model_config_list { config { name: "a" base_path: "~nosuchuser/x" } }'
    (tmp_path / "models").write_text(text)
    with pytest.raises(InputError, match=r"Model a: base_path ~nosuchuser/x: .*no such user"):
        read_models(tmp_path / "models")


def test_the_config_file_is_followed_and_a_wrong_one_changes_nothing(three, tmp_path, caplog):
    path = tmp_path / "models.config"

    def write(text):
        (tmp_path / "new").write_text(text)
        (tmp_path / "new").rename(path)

    def config(names):
        made = reload_request(three, names=names).config
        assert isinstance(made, model_server_config_pb2.ModelServerConfig)
        return str(made)

    write(config(["a"]))
    configs = read_models(path)
    with serving(*configs) as local:
        models = local.predictor.models
        watcher = ConfigWatcher(path, 0.05, models.reload)
        watcher.start(configs)
        try:
            write(config(["a", "b"]))
            wait_for(lambda: set(models.names()) == {"a", "b"})
            write("model_config_list { nonsense")
            wait_for(lambda: "is no ModelServerConfig" in caplog.text)
            assert answered(local, model="b") == 3
            write(config(["b"]))
            wait_for(lambda: set(models.names()) == {"b"})
        finally:
            watcher.close()


def test_the_command_takes_the_deployment_files_as_they_are(three, tmp_path):
    """Only the path /models/cards is another here."""
    for name in ("models.config", "models.canary.config"):
        text = (DEPLOY / name).read_text().replace("/models/cards", str(three))
        (tmp_path / name).write_text(text)
    command = [
        sys.executable,
        "-m",
        "tf_sg2.commands.main",
        "serve",
        "--port=0",
        "--rest_api_port=0",
    ]
    command += [f"--model_config_file={tmp_path / 'models.config'}"]
    command += ["--model_config_file_poll_wait_seconds=0.1", "--file_system_poll_wait_seconds=10"]
    command += ["--allow_version_labels_for_unavailable_models=true", "--enable_batching=true"]
    command += [f"--batching_parameters_file={DEPLOY / 'batching.config'}"]
    command += [f"--monitoring_config_file={DEPLOY / 'monitoring.config'}"]
    command += ["--rest_api_timeout_in_ms=120000", "--tensorflow_session_parallelism=4"]
    command += ["--enable_serialization_as_tensor_content=true"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            port = int(re.search(r"http://127.0.0.1:(\d+)", line)[1])
            channel = grpc.insecure_channel(re.search(r"127.0.0.1:\d+", line)[0])
            made = request(model="cards")
            raw = channel.unary_unary(
                "/tensorflow.serving.PredictionService/Predict",
                made.SerializeToString,
                predict_pb2.PredictResponse.FromString,
            )
            assert raw(made, timeout=10).outputs["scaled"].tensor_content
            _status, answer = ask(port, "GET", "/v1/models/cards")
            rows = answer["model_version_status"]
            assert [row["version"] for row in rows] == ["3", "2"]
            (tmp_path / "models.canary.config").rename(tmp_path / "models.config")
            path = "/v1/models/cards/labels/canary:predict"
            wait_for(lambda: ask(port, "POST", path, ROW) == (200, {"predictions": [[2, 4]]}))
            path = "/v1/models/cards/labels/stable:predict"
            assert ask(port, "POST", path, ROW) == (200, {"predictions": [[1, 2]]})
            channel.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


def warmup_request(rows, signature=""):
    made = request(rows)
    made.model_spec.signature_name = signature
    return made


def test_warm_up_requests_run_before_a_version_answers(one, monkeypatch):
    write_warmup(one / "1", [warmup_request([[5, 6]]), warmup_request([[7, 8]])])
    with shut_gate(monkeypatch) as gate:
        gate.opened.set()
        with serving(ModelConfig("stub", one)):
            assert [next(iter(feeds.values())).tolist() for feeds in gate.ran] == [
                [[5, 6]],
                [[7, 8]],
            ]


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (warmup_request([[-1, 0]]), "request 1 of .* failed: .*no row may begin with -1"),
        (warmup_request([[1, 0]], "nope"), 'Serving signature key "nope" not found'),
    ],
)
def test_a_version_whose_warm_up_fails_is_not_served(three, one, made, words):
    add(three, one, 2)
    write_warmup(one / "2", [made])
    with serving(ModelConfig("stub", one, Policy(latest=None))) as local:
        assert local.predictor.models.names() == {"stub": [1]}
        (number, state, error), _ = local.predictor.models.status("stub")
        assert (number, state) == (2, "END")
        assert re.search(words, error.message)


def test_a_record_of_the_log_is_one_line_whatever_names_hold(one):
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(OneLineFormatter("%(levelname)s %(message)s"))
    logger = logging.getLogger("tf_sg2")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        with serving(ModelConfig("a\nERROR b\x1b[2J\u2028é", one)):
            pass
        try:
            raise ValueError("x")
        except ValueError:
            logger.exception("c\r\nd")
    finally:
        logger.removeHandler(handler)
    first, second, *traceback = out.getvalue().splitlines()
    assert first == r"INFO serving a\nERROR b\x1b[2J\u2028é version 1"
    assert second == r"ERROR c\r\nd"
    assert traceback[-1] == "ValueError: x"


def test_warm_up_keeps_to_the_message_limit_of_the_server(one):
    write_warmup(one / "1", [warmup_request(tf.zeros([16, 2]))])
    with serving(ModelConfig("stub", one), limits=Limits(message_bytes=128)) as local:
        assert answered(local) == 1
    limits = Limits(message_bytes=127)
    refused = pytest.raises(InputError, match="takes 128 bytes, over the limit of 127")
    with refused, serving(ModelConfig("stub", one), limits=limits):
        pass


def test_warm_up_takes_what_a_raised_message_limit_allows(one):
    large = warmup_request([[1, 1]])
    large.inputs["z"].Clear()
    large.inputs["z"].CopyFrom(tf.make_tensor_proto([1.0], tf.float32))
    large.inputs["z"].tensor_shape.dim[0].size = 9 << 20
    large.inputs["z"].tensor_shape.dim.add(size=2)
    write_warmup(one / "1", [large])
    with serving(ModelConfig("stub", one), limits=Limits(message_bytes=72 << 20)) as local:
        assert answered(local) == 1


def test_an_unloaded_version_leaves_memory_although_the_collector_is_frozen(one, three):
    config = ModelConfig("stub", one)
    with serving(config) as local:
        lease = local.predictor.models.acquire("stub")
        graph = weakref.ref(lease.model._graph)
        lease.release()
        del lease
        gc.collect()
        gc.freeze()
        try:
            add(three, one, 2)
            wait_for(lambda: answered(local) == 2)
            wait_for(lambda: graph() is None, 5)
            wait_for(gc.get_freeze_count)  # Frozen again.
        finally:
            gc.unfreeze()


def test_labels_at_the_start_ask_for_the_flag(three):
    config = ModelConfig("stub", three, labels={"stable": 3})
    refused = pytest.raises(InputError, match="allow_version_labels_for_unavailable_models")
    with refused, serving(config):
        pass
    with serving(config, labels_need_no_version=True) as local:
        assert answered(local, label="stable") == 3

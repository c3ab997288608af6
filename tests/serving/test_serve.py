"""The local server: a real one on loopback, over a tiny SavedModel."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time

import grpc
import pytest
import tensorflow as tf
import uvicorn
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tf_sg2.serving.server.execution.predict import Predictor
from tf_sg2.serving.server.grpc.server import GrpcServer
from tf_sg2.serving.server.http.app import application
from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.wire.config_files import (
    PROMETHEUS_PATH,
    BatchingParameters,
    ModelConfig,
)

pytestmark = [pytest.mark.slow, pytest.mark.stack]


class Stub(tf.Module):
    """Doubles what it is given."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="z")])
    def double(self, z):
        return {"doubled": 2 * z}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def echo(self, text):
        return {"echo_bytes": text}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "stub"
    stub = Stub()
    signatures = {"serving_default": stub.double, "echo": stub.echo}
    tf.saved_model.save(stub, str(folder / "1"), signatures=signatures)
    return folder


@pytest.fixture(scope="module")
def predictor(folder):
    limits = Limits(body_bytes=1 << 16)
    predictor = Predictor(Metrics(), BatchingParameters(), poll_seconds=0.1, limits=limits)
    predictor.models.start([ModelConfig("stub", folder)])
    yield predictor
    predictor.close()


@pytest.fixture(scope="module")
def port(predictor):
    app = application(predictor, None, (), PROMETHEUS_PATH, page=False)
    config = uvicorn.Config(app, "127.0.0.1", 0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def ask(port, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    connection.request(method, path, text, headers or {})
    response = connection.getresponse()
    content = response.read().decode()
    connection.close()
    kind = response.headers["content-type"]
    return response.status, json.loads(content) if kind == "application/json" else content


PREDICT = "/v1/models/stub:predict"


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({"instances": [[1, 2], [3, 4]]}, {"predictions": [[2, 4], [6, 8]]}),
        ({"inputs": {"z": [[1, 2]]}}, {"outputs": [[2, 4]]}),
        (
            {"signature_name": "echo", "instances": [{"b64": "aGk="}]},
            {"predictions": [{"b64": "aGk="}]},
        ),
    ],
)
def test_both_formats_and_bytes_are_answered(port, body, answer):
    assert ask(port, "POST", PREDICT, body) == (200, answer)


def test_nan_goes_in_and_out(port):
    status, answer = ask(port, "POST", PREDICT, '{"instances": [[NaN, 1]]}')
    assert status == 200
    assert answer["predictions"][0][0] != answer["predictions"][0][0]


ROW = {"instances": [[1, 2]]}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("POST", "/v1/models/x:predict", ROW, 404, "Servable not found for request: Latest(x)"),
        ("POST", "/v1/models/x:predict", "", 400, "JSON Parse error: The document is empty"),
        ("POST", PREDICT, "x", 400, "JSON Parse error: Invalid value. at offset: 0"),
        (
            "POST", "/v1/models/stub/versions/99:predict", ROW, 404,
            "Servable not found for request: Specific(stub, 99)",
        ),
        (
            "POST", PREDICT, {"signature_name": "nope", **ROW}, 400,
            'Serving signature name: "nope" not found in signature def',
        ),
        (
            "POST", PREDICT, {"instances": ["x"]}, 400,
            "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: "
            'JSON Value: "x" Type: String is not of expected type: float',
        ),
        ("POST", PREDICT, {}, 400, "Missing 'inputs' or 'instances' key"),
        ("POST", PREDICT + "?x=1", ROW, 400, f"Malformed request: POST {PREDICT}?x=1"),
        ("GET", "/v1/models", None, 400, "Missing model name in request."),
        ("GET", "/v1/models/x", None, 404, "Could not find any versions of model x"),
        (
            "GET", "/v1/models/stub/versions/99", None, 404,
            "Could not find version 99 of model stub",
        ),
        (
            "GET", f"/v1/models/stub/versions/{'0' * 29}19999", None, 404,
            "Could not find version 19999 of model stub",
        ),
        (
            "GET", f"/v1/models/stub/versions/{2**63}", None, 400,
            f"Failed to convert version: {2**63} to numeric.",
        ),
        (
            "POST", f"/v1/models/stub/versions/{'9' * 5000}:predict", ROW, 400,
            f"Failed to convert version: {'9' * 997}...TRUNCATED",
        ),
    ],
)  # fmt: skip
def test_errors_have_servings_status_and_sentence(port, method, path, body, status, error):
    assert ask(port, method, path, body) == (status, {"error": error})


def test_a_huge_body_is_refused_and_the_server_goes_on(port):
    assert ask(port, "POST", PREDICT, " " * (1 << 17))[0] == 413
    assert ask(port, "POST", PREDICT, ROW)[0] == 200


def test_pages_of_other_sites_may_not_ask(port):
    ours = {"Origin": f"http://127.0.0.1:{port}"}
    assert ask(port, "POST", PREDICT, ROW, ours)[0] == 200
    for origin in ("http://elsewhere.example", "null"):
        status, answer = ask(port, "POST", PREDICT, ROW, {"Origin": origin})
        assert status == 403
        assert "another site" in answer["error"]


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8501", 200),
        ("192.0.2.7", 200),
        ("[::1]:8501", 200),
        ("LOCALHOST:1", 200),
        ("gpu.lab:80", 200),
        ("elsewhere.example", 403),
        ("127.0.0.1.elsewhere.example:8501", 403),
        ("localhost.elsewhere.example", 403),
        ("0x7f.1", 403),
        ("[elsewhere.example]", 403),
        ("", 403),
    ],
)
def test_without_a_token_only_known_hosts_are_asked(predictor, host, status):
    """A page whose name leads here by DNS rebinding has an Origin that fits its Host."""

    def made(token, hosts):
        return application(predictor, token, hosts, PROMETHEUS_PATH, page=True)

    for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
        for path in ("/v1/models/stub", "/page/models.json"):
            found, answer = called(made(None, {"gpu.lab"}), path, headers)
            assert found == status
            assert status == 200 or "--allowed_hosts or --token_file" in answer["error"]
    borne = {"Host": host, "Authorization": "Bearer secret"}
    assert called(made("secret", ()), "/v1/models/stub", borne)[0] == 200
    assert called(made(None, ()), "/v1/models/stub", {})[0] == 200  # No browser leaves it out.


def called(app, path, headers):
    """What an ASGI application answers to a GET."""
    sent = []

    async def send(message):
        sent.append(message)

    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": pairs}
    asyncio.run(app(scope, None, send))
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_status_metadata_and_metrics(port):
    status, answer = ask(port, "GET", "/v1/models/stub")
    assert status == 200
    assert answer["model_version_status"][0]["state"] == "AVAILABLE"
    status, answer = ask(port, "GET", "/v1/models/stub/metadata")
    assert status == 200
    signatures = answer["metadata"]["signature_def"]["signature_def"]
    assert {"serving_default", "echo"} <= signatures.keys()
    assert signatures["serving_default"]["inputs"]["z"]["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}],
        "unknown_rank": False,
    }
    ask(port, "POST", PREDICT, ROW)
    status, text = ask(port, "GET", "/monitoring/prometheus/metrics")
    assert status == 200
    assert 'request_count{model_name="stub",status="OK"}' in text


@pytest.fixture(scope="module")
def channel(predictor):
    server = GrpcServer("127.0.0.1:0", predictor)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield channel
    assert server.stop(5).wait(10)


def request(dtype=tf.float32, model="stub", signature=""):
    made = predict_pb2.PredictRequest()
    made.model_spec.name, made.model_spec.signature_name = model, signature
    made.inputs["z"].CopyFrom(tf.make_tensor_proto([[1, 2]], dtype))
    return made


def test_grpc_serves_predictions_metadata_status_and_health(channel):
    service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    answer = service.Predict(request(), timeout=10)
    assert tf.make_ndarray(answer.outputs["doubled"]).tolist() == [[2, 4]]
    assert (answer.model_spec.version.value, answer.model_spec.signature_name) == (
        1,
        "serving_default",
    )
    wanted = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    wanted.model_spec.name = "stub"
    assert "signature_def" in service.GetModelMetadata(wanted, timeout=10).metadata
    wanted = get_model_status_pb2.GetModelStatusRequest()
    wanted.model_spec.name = "stub"
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    (row,) = stub.GetModelStatus(wanted, timeout=10).model_version_status
    assert row.state == row.AVAILABLE
    check = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert check.status == check.SERVING


@pytest.mark.parametrize(
    ("wrong", "code", "text"),
    [
        ({"model": "x"}, "NOT_FOUND", "Servable not found for request: Latest(x)"),
        (
            {"signature": "nope"},
            "FAILED_PRECONDITION",
            'Serving signature key "nope" not found.',
        ),
        (
            {"dtype": tf.float64},
            "INVALID_ARGUMENT",
            "Expects arg[0] to be float but double is provided",
        ),
    ],
)
def test_grpc_errors_have_servings_code_and_sentence(channel, wrong, code, text):
    service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        service.Predict(request(**wrong), timeout=10)
    assert (caught.value.code().name, caught.value.details()) == (code, text)


def test_grpc_requests_without_what_they_ask_for_get_servings_sentences(channel):
    service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    wanted = get_model_metadata_pb2.GetModelMetadataRequest()
    for sentence in (
        "Missing ModelSpec",
        "GetModelMetadataRequest must specify at least one metadata_field",
        "Metadata field weights is not supported",
    ):
        with pytest.raises(grpc.RpcError) as caught:
            service.GetModelMetadata(wanted, timeout=10)
        assert (caught.value.code().name, caught.value.details()) == ("INVALID_ARGUMENT", sentence)
        if wanted.HasField("model_spec"):
            wanted.metadata_field.append("weights")
        wanted.model_spec.name = "stub"
    with pytest.raises(grpc.RpcError) as caught:
        model_service_pb2_grpc.ModelServiceStub(channel).HandleReloadConfigRequest(
            model_management_pb2.ReloadConfigRequest(), timeout=10
        )
    assert (caught.value.code().name, caught.value.details()) == (
        "INVALID_ARGUMENT",
        "ServerModelConfig type not supported by HandleReloadConfigRequest. "
        "Only ModelConfigList is currently supported",
    )


def test_an_error_text_of_wide_characters_still_fits_grpcs_trailers(channel):
    service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        service.Predict(request(model="\N{GRINNING FACE}" * 1000), timeout=10)
    assert caught.value.code().name == "NOT_FOUND"
    assert caught.value.details().endswith("\N{GRINNING FACE}...TRUNCATED")
    assert len(caught.value.details().encode()) <= 1024 + len("...TRUNCATED")


def test_the_command_serves_asks_for_its_token_and_stops_on_sigterm(folder, tmp_path):
    (tmp_path / "token").write_text("secret\n")
    command = [
        sys.executable,
        "-m",
        "tf_sg2.commands.main",
        "serve",
        f"--model_dir={folder}",
        "--port=0",
    ]
    command += ["--rest_port=0", f"--token_file={tmp_path / 'token'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(re.search(r"http://127.0.0.1:(\d+)", process.stdout.readline())[1])
            assert ask(port, "POST", PREDICT, ROW)[0] == 401
            assert ask(port, "POST", PREDICT, ROW, {"Authorization": "Bearer secre"})[0] == 401
            assert ask(port, "POST", PREDICT, ROW, {"Authorization": "Bearer secret"})[0] == 200
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        finally:
            process.kill()
    assert process.returncode in (0, -signal.SIGTERM)  # uvicorn raises the signal again.

"""The local server: a real one on loopback, over a tiny SavedModel."""

from __future__ import annotations

import http.client
import json
import threading
import time

import pytest
import tensorflow as tf

from tf_sg2.serving.server.configuration import BatchingParameters, ModelConfig
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.predict import Predictor
from tf_sg2.serving.server.rest import Rest

uvicorn = pytest.importorskip("uvicorn")


class Stub(tf.Module):
    """Doubles what it is given."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="z")])
    def double(self, z):
        return {"doubled": 2 * z}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def echo(self, text):
        return {"echo_bytes": text}


@pytest.fixture(scope="module")
def port(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "stub"
    stub = Stub()
    signatures = {"serving_default": stub.double, "echo": stub.echo}
    tf.saved_model.save(stub, str(folder / "1"), signatures=signatures)
    predictor = Predictor(Metrics(), BatchingParameters(), poll_seconds=0.1)
    predictor.models.start([ModelConfig("stub", folder)])
    app = Rest(predictor, most_bytes=1 << 16)
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
    predictor.close()
    assert not thread.is_alive()


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    text = body if body is None or isinstance(body, str) else json.dumps(body)
    connection.request(method, path, text)
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
    assert status == 200 and answer["predictions"][0][0] != answer["predictions"][0][0]


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
    ],
)  # fmt: skip
def test_errors_have_servings_status_and_sentence(port, method, path, body, status, error):
    assert ask(port, method, path, body) == (status, {"error": error})


def test_a_huge_body_is_refused_and_the_server_goes_on(port):
    assert ask(port, "POST", PREDICT, " " * (1 << 17))[0] == 413
    assert ask(port, "POST", PREDICT, ROW)[0] == 200


def test_status_metadata_and_metrics(port):
    status, answer = ask(port, "GET", "/v1/models/stub")
    assert status == 200
    assert answer["model_version_status"][0]["state"] == "AVAILABLE"
    status, answer = ask(port, "GET", "/v1/models/stub/metadata")
    assert status == 200
    assert {"serving_default", "echo"} <= answer["metadata"]["signature_def"][
        "signature_def"
    ].keys()
    ask(port, "POST", PREDICT, ROW)
    status, text = ask(port, "GET", "/monitoring/prometheus/metrics")
    assert status == 200 and 'request_count{model_name="stub",status="OK"}' in text

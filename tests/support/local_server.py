"""A local server in the process of the tests, over a tiny SavedModel."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import grpc
import numpy as np
import tensorflow as tf
import uvicorn
from tensorflow_serving.apis import (
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tf_sg2.serving.server.execution.predict import Predictor
from tf_sg2.serving.server.grpc.server import GrpcServer
from tf_sg2.serving.server.http.app import application
from tf_sg2.serving.server.http.connections import Connections
from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.models.saved_model import SavedModel
from tf_sg2.serving.server.wire.config_files import PROMETHEUS_PATH, BatchingParameters, ModelConfig

PREDICT = "/v1/models/stub:predict"
ROW = {"instances": [[1, 2]]}
DEFAULT = BatchingParameters(num_batch_threads=1)  # What waits is then known.


class Stub(tf.Module):
    """Multiplies its input by its version, and refuses rows that begin with -1."""

    def __init__(self, version: int):
        super().__init__()
        self.factor = tf.Variable(float(version))

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="z")])
    def scale(self, z):
        good = tf.debugging.Assert(tf.reduce_all(z[:, 0] != -1), ["no row may begin with -1"])
        with tf.control_dependencies([good]):
            return {"scaled": self.factor * z}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
    def echo(self, text):
        return {"echo_bytes": text}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.int64, name="seed"),
            tf.TensorSpec([None], tf.bool, name="flag"),
        ]
    )
    def both(self, seed, flag):
        return {"seed": seed, "flag": flag}


def write_version(folder: Path, version: int) -> Path:
    """Adds a version to a model's folder, atomically."""
    stub = Stub(version)
    signatures = {"serving_default": stub.scale, "echo": stub.echo, "both": stub.both}
    hidden = folder / f".{version}"
    tf.saved_model.save(stub, str(hidden), signatures=signatures)
    return hidden.rename(folder / str(version))


def write_stub(folder: Path) -> ModelConfig:
    """Writes the model `stub`, of one version, below a folder."""
    path = folder / "stub"
    path.mkdir()
    write_version(path, 1)
    return ModelConfig("stub", path)


class Gate(SavedModel):
    """A model that runs only when the gate is open, and records its inputs."""

    opened = threading.Event()
    ran: ClassVar[list[dict[str, np.ndarray]]] = []
    entered = threading.Semaphore(0)

    def run(self, feeds, fetches):
        Gate.ran.append(dict(feeds))
        Gate.entered.release()
        assert Gate.opened.wait(30)
        return super().run(feeds, fetches)


@contextlib.contextmanager
def shut_gate(monkeypatch) -> Iterator[type[Gate]]:
    """Models that are loaded from now on wait in `run` until `Gate.opened` is set."""
    Gate.opened, Gate.ran, Gate.entered = threading.Event(), [], threading.Semaphore(0)
    monkeypatch.setattr("tf_sg2.serving.server.execution.predict.SavedModel", Gate)
    try:
        yield Gate
    finally:
        Gate.opened.set()


@contextlib.contextmanager
def serving(
    *models: ModelConfig,
    batching: BatchingParameters | None = DEFAULT,
    limits: Limits | None = None,
    token: str | None = None,
    page: bool = False,
    **named,
) -> Iterator[SimpleNamespace]:
    """Both ports, on loopback: `.port` and `.rpc_port`, `.predict` and `.manage` (stubs),
    `.predictor`, `.server` (gRPC)."""
    limits = limits or Limits()
    metrics = Metrics()
    predictor = Predictor(metrics, batching, named.pop("poll", 0.05), limits, **named)
    predictor.models.start(models)
    config = uvicorn.Config(
        application(predictor, token, (), PROMETHEUS_PATH, page),
        "127.0.0.1",
        0,
        http=Connections(limits, metrics).protocol(),
        log_level="error",
        lifespan="off",
        timeout_graceful_shutdown=10,
    )
    web = uvicorn.Server(config)
    thread = threading.Thread(target=web.run)
    thread.start()
    wait_for(lambda: web.started or not thread.is_alive())
    server = GrpcServer("127.0.0.1:0", predictor, token)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
            yield SimpleNamespace(
                port=web.servers[0].sockets[0].getsockname()[1],
                rpc_port=server.port,
                predict=prediction_service_pb2_grpc.PredictionServiceStub(channel),
                manage=model_service_pb2_grpc.ModelServiceStub(channel),
                channel=channel,
                predictor=predictor,
                server=server,
                web=web,
            )
    finally:
        ended = server.stop(5)
        web.should_exit = True
        thread.join(20)
        assert ended.wait(10)
        assert not thread.is_alive()
        predictor.close()


def wait_for(condition, seconds: float = 20.0) -> None:
    """Waits until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def ask(port: int, method: str, path: str, body=None, headers=None):
    """Sends a REST request; returns the status and the answer, parsed if it is JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    text = body if body is None or isinstance(body, (str, bytes)) else json.dumps(body)
    try:
        connection.request(method, path, text, headers or {})
        response = connection.getresponse()
        content = response.read().decode()
    finally:
        connection.close()
    kind = response.headers["content-type"]
    return response.status, json.loads(content) if kind == "application/json" else content


def request(rows=((1, 2),), model="stub", label="", version=None, dtype=tf.float32):
    """A gRPC predict request."""
    made = predict_pb2.PredictRequest()
    made.model_spec.name = model
    if label:
        made.model_spec.version_label = label
    if version is not None:
        made.model_spec.version.value = version
    made.inputs["z"].CopyFrom(tf.make_tensor_proto(rows, dtype))
    return made

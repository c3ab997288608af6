"""The local server in this process, with its page, over exports of tiny untrained runs."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import uvicorn

from tf_sg2.run_directory import load_run
from tf_sg2.serving import export as exporter
from tf_sg2.serving.server import rpc
from tf_sg2.serving.server.configuration import BatchingParameters, ModelConfig
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.page import Page
from tf_sg2.serving.server.predict import Predictor
from tf_sg2.serving.server.rest import Rest
from tiny_run import make_tiny_run


def export_tiny(folder: Path, name: str, label_dim: int = 0) -> Path:
    """Exports version 1 of a tiny model and returns the model's folder."""
    run = make_tiny_run(folder / f"{name}-run", label_dim=label_dim)
    return exporter.export(load_run(run.path), folder / name).parent


@contextlib.contextmanager
def local_server(*folders: Path, token: str | None = None) -> Iterator[SimpleNamespace]:
    """Yields the addresses `rest` and `grpc`; version 1 of every model is labelled "canary"."""
    predictor = Predictor(Metrics(), BatchingParameters(), poll_seconds=0)
    predictor.models.start([ModelConfig(folder.name, folder) for folder in folders])
    labels = {"canary": 1}
    predictor.models.reload([ModelConfig(f.name, f, labels=labels) for f in folders])
    app = Page(Rest(predictor, token=token), predictor.models.names, token)
    config = uvicorn.Config(app, "127.0.0.1", 0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        grpc_server, bound = rpc.start(predictor, "127.0.0.1", 0, token)
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield SimpleNamespace(rest=f"http://127.0.0.1:{port}", grpc=f"127.0.0.1:{bound}")
        grpc_server.stop(5).wait(10)
    finally:
        server.should_exit = True
        thread.join(20)
        predictor.close()

"""Exports of tiny untrained runs, and the local server over them, with its page."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from local_server import serving
from tf_sg2.runs.load import load_run
from tf_sg2.serving.export import saved_model as exporter
from tf_sg2.serving.server.wire.config_files import ModelConfig
from tiny_run import make_tiny_run

LABELS = 3


def export_tiny(folder: Path, name: str, label_dim: int = 0) -> Path:
    """Exports version 1 of a tiny model and returns the model's folder."""
    run = make_tiny_run(folder / f"{name}-run", label_dim=label_dim)
    return exporter.export(load_run(run.path), folder / name).parent


@contextlib.contextmanager
def serve_exports(*folders: Path, token: str | None = None) -> Iterator[SimpleNamespace]:
    """Yields the addresses `rest` and `grpc`; version 1 of every model is labelled "canary"."""
    models = [ModelConfig(folder.name, folder) for folder in folders]
    with serving(*models, token=token, page=True, poll=0) as server:
        labels = {"canary": 1}
        server.predictor.models.reload([ModelConfig(f.name, f, labels=labels) for f in folders])
        yield SimpleNamespace(
            rest=f"http://127.0.0.1:{server.port}", grpc=f"127.0.0.1:{server.rpc_port}"
        )

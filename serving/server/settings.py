"""The settings of a server: which models it serves, where it listens, and how it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.wire.config_files import (
    PROMETHEUS_PATH,
    BatchingParameters,
    ModelConfig,
)


@dataclass(frozen=True)
class Settings:
    """The settings of a server.

    Attributes:
        models: the served models; empty if `model_config_file` lists them.
        model_config_file: a `ModelServerConfig` in text format.
        config_poll_seconds: time between two reads of that file; 0 reads it only at the start.
        poll_seconds: time between two polls of the models' folders; 0 reads them only at the start.
        labels_need_no_version: allows labels for versions that are not loaded.
        port, rest_port: 0 takes a free port.
        host: address to listen on.
        token: bearer token that requests must have; None needs no token.
        allowed_hosts: values of `Host` that are accepted without a token. `host`, IP addresses and
            "localhost" always are.
        batching: None runs each request on its own.
        metrics_path: path of the metrics; None does not publish them.
        threads: threads per model; 0 lets TensorFlow choose.
        as_content: sends gRPC tensors as `tensor_content`.
        page: whether `/` is a page for trying the models.
        limits: bounds on what clients may use.
    """

    models: Sequence[ModelConfig] = ()
    model_config_file: Path | None = None
    config_poll_seconds: float = 0.0
    poll_seconds: float = 1.0
    labels_need_no_version: bool = False
    port: int = 8500
    rest_port: int = 8501
    host: str = "127.0.0.1"
    token: str | None = None
    allowed_hosts: Sequence[str] = ()
    batching: BatchingParameters | None = field(default_factory=BatchingParameters)
    metrics_path: str | None = PROMETHEUS_PATH
    threads: int = 0
    as_content: bool = False
    page: bool = True
    limits: Limits = field(default_factory=Limits)

"""Puts the two halves together: loads the models, answers on two ports, stops gracefully."""

from __future__ import annotations

import dataclasses
import gc
import ipaddress
import logging
import resource
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from tf_sg2.errors import InputError
from tf_sg2.serving.server.execution.predict import Predictor
from tf_sg2.serving.server.grpc import services
from tf_sg2.serving.server.http.connections import Connections
from tf_sg2.serving.server.http.page import Page
from tf_sg2.serving.server.http.rest import Rest
from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.log_lines import one_line
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.models.config_watcher import Follower
from tf_sg2.serving.server.wire.config_files import (
    PROMETHEUS_PATH,
    BatchingParameters,
    ModelConfig,
    read_models,
)

log = logging.getLogger(__name__)

GRACE_SECONDS = 30
OTHER_FILES = 512  # Descriptors for what is no HTTP connection: gRPC, models, threads.


@dataclass(frozen=True)
class Settings:
    """What a server serves, where and how.

    Attributes:
        models: what is served; empty, if a file says it.
        model_config_file: a `ModelServerConfig` in text format.
        config_poll_seconds: how often that file is read again; 0 reads it once.
        poll_seconds: how often the models' folders are looked at; 0 looks once.
        labels_need_no_version: lets labels name versions that are not there.
        port, rest_port: 0 takes a free one.
        host: address to listen on.
        token: what requests must bear, if any.
        allowed_hosts: names that clients may ask by without a token, beside `host`, addresses and
            "localhost".
        batching: None runs every request alone.
        metrics_path: None keeps the metrics to itself.
        threads: that a model computes with; 0 lets TensorFlow choose.
        as_content: answers gRPC with `tensor_content`.
        page: whether `/` is a page to try the models on.
        limits: what a client may take.
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
    batching: BatchingParameters | None = BatchingParameters()
    metrics_path: str | None = PROMETHEUS_PATH
    threads: int = 0
    as_content: bool = False
    page: bool = True
    limits: Limits = Limits()


class _Http(uvicorn.Server):
    """uvicorn, which lets gRPC stop as soon as it is told to stop itself."""

    def __init__(self, config: uvicorn.Config, other: services.Server):
        super().__init__(config)
        self._other = other

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._other.stop(GRACE_SECONDS)
        super().handle_exit(sig, frame)


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; call it in the main thread.

    Requests under way are answered before it returns.

    Raises:
        InputError: if there is nothing to serve, or an address cannot be had.
    """
    models = list(settings.models)
    if settings.model_config_file is not None:
        models = read_models(settings.model_config_file)
    limits = _fitting(settings.limits)
    host = settings.host
    _warn_of_strangers(host, settings.token)
    # asyncio switches Nagle off where it sees that it is TCP.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    metrics = Metrics()
    predictor = Predictor(
        metrics,
        settings.batching,
        settings.poll_seconds,
        limits,
        settings.labels_need_no_version,
        settings.threads,
    )
    follower = Follower(
        settings.model_config_file, settings.config_poll_seconds, predictor.models.reload
    )
    try:
        try:
            listener.bind((host, settings.rest_port))
        except OSError as error:
            raise InputError(
                f"cannot listen on {host}:{settings.rest_port}: {error.strerror}"
            ) from error
        predictor.models.start(models)
        try:
            server, bound = services.start(
                predictor,
                f"[{host}]" if ":" in host else host,
                settings.port,
                settings.token,
                settings.as_content,
            )
        except RuntimeError as error:
            raise InputError(f"cannot listen on {host}:{settings.port}: is it in use?") from error
        hosts = {name.lower() for name in (host, *settings.allowed_hosts)}
        app = Rest(predictor, settings.token, settings.metrics_path, hosts)
        if settings.page:
            app = Page(app, predictor.models.names, settings.token, hosts)
        config = uvicorn.Config(
            app,
            http=Connections(limits, metrics).protocol(),
            lifespan="off",
            ws="none",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=GRACE_SECONDS,
        )
        web = _Http(config, server)
        # uvicorn raises the signal again when it has ended: gRPC may not have.
        before = {sig: signal.signal(sig, web.handle_exit) for sig in _signals()}
        listener.listen(1024)  # Who reads the line below may connect at once.
        rest = listener.getsockname()[1]
        names = one_line(", ".join(model.name for model in models))
        print(f"{names}: gRPC on {host}:{bound}, REST on http://{host}:{rest}", flush=True)
        if settings.page:
            print(f"page: http://{host}:{rest}/", flush=True)
        follower.start(models)
        # What is there now stays: the collector need not look through TensorFlow each time.
        gc.collect()
        gc.freeze()
        try:
            web.run(sockets=[listener])
        finally:
            server.stop(GRACE_SECONDS).wait()
            for sig, handler in before.items():
                signal.signal(sig, handler)
    finally:
        follower.close()
        predictor.close()
        listener.close()


def _signals() -> tuple[int, int]:
    return signal.SIGTERM, signal.SIGINT


def _fitting(limits: Limits) -> Limits:
    """The limits with no more connections than the process may have files."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most == resource.RLIM_INFINITY:
        most = 1 << 20
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (OSError, ValueError):
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return dataclasses.replace(
        limits,
        connections=min(limits.connections, max(1, most - OTHER_FILES)),
        grpc_connections=min(limits.grpc_connections, max(1, most // 4)),
    )


def _warn_of_strangers(host: str, token: str | None) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False  # A name: who knows where it leads.
    if not loopback and not token:
        log.warning(
            "WARNING: listening on %s WITHOUT A TOKEN: everyone who reaches this machine may use "
            "the models, and replace them by any others it can read. --token_file asks for a token",
            host,
        )

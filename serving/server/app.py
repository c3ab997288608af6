"""Composes the server: loads the models, listens on both ports, and shuts down gracefully."""

from __future__ import annotations

import dataclasses
import gc
import ipaddress
import logging
import resource
import signal
import socket
from types import FrameType

import uvicorn

from tf_sg2.errors import InputError, printable
from tf_sg2.serving.server.execution.predict import Predictor
from tf_sg2.serving.server.grpc.server import GrpcServer
from tf_sg2.serving.server.http.app import application
from tf_sg2.serving.server.http.connections import Connections
from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.models.config_watcher import ConfigWatcher
from tf_sg2.serving.server.settings import Settings
from tf_sg2.serving.server.wire.config_files import read_models

log = logging.getLogger(__name__)

GRACE_SECONDS = 30
BACKLOG = 1024  # Connections that wait to be accepted.
OTHER_FILES = 512  # File descriptors for gRPC, models and threads.
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class _HttpServer(uvicorn.Server):
    """uvicorn's server; a signal stops the gRPC server at the same time."""

    def __init__(self, config: uvicorn.Config, grpc_server: GrpcServer):
        super().__init__(config)
        self._grpc_server = grpc_server

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handles SIGTERM and SIGINT."""
        self._grpc_server.stop(GRACE_SECONDS)
        super().handle_exit(sig, frame)


def serve(settings: Settings) -> None:
    """Serves until SIGTERM or SIGINT; call it in the main thread.

    Running requests are answered before it returns.

    Raises:
        InputError: if there is nothing to serve, or an address is not available.
    """
    models = list(settings.models)
    if settings.model_config_file is not None:
        models = read_models(settings.model_config_file)
    host, limits = settings.host, _within_file_limit(settings.limits)
    _warn_if_public(host, settings.token)
    metrics = Metrics()
    predictor = Predictor(
        metrics,
        settings.batching,
        settings.poll_seconds,
        limits,
        settings.labels_need_no_version,
        settings.threads,
    )
    watcher = ConfigWatcher(
        settings.model_config_file, settings.config_poll_seconds, predictor.models.reload
    )
    listener = _tcp_socket(host)
    try:
        try:
            listener.bind((host, settings.rest_port))
        except OSError as error:
            raise InputError(
                f"cannot listen on {host}:{settings.rest_port}: {error.strerror}"
            ) from error
        predictor.models.start(models)
        grpc_server = _start_grpc(settings, predictor)
        http_server = _http_server(settings, predictor, metrics, limits, grpc_server)
        # uvicorn raises a signal again after it has stopped, while gRPC may still be stopping.
        before = {sig: signal.signal(sig, http_server.handle_exit) for sig in SIGNALS}
        listener.listen(BACKLOG)  # Before the line below, whose reader may connect at once.
        rest_port = listener.getsockname()[1]
        names = printable(", ".join(model.name for model in models))
        print(
            f"{names}: gRPC on {host}:{grpc_server.port}, REST on http://{host}:{rest_port}",
            flush=True,
        )
        if settings.page:
            print(f"page: http://{host}:{rest_port}/", flush=True)
        watcher.start(models)
        # Objects that exist now stay: the collector does not traverse TensorFlow again.
        gc.collect()
        gc.freeze()
        try:
            http_server.run(sockets=[listener])
        finally:
            grpc_server.stop(GRACE_SECONDS).wait()
            for sig, handler in before.items():
                signal.signal(sig, handler)
    finally:
        watcher.close()
        predictor.close()
        listener.close()


def _tcp_socket(host: str) -> socket.socket:
    """Returns a socket of the address's family."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is given.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return listener


def _start_grpc(settings: Settings, predictor: Predictor) -> GrpcServer:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    try:
        return GrpcServer(f"{host}:{settings.port}", predictor, settings.token, settings.as_content)
    except RuntimeError as error:
        raise InputError(
            f"cannot listen on {settings.host}:{settings.port}: is it in use?"
        ) from error


def _http_server(
    settings: Settings,
    predictor: Predictor,
    metrics: Metrics,
    limits: Limits,
    grpc_server: GrpcServer,
) -> _HttpServer:
    hosts = {name.lower() for name in (settings.host, *settings.allowed_hosts)}
    config = uvicorn.Config(
        application(predictor, settings.token, hosts, settings.metrics_path, settings.page),
        http=Connections(limits, metrics).protocol(),  # type: ignore[arg-type] # Any callable.
        lifespan="off",
        ws="none",
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return _HttpServer(config, grpc_server)


def _within_file_limit(limits: Limits) -> Limits:
    """Returns the limits with at most as many connections as the process may open files."""
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


def _warn_if_public(host: str, token: str | None) -> None:
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False  # A name may resolve to any address.
    if not loopback and not token:
        log.warning(
            "WARNING: listening on %s WITHOUT A TOKEN: everyone who reaches this machine may use "
            "the models, and replace them by any others it can read. --token_file asks for a token",
            host,
        )

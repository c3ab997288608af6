"""Puts the two halves together: loads a model, answers on two ports, stops gracefully."""

from __future__ import annotations

import socket
from pathlib import Path

import uvicorn

from tf_sg2.errors import InputError
from tf_sg2.serving.server import rpc
from tf_sg2.serving.server.configuration import BatchingParameters, ModelConfig
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.page import Page
from tf_sg2.serving.server.predict import Predictor
from tf_sg2.serving.server.rest import Rest

GRACE_SECONDS = 30


def serve(
    model_dir: Path,
    port: int = 8500,
    rest_port: int = 8501,
    host: str = "127.0.0.1",
    token: str | None = None,
    page: bool = True,
) -> None:
    """Serves the newest version in `model_dir` until SIGTERM or SIGINT; call it in the main thread.

    Requests under way are answered before it returns.

    Raises:
        InputError: if there is nothing to serve, or an address cannot be had.
    """
    model_dir = Path(model_dir).resolve()
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    predictor = Predictor(Metrics(), BatchingParameters(), poll_seconds=1.0)
    try:
        try:
            listener.bind((host, rest_port))
        except OSError as error:
            raise InputError(f"cannot listen on {host}:{rest_port}: {error.strerror}") from error
        predictor.models.start([ModelConfig(model_dir.name, model_dir)])
        try:
            server, bound = rpc.start(predictor, f"[{host}]" if ":" in host else host, port, token)
        except RuntimeError as error:
            raise InputError(f"cannot listen on {host}:{port}: is it in use?") from error
        listener.listen(1024)  # Who reads the line below may connect at once.
        rest = listener.getsockname()[1]
        print(f"{model_dir.name}: gRPC on {host}:{bound}, REST on http://{host}:{rest}", flush=True)
        app = Rest(predictor, token=token)
        if page:
            app = Page(app, predictor.models.names, token)
            print(f"page: http://{host}:{rest}/", flush=True)
        try:
            config = uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_level="warning",
                limit_concurrency=1000,
                timeout_graceful_shutdown=GRACE_SECONDS,
            )
            uvicorn.Server(config).run(sockets=[listener])
        finally:
            server.stop(GRACE_SECONDS).wait()
    finally:
        predictor.close()
        listener.close()

"""The gRPC server: an event loop in a thread of its own, with the services and their limits."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import grpc

from tf_sg2.serving.server.execution.predict import Predictor
from tf_sg2.serving.server.grpc.health import Health
from tf_sg2.serving.server.grpc.services import Services
from tf_sg2.serving.server.limits import Limits


class GrpcServer:
    """A running gRPC server.

    Args:
        address: host and port to listen on; port 0 takes a free one.
        predictor: runs the requests, within its limits.
        token: bearer token that calls must have, except health checks; None needs no token.
        as_content: sends tensors as `tensor_content`.

    Attributes:
        port: the port that it listens on.

    Raises:
        RuntimeError: if the address is not available.
    """

    def __init__(
        self,
        address: str,
        predictor: Predictor,
        token: str | None = None,
        as_content: bool = False,
    ):
        self._stopping, self._ended = False, threading.Event()
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._run, name="grpc", daemon=True).start()
        start = self._start(address, predictor, token, as_content)
        try:
            self.port = asyncio.run_coroutine_threadsafe(start, self._loop).result()
        except BaseException:
            self._loop.call_soon_threadsafe(self._loop.stop)
            raise

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    async def _start(
        self, address: str, predictor: Predictor, token: str | None, as_content: bool
    ) -> int:
        limits = predictor.limits
        self._health = Health(limits)
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=limits.calls,
            options=_options(limits),
        )
        handlers = Services(predictor, as_content).handlers(token)
        self._server.add_generic_rpc_handlers([*handlers, self._health.handler()])
        port = self._server.add_insecure_port(address)
        await self._server.start()
        return port

    async def _stop(self, grace: float) -> None:
        # At the same time: a watcher that does not read delays the message to the others.
        await asyncio.gather(self._health.stop(), self._server.stop(grace))

    def stop(self, grace: float) -> threading.Event:
        """Stops the server; returns at once an event that is set when it has stopped.

        Health watchers get NOT_SERVING, and new calls are refused. Running calls have `grace`
        seconds to end. A second call changes nothing.
        """
        if not self._stopping:
            self._stopping = True
            stop = asyncio.run_coroutine_threadsafe(self._stop(grace), self._loop)
            stop.add_done_callback(self._end)
        return self._ended

    def _end(self, _: Future[None]) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._ended.set()


def _options(limits: Limits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", max(1, limits.calls // 4)),
        ("grpc.server_handshake_timeout_ms", int(1000 * limits.arrival_seconds)),
        ("grpc.max_allowed_incoming_connections", limits.grpc_connections),
        # Without this probe, windows do not grow. A call that is not read yet then holds at most
        # 64 KiB. A call that is being read gets a window for its whole message.
        ("grpc.http2.bdp_probe", 0),
    ]

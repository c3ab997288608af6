"""grpc.health.v1 for the whole server. Probes bear no token, and learn nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator

import grpc
from grpc_health.v1 import health_pb2

from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.wire.errors import TIMEOUTS

Context = grpc.aio.ServicerContext
KINDS = {"Check": 4, "Watch": 16}  # Of all calls, one in so many.


class Health:
    """The service. It takes only a part of the calls that the server takes, because nobody needs a
    token for it.
    """

    def __init__(self, limits: Limits):
        self.stopping = asyncio.Event()
        self._seconds = limits.arrival_seconds
        self._most = {kind: max(1, limits.calls // share) for kind, share in KINDS.items()}
        self._open: Counter[str] = Counter()

    def _status(self, service: str) -> health_pb2.HealthCheckResponse:
        statuses = health_pb2.HealthCheckResponse
        if service:
            return statuses(status=statuses.SERVICE_UNKNOWN)
        stopping = self.stopping.is_set()
        return statuses(status=statuses.NOT_SERVING if stopping else statuses.SERVING)

    @contextlib.contextmanager
    def _counted(self, kind: str) -> Iterator[None]:
        self._open[kind] += 1
        try:
            yield
        finally:
            self._open[kind] -= 1

    async def _read(self, kind: str, context: Context) -> str:
        """The service that is asked for. Ends the call if it comes late or is one too many."""
        if self._open[kind] > self._most[kind]:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"There are too many calls of {kind}"
            )
        try:
            request = await asyncio.wait_for(context.read(), self._seconds)
        except TIMEOUTS:
            await context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, "The request did not arrive in time"
            )
        if not isinstance(request, health_pb2.HealthCheckRequest):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The call holds no request")
        return request.service

    async def check(self, _: object, context: Context) -> health_pb2.HealthCheckResponse:
        """Tells how the server is."""
        with self._counted("Check"):
            if await self._read("Check", context):
                await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
            return self._status("")

    async def watch(self, _: object, context: Context) -> None:
        """Tells how the server is, and again when that changes."""
        with self._counted("Watch"):
            service = await self._read("Watch", context)
            await context.write(self._status(service))
            await self.stopping.wait()  # A server that stops does not wait for those who watch it.
            if not service:
                await context.write(self._status(""))

    def handler(self) -> grpc.GenericRpcHandler:
        """The service, in the form that a server takes it."""
        conversions = {
            "request_deserializer": health_pb2.HealthCheckRequest.FromString,
            "response_serializer": health_pb2.HealthCheckResponse.SerializeToString,
        }
        # As streams of requests, which look the same to a client, so that reading has a time limit.
        methods = {
            "Check": grpc.stream_unary_rpc_method_handler(self.check, **conversions),
            "Watch": grpc.stream_stream_rpc_method_handler(self.watch, **conversions),
        }
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods)

"""The service grpc.health.v1 for the whole server, with grpcio-health-checking's servicer.

Health checks need no token, so they tell nothing about models and may take only a part of all
calls. Each call of `Watch` has a servicer of its own. A shared one writes to one watcher at a time,
so a client that does not read would delay the others. In version 1.62 it also forgets all watchers
when one leaves. A call of `Watch` ends after its last status: a service
changes at most once, to NOT_SERVING.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import TypeAlias

import grpc
from grpc_health.v1 import health, health_pb2

from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.wire.errors import TIMEOUTS

Context: TypeAlias = grpc.aio.ServicerContext
Request: TypeAlias = health_pb2.HealthCheckRequest
Response: TypeAlias = health_pb2.HealthCheckResponse

SHARES = {"Check": 4, "Watch": 16}  # Method -> it gets one of this number of calls.


class _LastStatus(Exception):  # noqa: N818 - ends a call, and is no error.
    """The watcher has got a status that does not change any more."""


class _WatchContext:
    """The context of one `Watch`, as the servicer uses it."""

    def __init__(self, context: Context):
        self._context = context

    async def write(self, response: Response) -> None:
        """Sends a status."""
        await self._context.write(response)
        if response.status != Response.SERVING:
            raise _LastStatus


class Health:
    """The service; it takes only a part of the server's calls."""

    def __init__(self, limits: Limits):
        self._servicer = health.aio.HealthServicer()  # For checks.
        self._watched: set[health.aio.HealthServicer] = set()
        self._stopping = False
        self._seconds = limits.arrival_seconds
        self._most = {method: max(1, limits.calls // share) for method, share in SHARES.items()}
        self._open: Counter[str] = Counter()

    async def stop(self) -> None:
        """Sends NOT_SERVING to all watchers, and from now on to all checks."""
        self._stopping = True
        servicers = (self._servicer, *self._watched)
        await asyncio.gather(*(servicer.enter_graceful_shutdown() for servicer in servicers))

    @contextlib.contextmanager
    def _counted(self, method: str) -> Iterator[None]:
        self._open[method] += 1
        try:
            yield
        finally:
            self._open[method] -= 1

    async def _read(self, method: str, context: Context) -> Request:
        """Returns the request; aborts a call that is late or over the limit."""
        if self._open[method] > self._most[method]:
            await context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, f"There are too many calls of {method}"
            )
        try:
            request = await asyncio.wait_for(context.read(), self._seconds)
        except TIMEOUTS:
            await context.abort(
                grpc.StatusCode.DEADLINE_EXCEEDED, "The request did not arrive in time"
            )
        if not isinstance(request, health_pb2.HealthCheckRequest):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "The call holds no request")
        return request

    async def check(self, _: object, context: Context) -> Response:
        """Returns the status of the server."""
        with self._counted("Check"):
            return await self._servicer.Check(await self._read("Check", context), context)

    async def watch(self, _: object, context: Context) -> None:
        """Sends the status of the server, and again when it changes."""
        with self._counted("Watch"):
            request = await self._read("Watch", context)
            servicer = health.aio.HealthServicer()
            if self._stopping:
                await servicer.enter_graceful_shutdown()
            self._watched.add(servicer)
            try:
                await servicer.Watch(request, _WatchContext(context))
            except _LastStatus:
                pass
            finally:
                self._watched.discard(servicer)

    def handler(self) -> grpc.GenericRpcHandler:
        """Returns the service as gRPC's server takes it."""
        conversions = {
            "request_deserializer": Request.FromString,
            "response_serializer": Response.SerializeToString,
        }
        # As streams of requests: clients see no difference, and the read can have a time limit.
        methods = {
            "Check": grpc.stream_unary_rpc_method_handler(self.check, **conversions),
            "Watch": grpc.stream_stream_rpc_method_handler(self.watch, **conversions),
        }
        return grpc.method_handlers_generic_handler("grpc.health.v1.Health", methods)

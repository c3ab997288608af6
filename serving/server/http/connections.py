"""Limits on HTTP connections: how many may be open, and how long they may wait for their clients.

uvicorn has no time limit for headers or bodies. Over its limit it refuses new connections, so idle
ones would block all other clients. Here the connection that has waited longest is closed.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections import OrderedDict
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tf_sg2.serving.server.http.answers import error_body
from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.metrics import Metrics


def _refusal(status: str, sentence: str) -> bytes:
    body = error_body(sentence)
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CONTINUE_SECONDS = 0.5
TOO_SLOW = _refusal("408 Request Timeout", "The request did not arrive in time")
TOO_MANY = _refusal("503 Service Unavailable", "There are too many connections")


class Connections:
    """The connections of one server. Call all methods in its event loop.

    Args:
        limits: of which `connections`, `arrival_seconds` and `answer_seconds` apply here.
        metrics: counts open and refused connections.
    """

    def __init__(self, limits: Limits, metrics: Metrics):
        self._limits, self._metrics = limits, metrics
        self._waiting: OrderedDict[Connection, float] = OrderedDict()  # Connection -> since when.
        self._open = 0
        self._sweep: asyncio.TimerHandle | None = None

    def protocol(self) -> functools.partial[Connection]:
        """Returns the protocol factory for uvicorn's setting `http`."""
        return functools.partial(Connection, self)

    def opened(self, connection: Connection) -> None:
        """Counts an opened connection; over the limit, closes the one that has waited longest."""
        self._open += 1
        self._metrics.connections.set(value=self._open)
        if self._open > self._limits.connections:
            self._metrics.refused.add("connections")
            longest = next(iter(self._waiting), connection)
            self._waiting.pop(longest, None)
            longest.dismiss(TOO_MANY)
        if connection.transport.is_closing():
            return
        self.wait(connection)

    def closed(self, connection: Connection) -> None:
        """Counts a closed connection."""
        self._open -= 1
        self._metrics.connections.set(value=self._open)
        self._waiting.pop(connection, None)

    def wait(self, connection: Connection) -> None:
        """Starts the time of the client: to send a request, and to fetch the last answer."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = time.monotonic()
        if self._sweep is None:
            self._sweep = connection.loop.call_later(1.0, self._end_slow, connection.loop)

    def stalled(self, connection: Connection) -> None:
        """Starts the time of a client that reads its answer slowly, unless it has started."""
        if connection not in self._waiting:
            self.wait(connection)

    def busy(self, connection: Connection) -> None:
        """Stops the time of the client, because its request is complete."""
        self._waiting.pop(connection, None)

    def _end_slow(self, loop: asyncio.AbstractEventLoop) -> None:
        now = time.monotonic()
        slow = []
        for connection, since in self._waiting.items():
            if now - since < self._limits.arrival_seconds:
                break
            fetching = connection.is_fetched()
            if not fetching or now - since >= self._limits.answer_seconds:
                slow.append(connection)
        for connection in slow:
            self._metrics.refused.add("slow")
            del self._waiting[connection]
            connection.dismiss(TOO_SLOW)
        self._sweep = loop.call_later(1.0, self._end_slow, loop) if self._waiting else None


class Connection(H11Protocol):
    """uvicorn's connection, which reports its state to `Connections`."""

    def __init__(self, connections: Connections, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self._connections = connections
        self._half_closed = False

    def connection_made(  # type: ignore[override] # uvicorn narrows the type in the same way.
        self, transport: asyncio.Transport
    ) -> None:
        """Counts the connection."""
        super().connection_made(transport)
        self._connections.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops counting the connection."""
        super().connection_lost(exc)
        self._connections.closed(self)

    def data_received(self, data: bytes) -> None:
        """Reads data; a complete request stops the client's time."""
        super().data_received(data)
        if self._serves() and not self.cycle.response_started:
            self._connections.busy(self)

    def handle_events(self) -> None:
        """Closes the connection after a request with an ambiguous length."""
        super().handle_events()
        names = {name for name, _ in self.headers or ()}
        if {b"content-length", b"transfer-encoding"} <= names:
            # A proxy may see another end of this request, and forward the next request as a part
            # of it (request smuggling; RFC 9112, section 6.3).
            self.cycle.keep_alive = False

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio allows a bool.
        """Keeps a half-closed connection open until its answer is sent."""
        self._half_closed = self._serves()
        if self._half_closed:
            self._probe_client()
        return self._half_closed

    def _probe_client(self) -> None:
        """Sends interim answers until the answer is ready, to notice a client that has gone.

        A closed connection looks like a half-closed one until the server writes. TCP then resets
        the connection, and the next write fails.
        """
        cycle = self.cycle
        if cycle.response_started or self.transport.is_closing():
            return
        if self.scope["http_version"] == "1.1":  # HTTP/1.0 has no interim answers.
            self.transport.write(CONTINUE)
            self.loop.call_later(CONTINUE_SECONDS, self._probe_client)

    def on_response_complete(self) -> None:
        """Starts the client's time, or closes a half-closed connection."""
        super().on_response_complete()
        if self._serves():  # The next request of the pipeline has started.
            return
        if self._half_closed:
            self.transport.close()
        else:
            self._connections.wait(self)

    def pause_writing(self) -> None:
        """Starts the time of a client that does not read its answer."""
        super().pause_writing()
        self._connections.stalled(self)

    def is_fetched(self) -> bool:
        """Returns whether the client has not yet got the whole answer."""
        return self._serves() or self.transport.get_write_buffer_size() > 0

    def _serves(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    def dismiss(self, reason: bytes) -> None:
        """Closes the connection at once; sends `reason` first if no other answer has started."""
        unsent = self.transport.get_write_buffer_size()
        may_answer = self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and not unsent
        if may_answer and not self.transport.is_closing():
            self.transport.write(reason)
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

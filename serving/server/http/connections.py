"""HTTP connections that wait for their clients: how many there may be, and for how long.

uvicorn has no time limit for headers or bodies, and answers the connection over its limit with an
error, so that idle connections shut everybody else out. Here the one that has waited longest goes.
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
    """The connections of one server. All methods are for its event loop.

    Args:
        limits: `connections`, `arrival_seconds` and `answer_seconds` hold here.
        metrics: told how many there are, and which were refused.
    """

    def __init__(self, limits: Limits, metrics: Metrics):
        self._limits, self._metrics = limits, metrics
        self._waiting: OrderedDict[Connection, float] = OrderedDict()  # -> since when.
        self._open = 0
        self._sweep: asyncio.TimerHandle | None = None

    def protocol(self) -> functools.partial[Connection]:
        """What uvicorn makes a connection with: for its setting `http`."""
        return functools.partial(Connection, self)

    def opened(self, connection: Connection) -> None:
        """Counts a connection in; one that waits makes room where there is none."""
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
        """Counts a connection out."""
        self._open -= 1
        self._metrics.connections.set(value=self._open)
        self._waiting.pop(connection, None)

    def wait(self, connection: Connection) -> None:
        """From now on it is the client's turn: to send a request, and to fetch the last answer."""
        self._waiting.pop(connection, None)
        self._waiting[connection] = time.monotonic()
        if self._sweep is None:
            self._sweep = connection.loop.call_later(1.0, self._end_slow, connection.loop)

    def stalled(self, connection: Connection) -> None:
        """The client does not fetch its answer as fast as it is sent: its time begins, once."""
        if connection not in self._waiting:
            self.wait(connection)

    def busy(self, connection: Connection) -> None:
        """Its request is complete: it is the server's turn."""
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
    """uvicorn's connection, which tells `Connections` whose turn it is."""

    def __init__(self, connections: Connections, *arguments: Any, **named: Any):
        super().__init__(*arguments, **named)
        self._all = connections
        self._half_closed = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._all.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._all.closed(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._serves() and not self.cycle.response_started:
            self._all.busy(self)

    def handle_events(self) -> None:
        super().handle_events()
        names = {name for name, _ in self.headers or ()}
        if {b"content-length", b"transfer-encoding"} <= names:
            # Another server on the way may see the request end elsewhere, and let what follows
            # pass as part of it (RFC 9112, section 6.3).
            self.cycle.keep_alive = False

    def eof_received(self) -> bool:
        """Keeps the connection open while a client that sends no more waits for its answer."""
        self._half_closed = self._serves()
        if self._half_closed:
            self._show_who_left()
        return self._half_closed

    def _show_who_left(self) -> None:
        """Sends an interim answer again and again until the answer is there.

        A client that left altogether looks like one that only sends no more, until the server
        writes: TCP then resets the connection, which the next write finds out.
        """
        cycle = self.cycle
        if cycle.response_started or self.transport.is_closing():
            return
        if self.scope["http_version"] == "1.1":  # HTTP/1.0 knows no interim answers.
            self.transport.write(CONTINUE)
            self.loop.call_later(CONTINUE_SECONDS, self._show_who_left)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._serves():  # A request that was sent ahead is begun at once.
            return
        if self._half_closed:
            self.transport.close()
        else:
            self._all.wait(self)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._all.stalled(self)

    def is_fetched(self) -> bool:
        """Whether an answer is on its way, and the client has not all of it."""
        return self._serves() or self.transport.get_write_buffer_size() > 0

    def _serves(self) -> bool:
        cycle = self.cycle
        return cycle is not None and not cycle.response_complete and not cycle.more_body

    def dismiss(self, reason: bytes) -> None:
        """Ends the connection at once; with an answer, where one is due and fits."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            if not self.transport.get_write_buffer_size() and not self.transport.is_closing():
                self.transport.write(reason)
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

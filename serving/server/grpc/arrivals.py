"""A limit on the number of gRPC messages that arrive at the same time.

gRPC delivers whole messages, so the bytes of an incomplete one cannot be counted here. The number
of calls that are read at the same time bounds them. A call that is not read yet receives at most
its first window, which is 64 KiB.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.wire.errors import TIMEOUTS, ServingError

PATIENCE_SECONDS = 1.0  # A slower message is given up if another one waits.


class Arrivals:
    """Reads the messages of calls, within `limits`. Call all methods in one event loop.

    As many are read at the same time as fit into the memory of all requests; the others wait. While
    others wait, the message that has taken longest is given up.
    """

    def __init__(self, limits: Limits):
        self._seconds = limits.arrival_seconds
        self._free = max(1, limits.memory_bytes // limits.message_bytes)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._reading: dict[object, None] = {}  # The oldest is first.

    async def read(self, receive: Callable[[], Awaitable[Any]]) -> Any:
        """Returns the result of `receive`.

        Raises:
            ServingError: DEADLINE_EXCEEDED, if it takes too long.
        """
        end = time.monotonic() + self._seconds
        await self._enter()
        mine = object()
        self._reading[mine] = None
        read = asyncio.ensure_future(receive())
        try:
            while not read.done():
                left = max(0.0, end - time.monotonic())
                await asyncio.wait({read}, timeout=min(left, PATIENCE_SECONDS))
                must_go = self._waiting and next(iter(self._reading)) is mine
                if not read.done() and (must_go or time.monotonic() >= end):
                    raise _late()
            return read.result()
        finally:
            read.cancel()
            del self._reading[mine]
            self._leave()

    async def _enter(self) -> None:
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait_for(asyncio.shield(turn), self._seconds)
        except BaseException as error:
            if turn.done():  # The turn came at the same moment; pass it on.
                self._leave()
            else:
                self._waiting.remove(turn)
            if isinstance(error, TIMEOUTS):
                raise _late() from error
            raise

    def _leave(self) -> None:
        if self._waiting:
            self._waiting.popleft().set_result(None)
        else:
            self._free += 1


def _late() -> ServingError:
    return ServingError("DEADLINE_EXCEEDED", "The request did not arrive in time")

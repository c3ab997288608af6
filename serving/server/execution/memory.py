"""A limit on the memory of all running requests together."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tf_sg2.serving.server.wire.errors import ServingError


class Budget:
    """The memory that all requests share.

    Args:
        most_bytes: the limit.
    """

    def __init__(self, most_bytes: int):
        self.most_bytes = self.left = most_bytes
        self.lock = threading.Lock()  # Guards `left` and all holds.

    def hold(self, code: str) -> Hold:
        """Returns an empty hold; `code` is the error code when the memory is full."""
        return Hold(self, code)


class Hold:
    """The memory of one request; `release`, or the end of the `with` block, gives it back.

    After a client has disconnected, work on its request may go on in another thread. It ends at its
    next `add`.
    """

    def __init__(self, budget: Budget, code: str):
        self._budget, self._code, self._size = budget, code, 0
        self._at_release: list[Callable[[], None]] = []
        self._released = False

    def add(self, size: int) -> None:
        """Takes `size` more bytes; a negative `size` gives bytes back.

        Raises:
            ServingError: with the hold's code, if the memory is full; CANCELLED after `release`.
        """
        with self._budget.lock:
            if self._released:
                raise ServingError("CANCELLED", "The request was given up")
            left = self._budget.left - size
            if left < 0:
                raise ServingError(self._code, self._no_room(size))
            self._budget.left = left
            self._size += size

    def resize(self, size: int) -> None:
        """Changes the hold to `size` bytes; raises like `add`."""
        self.add(size - self._size)

    def at_release(self, call: Callable[[], None]) -> None:
        """Calls `call` once at the release; at once, if the hold has been released."""
        with self._budget.lock:
            if not self._released:
                self._at_release.append(call)
                return
        call()

    def hand_over(self, size: int) -> Hold:
        """Returns a new hold, which takes over `size` bytes and all calls at release."""
        other = Hold(self._budget, self._code)
        with self._budget.lock:
            other._size, self._size = size, self._size - size
            other._at_release, self._at_release = self._at_release, []
        return other

    def release(self) -> None:
        """Gives all memory back; a second call does nothing."""
        with self._budget.lock:
            self._budget.left += self._size
            self._size, self._released = 0, True
            calls, self._at_release = self._at_release, []
        for call in calls:
            call()

    def _no_room(self, size: int) -> str:
        needed = self._size + size
        if needed > self._budget.most_bytes:
            return (
                f"The request needs {needed} bytes of memory, over the "
                f"{self._budget.most_bytes} set aside for all requests; send a smaller one"
            )
        return "The requests in work fill the memory set aside for them; try again"

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

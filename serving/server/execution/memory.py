"""A bound on the memory that requests in work may take together, whatever their number."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tf_sg2.serving.server.wire.errors import ServingError


class Budget:
    """Bytes that all requests share.

    Args:
        most_bytes: what they may hold together.
    """

    def __init__(self, most_bytes: int):
        self.most_bytes = self.left = most_bytes
        self.lock = threading.Lock()  # Of `left`, and of all holds.

    def hold(self, code: str) -> Hold:
        """An empty share; `code` is the error of the request for which there is no room."""
        return Hold(self, code)


class Hold:
    """One request's share. Leaving the `with` block gives it back, and so does `release`.

    Work on the request may go on in another thread after that, because its client went away. It
    ends at its next `add`.
    """

    def __init__(self, budget: Budget, code: str):
        self._budget, self._code, self._size = budget, code, 0
        self._at_release: list[Callable[[], None]] = []
        self._released = False

    def add(self, size: int) -> None:
        """Takes `size` bytes more; gives some back, if `size` is negative.

        Raises:
            ServingError: of the share's code, if there is no room; CANCELLED after `release`.
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
        """Makes it a share of `size` bytes. Raises as `add` does."""
        self.add(size - self._size)

    def at_release(self, call: Callable[[], None]) -> None:
        """Has `call` called once, when the share is given back: at once, if it has been."""
        with self._budget.lock:
            if not self._released:
                self._at_release.append(call)
                return
        call()

    def hand_over(self, size: int) -> Hold:
        """A new share that takes over `size` of the bytes, and all calls."""
        other = Hold(self._budget, self._code)
        with self._budget.lock:
            other._size, self._size = size, self._size - size
            other._at_release, self._at_release = self._at_release, []
        return other

    def release(self) -> None:
        """Gives everything back, for good. A second call does nothing."""
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

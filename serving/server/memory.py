"""A bound on the memory that requests in work may take together, whatever their number."""

from __future__ import annotations

import threading

from tf_sg2.serving.server.status import ServingError


class Budget:
    """Bytes that all requests share.

    Args:
        most_bytes: what they may hold together.
    """

    def __init__(self, most_bytes: int):
        self._left = most_bytes
        self._lock = threading.Lock()

    def hold(self, code: str) -> Hold:
        """An empty share; `code` is the error of the request for which there is no room."""
        return Hold(self, code)

    def take(self, size: int) -> bool:
        """Takes `size` bytes, or none if they are not there."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give(self, size: int) -> None:
        """Gives bytes back."""
        with self._lock:
            self._left += size


class Hold:
    """One request's share. Leaving the `with` block gives it back, unless `kept` is set: then the
    one who set it calls `release`."""

    def __init__(self, budget: Budget, code: str):
        self._budget, self._code, self._size = budget, code, 0
        self.kept = False

    def add(self, size: int) -> None:
        """Takes `size` bytes more.

        Raises:
            ServingError: of the share's code, if there is no room.
        """
        if not self._budget.take(size):
            raise ServingError(
                self._code, "The requests in work fill the memory set aside for them; try again"
            )
        self._size += size

    def release(self) -> None:
        """Gives everything back. A second call does nothing."""
        size, self._size = self._size, 0
        self._budget.give(size)

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.kept:
            self.release()

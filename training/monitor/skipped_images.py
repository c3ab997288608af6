"""Images that vanish or rot while a run goes on, where they are to be skipped."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tf_sg2.errors import InputError

NAMED = 20  # So many are named; beyond, they are counted alone.


class SkippedImages:
    """Counts the times that an image could not be read, and names each image once. Thread safe.

    Args:
        say: is told of each.
    """

    def __init__(self, say: Callable[[str], None]):
        self.count = 0
        self._say = say
        self._known: set[int] = set()
        self._lock = threading.Lock()

    def __call__(self, index: int, error: InputError) -> None:
        with self._lock:
            self.count += 1
            new = index not in self._known and len(self._known) < NAMED
            if new:
                self._known.add(index)
                last = "; more are counted, not named" if len(self._known) == NAMED else ""
        if new:
            self._say(f"image {index} is skipped: {error}{last}")

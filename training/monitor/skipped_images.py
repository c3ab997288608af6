"""Counts and names the images that cannot be read during a run."""

from __future__ import annotations

import threading
from collections.abc import Callable

from tf_sg2.errors import InputError

MOST_NAMED = 20  # Further images are only counted.


class SkippedImages:
    """Counts reads that failed, and names each image once. Thread-safe.

    Args:
        say: prints a sentence.
    """

    def __init__(self, say: Callable[[str], None]):
        self.count = 0
        self._say = say
        self._known: set[int] = set()
        self._lock = threading.Lock()

    def __call__(self, index: int, error: InputError) -> None:
        """Counts one failed read of image `index`."""
        with self._lock:
            self.count += 1
            is_new = index not in self._known and len(self._known) < MOST_NAMED
            if is_new:
                self._known.add(index)
                ending = "; more are counted, not named" if len(self._known) == MOST_NAMED else ""
        if is_new:
            self._say(f"image {index} is skipped: {error}{ending}")

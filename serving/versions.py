"""Version numbers, which are names of folders and parts of URLs; for export and server."""

from __future__ import annotations

LARGEST_VERSION = 2**63 - 1  # TensorFlow Serving's are int64.


def version_number(text: str) -> int | None:
    """Returns the version number in `text`; None if it is no number, or larger than int64."""
    if not (text.isascii() and text.isdigit()):
        return None
    number = int(text.lstrip("0")[:20] or 0)  # A number of 20 digits is too large already.
    return number if number <= LARGEST_VERSION else None

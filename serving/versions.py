"""Version numbers, which are folder names and parts of paths: for the export and the server."""

from __future__ import annotations

LARGEST_VERSION = 2**63 - 1  # TensorFlow Serving's are int64.


def version_number(text: str) -> int | None:
    """Returns the version that `text` names; None where it names none, or one over int64."""
    if not (text.isascii() and text.isdigit()):
        return None
    number = int(text.lstrip("0")[:20] or 0)  # 20 digits are too many already.
    return number if number <= LARGEST_VERSION else None

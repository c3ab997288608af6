"""Whole numbers in what users write: sizes, counts, seeds, devices."""

from __future__ import annotations

_MOST_DIGITS = 19  # Every int64 fits; Python refuses to read thousands of digits.


def whole_number(text: str) -> int | None:
    """Returns the number that `text` writes in ASCII digits, at most 19 of them; otherwise None.

    `str.isdigit` alone accepts "²", which `int` refuses.
    """
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    return None

"""Whole numbers in texts of users: sizes, counts, seeds, devices."""

from __future__ import annotations

_MOST_DIGITS = 19  # Enough for every int64. Python cannot convert thousands of digits.


def whole_number(text: str) -> int | None:
    """Returns the number in `text`, or None if it is not 1 to 19 ASCII digits.

    `str.isdigit` is not enough: it accepts "²", which `int` refuses.
    """
    if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS:
        return int(text)
    return None

"""The one exception that a user is meant to read: one sentence, no traceback."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one clear sentence that says what is wrong, where, and what to do.
    Commands print it behind `error:` and end with exit status 2.
    """


def printable(text: str) -> str:
    """The text with file names' bytes that are not UTF-8 escaped, which would fail to print."""
    return text.encode("utf-8", "backslashreplace").decode()


def first_line(error: Exception) -> str:
    """The first line of somebody else's error, for a sentence of ours; its type if it is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

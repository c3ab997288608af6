"""The exception for unusable input: users see one sentence and no traceback."""

from __future__ import annotations


class InputError(ValueError):
    """Unusable input of the user: a flag, a file, an argument.

    The message is one clear sentence that says what is wrong, where, and what to do. Commands print
    it after `error:` and end with exit status 2.
    """


def printable(text: str) -> str:
    """Returns the text with bytes of file names that are not UTF-8 escaped, so that it prints."""
    return text.encode("utf-8", "backslashreplace").decode()


def first_line(error: Exception) -> str:
    """Returns the first line of a library's error, or the error's type if it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

"""The one exception that a user is meant to read: one sentence, no traceback."""

from __future__ import annotations


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one clear sentence that says what is wrong, where, and what to do.
    Commands print it behind `error:` and end with exit status 2.
    """


def printable(text: str, keep: str = "") -> str:
    """Returns the text with an escape for each character that does not print.

    Such characters are line breaks, control characters and bytes of file names that are not UTF-8.

    Args:
        text: any text.
        keep: characters that stay as they are.
    """
    return "".join(
        char
        if char.isprintable() or char in keep
        else char.encode("unicode_escape", "backslashreplace").decode()
        for char in text
    )


def first_line(error: Exception) -> str:
    """The first line of somebody else's error, for a sentence of ours; its type if it is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

"""The exception for unusable input: users see one sentence and no traceback."""

from __future__ import annotations


class InputError(ValueError):
    """Unusable input of the user: a flag, a file, an argument.

    The message is one clear sentence that says what is wrong, where, and what to do. Commands print
    it after `error:` and end with exit status 2.
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
    """Returns the first line of a library's error, or the error's type if it has no text."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

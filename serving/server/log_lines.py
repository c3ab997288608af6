"""Lines of the log: one record a line, whatever names and errors hold."""

from __future__ import annotations

import logging


def one_line(text: str) -> str:
    """Returns the text with escapes for line breaks and all else that does not print."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


class OneLineFormatter(logging.Formatter):
    """Formats a record as one line; only a traceback follows it on lines of its own.

    A model's name may hold a line break, and what follows would look like a record.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

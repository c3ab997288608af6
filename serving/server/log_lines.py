"""The format of the log: one line per record, whatever model names and errors contain."""

from __future__ import annotations

import logging

from tf_sg2.errors import printable


class OneLineFormatter(logging.Formatter):
    """Formats a record as one line; only a traceback adds lines.

    A model's name may contain a line break. Unescaped, the rest would look like another record.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - overrides.
        """Returns the record's line."""
        return printable(super().formatMessage(record))

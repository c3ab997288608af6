"""Errors as both protocols know them: a canonical code and a sentence."""

from __future__ import annotations

import asyncio
import concurrent.futures

TIMEOUTS = (TimeoutError, asyncio.TimeoutError, concurrent.futures.TimeoutError)
LONGEST_MESSAGE = 1024  # Bytes of UTF-8, as in TensorFlow Serving.

SESSION_HEADING = "Graph execution error:\n\n"

# Canonical code -> (its number, HTTP status).
CODES = {
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}
NAMES = {number: name for name, (number, _) in CODES.items()}


class ServingError(Exception):
    """A request that cannot be answered, for a reason that its sender is told.

    Attributes:
        code: name of the canonical code, such as "INVALID_ARGUMENT".
        message: the sentence, at most `LONGEST_MESSAGE` bytes and a mark of the cut.
        counted: whether the metrics know of it.
    """

    counted = False

    def __init__(self, code: str, message: str):
        encoded = message.encode(errors="replace")  # A request may name lone surrogates.
        message = encoded[:LONGEST_MESSAGE].decode(errors="ignore")
        if len(encoded) > LONGEST_MESSAGE:
            message += "...TRUNCATED"
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def number(self) -> int:
        """The canonical code as gRPC and TensorFlow number it."""
        return CODES[self.code][0]

    @property
    def http_status(self) -> int:
        """The HTTP status that TensorFlow Serving gives the code."""
        return CODES[self.code][1]


def invalid_argument(message: str) -> ServingError:
    """The error for a request that is wrong in itself."""
    return ServingError("INVALID_ARGUMENT", message)


def task_too_large(rows: int, most: int) -> ServingError:
    """The error for a request of more rows than can be computed."""
    return invalid_argument(f"Task size {rows} is larger than maximum input batch size {most}")


def from_exception(error: BaseException) -> ServingError:
    """What a sender is told about any exception.

    TensorFlow's own errors keep code and text; of others only the kind is told, because their text
    may speak of the server rather than of the request.
    """
    if isinstance(error, ServingError):
        return error
    number = getattr(error, "error_code", None)  # tf.errors.OpError
    if number in NAMES:
        # Python's session puts a heading over what the C++ runtime says.
        return ServingError(NAMES[number], error.message.removeprefix(SESSION_HEADING))
    if isinstance(error, MemoryError):
        return ServingError("RESOURCE_EXHAUSTED", "Not enough memory to answer the request")
    # Before Python 3.11 the timeouts of either kind of future are classes of their own.
    if isinstance(error, TIMEOUTS):
        return ServingError("DEADLINE_EXCEEDED", "Timed out")
    return ServingError("INTERNAL", f"Internal error: {type(error).__name__}")


def without_frames(error: BaseException) -> None:
    """Drops an error's traceback and causes, once it is dealt with.

    Their frames hold the data of the request, often in a cycle with the error, so that only the
    garbage collector would free it.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None

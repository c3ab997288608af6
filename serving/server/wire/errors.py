"""Errors in both protocols: a canonical code and a message."""

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
    """A request that cannot be answered, with the reason for its sender.

    Attributes:
        code: name of the canonical code, such as "INVALID_ARGUMENT".
        message: the reason, cut after `LONGEST_MESSAGE` bytes.
        counted: whether the metrics have counted it.
    """

    counted = False

    def __init__(self, code: str, message: str):
        encoded = message.encode(errors="replace")  # A request may contain lone surrogates.
        message = encoded[:LONGEST_MESSAGE].decode(errors="ignore")
        if len(encoded) > LONGEST_MESSAGE:
            message += "...TRUNCATED"
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def number(self) -> int:
        """Returns the number of the canonical code in gRPC and TensorFlow."""
        return CODES[self.code][0]

    @property
    def http_status(self) -> int:
        """Returns TensorFlow Serving's HTTP status for the code."""
        return CODES[self.code][1]


def invalid_argument(message: str) -> ServingError:
    """Returns the error for a request that is wrong."""
    return ServingError("INVALID_ARGUMENT", message)


def task_too_large(rows: int, most: int) -> ServingError:
    """Returns the error for a request with too many rows."""
    return invalid_argument(f"Task size {rows} is larger than maximum input batch size {most}")


def from_exception(error: BaseException) -> ServingError:
    """Returns the error for the sender of a request that raised an exception.

    TensorFlow's errors keep code and text. Other exceptions show only their type, because their
    text may be about the server instead of the request.
    """
    if isinstance(error, ServingError):
        return error
    number = getattr(error, "error_code", None)  # tf.errors.OpError
    if number in NAMES:
        # Python's session adds a heading to the message of the C++ runtime.
        return ServingError(
            NAMES[number], getattr(error, "message", "").removeprefix(SESSION_HEADING)
        )
    if isinstance(error, MemoryError):
        return ServingError("RESOURCE_EXHAUSTED", "Not enough memory to answer the request")
    # Before Python 3.11, each kind of future has its own timeout class.
    if isinstance(error, TIMEOUTS):
        return ServingError("DEADLINE_EXCEEDED", "Timed out")
    return ServingError("INTERNAL", f"Internal error: {type(error).__name__}")


def without_frames(error: BaseException) -> None:
    """Removes the traceback and the causes of a handled error.

    Their frames refer to the data of the request, often in a reference cycle with the error. Only
    the garbage collector would free such data.
    """
    error.__traceback__ = error.__cause__ = error.__context__ = None

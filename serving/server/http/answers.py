"""The HTTP answers of the REST API, and the form of its errors."""

from __future__ import annotations

import json

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE_BYTES = 1 << 18
JSON_TYPE, TEXT_TYPE = "application/json", "text/plain"


class Answer(Response):
    """A response that sends a long body in pieces.

    Starlette sends a body whole, and uvicorn would copy all of it into the socket's buffer. Each
    piece waits until the client has fetched most of those before it.
    """

    def __init__(self, body: bytes | bytearray, status: int = 200, kind: str = JSON_TYPE):
        super().__init__(memoryview(body), status, {"content-type": kind})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends status, headers and body."""
        head = {"type": "http.response.start", "status": self.status_code}
        await send({**head, "headers": self.raw_headers})
        for start in range(0, max(1, len(self.body)), PIECE_BYTES):
            end = start + PIECE_BYTES
            piece, more = bytes(self.body[start:end]), end < len(self.body)
            await send({"type": "http.response.body", "body": piece, "more_body": more})


def error_body(message: str) -> bytes:
    """Returns the body of an error in TensorFlow Serving's form."""
    return json.dumps({"error": message}).encode()


def error_answer(status: int, message: str) -> Answer:
    """Returns an error in TensorFlow Serving's form."""
    return Answer(error_body(message), status)

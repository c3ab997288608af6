"""The form of an HTTP answer, which the REST half and the page share."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

PIECE_BYTES = 1 << 18
JSON_TYPE, TEXT_TYPE = b"application/json", b"text/plain"


def error_body(message: str) -> bytes:
    """The body of a refusal, in TensorFlow Serving's form."""
    return json.dumps({"error": message}).encode()


async def send_answer(
    send: Callable[[dict], Awaitable[None]],
    method: str,
    answer: tuple[int, bytes | bytearray, bytes],
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Sends status, body and content type; to the method HEAD, all but the body.

    A long body goes in pieces, each when the client has fetched most of those before it.
    """
    status, body, kind = answer
    length = str(len(body)).encode()
    headers = [(b"content-type", kind), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    view = memoryview(b"" if method == "HEAD" else body)
    for start in range(0, max(1, len(view)), PIECE_BYTES):
        piece, more = bytes(view[start : start + PIECE_BYTES]), start + PIECE_BYTES < len(view)
        await send({"type": "http.response.body", "body": piece, "more_body": more})

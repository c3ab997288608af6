"""The form of an HTTP answer, which the REST half and the page share."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence

JSON_TYPE, TEXT_TYPE = b"application/json", b"text/plain"


def error_body(message: str) -> bytes:
    """The body of a refusal, in TensorFlow Serving's form."""
    return json.dumps({"error": message}).encode()


async def send_answer(
    send: Callable[[dict], Awaitable[None]],
    method: str,
    answer: tuple[int, bytes, bytes],
    headers: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """Sends status, body and content type; to the method HEAD, all but the body."""
    status, body, kind = answer
    length = str(len(body)).encode()
    headers = [(b"content-type", kind), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})

"""Reads the body of a REST request, within a limit on its length before and after inflation."""

from __future__ import annotations

import re
import zlib

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from tf_sg2.serving.server.execution.memory import Hold
from tf_sg2.serving.server.wire.errors import invalid_argument

PIECE_BYTES = 1 << 16
MOST_MEMBERS = 1000  # Each member costs a copy of at most one piece.
ZEROS = re.compile(rb"\0*")


class BodyTooLargeError(Exception):
    """The body is larger than the limit."""


async def read(
    receive: Receive,
    headers: dict[bytes, bytes],
    most_bytes: int,
    hold: Hold,
) -> bytes:
    """Returns the body as sent; `hold` is charged for each piece as it arrives.

    Raises:
        BodyTooLargeError: for a body over `most_bytes`; before reading, if its length is given.
        ClientDisconnect: if the client disconnected.
        ServingError: if the memory for all requests is full.
    """
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:20]) > most_bytes:
        raise BodyTooLargeError
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        piece = message.get("body", b"")
        if len(body) + len(piece) > most_bytes:
            raise BodyTooLargeError
        hold.add(len(piece))
        body += piece
        if not message.get("more_body"):
            return bytes(body)


def is_gzip(headers: dict[bytes, bytes]) -> bool:
    """Returns whether the body is compressed."""
    return headers.get(b"content-encoding", b"").strip().lower() in (b"gzip", b"x-gzip")


def inflated(body: bytes | bytearray, most_bytes: int, hold: Hold) -> bytearray:
    """Returns the content of a gzip body; never inflates more than the limit.

    A body may have several members, and zeros after each.

    Raises:
        BodyTooLargeError: for a body that grows over `most_bytes`.
        ServingError: INVALID_ARGUMENT for a body that is not gzip or has too many members. Also if
            the memory for all requests is full, or the request was cancelled.
    """
    out = bytearray()
    at = members = 0
    while at < len(body):
        members += 1
        if members > MOST_MEMBERS:
            raise invalid_argument(f"The body has more than {MOST_MEMBERS} gzip members")
        zeros = ZEROS.match(body, _inflate_member(body, at, out, most_bytes, hold))
        assert zeros is not None  # It also matches no zeros.
        at = zeros.end()
    return out


def _inflate_member(
    body: bytes | bytearray, at: int, out: bytearray, most_bytes: int, hold: Hold
) -> int:
    """Appends the content of the member at an offset to `out`; returns the offset after it."""
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    rest: bytes | bytearray = b""
    while not stream.eof:
        if not rest:
            rest = body[at : at + PIECE_BYTES]
            at += len(rest)
        try:
            piece = stream.decompress(rest, PIECE_BYTES)
        except zlib.error as error:
            raise invalid_argument("The body is not gzip, as its Content-Encoding says") from error
        rest = stream.unconsumed_tail
        if not piece and not rest and not stream.eof and at >= len(body):
            raise invalid_argument("The body ends within its gzip stream")
        if len(out) + len(piece) > most_bytes:
            raise BodyTooLargeError
        hold.add(len(piece))
        out += piece
    return at - len(stream.unused_data)

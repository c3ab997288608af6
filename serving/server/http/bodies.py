"""Reads the body of a REST request, within bounds on its length, inflated or not."""

from __future__ import annotations

import re
import zlib
from collections.abc import Awaitable, Callable

from tf_sg2.serving.server.execution.memory import Hold
from tf_sg2.serving.server.wire.errors import invalid_argument

PIECE_BYTES = 1 << 16
MOST_MEMBERS = 1000  # Each costs a copy of up to a piece.
ZEROS = re.compile(rb"\0*")


class TooLong(Exception):
    """The body is longer than allowed."""


class Gone(Exception):
    """The client went away before the body was complete."""


async def read(
    receive: Callable[[], Awaitable[dict]],
    headers: dict[bytes, bytes],
    most_bytes: int,
    hold: Hold,
) -> bytes:
    """Returns the body as it was sent; what is kept of it is counted in `hold` as it comes.

    Raises:
        TooLong: for a body over `most_bytes`, before it is read where its length is declared.
        Gone: if the client went away.
        ServingError: if there is no room for it.
    """
    declared = headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared[:20]) > most_bytes:
        raise TooLong
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        piece = message.get("body", b"")
        if len(body) + len(piece) > most_bytes:
            raise TooLong
        hold.add(len(piece))
        body += piece
        if not message.get("more_body"):
            return bytes(body)


def is_gzip(headers: dict[bytes, bytes]) -> bool:
    """Whether the body comes compressed."""
    return headers.get(b"content-encoding", b"").strip().lower() in (b"gzip", b"x-gzip")


def inflated(body: bytes, most_bytes: int, hold: Hold) -> bytearray:
    """Returns what a gzip body holds. Never more than the bound is inflated, whatever it claims.

    It may have several members, and zeros after each.

    Raises:
        TooLong: for a body that grows over `most_bytes`.
        ServingError: INVALID_ARGUMENT for a body that is not gzip, or has too many members; or if
            there is no room for it, or nobody waits for it any more.
    """
    out = bytearray()
    at = members = 0
    while at < len(body):
        members += 1
        if members > MOST_MEMBERS:
            raise invalid_argument(f"The body has more than {MOST_MEMBERS} gzip members")
        at = ZEROS.match(body, _inflate_member(body, at, out, most_bytes, hold)).end()
    return out


def _inflate_member(body: bytes, at: int, out: bytearray, most_bytes: int, hold: Hold) -> int:
    """Appends what the member at an offset holds to `out`; returns the offset after it."""
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    rest = b""
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
            raise TooLong
        hold.add(len(piece))
        out += piece
    return at - len(stream.unused_data)

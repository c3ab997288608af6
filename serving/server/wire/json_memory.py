"""Bounds the memory of a parsed JSON body, so that it is charged before parsing."""

from __future__ import annotations

# Bytes in CPython, at most. tests/serving/test_serve_memory.py measures them.
SLOT = 10  # A slot in a list; lists grow by an eighth.
LIST = 88  # With four slots.
OBJECT = 64
MEMBER = 125  # The most per member is a table with one member.
NUMBER = 32
STRING = 120  # Text and bytes, both without their characters.
ESCAPE = b"\\u"


def document_bytes(body: bytes | bytearray) -> int:
    """Returns an upper bound on the memory of a body's text and document together.

    It counts brackets, commas and quotes, which is fast. Those inside strings count too, so the
    bound of text with many of them is high.
    """
    lists, objects = body.count(b"["), body.count(b"{")
    members, strings = body.count(b":"), body.count(b'"') // 2
    values = body.count(b",") + lists + objects + 1
    width = 1 if body.isascii() else 4  # Bytes per character, at most.
    inner = 4 if ESCAPE in body else width
    return (
        values * SLOT
        + (values - lists - objects) * NUMBER
        + lists * LIST
        + objects * OBJECT
        + members * MEMBER
        + strings * STRING
        + len(body) * (width + 2 * inner)
    )

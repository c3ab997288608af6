"""How much memory the document of a JSON body takes, so that it is charged before it is made."""

from __future__ import annotations

# Bytes that CPython takes at most. tests/serving/test_serve_memory.py measures them.
SLOT = 10  # Of a list, in its container; lists grow by an eighth.
LIST = 88  # With room for four.
OBJECT = 64
MEMBER = 125  # A table of a single member is the most for one.
NUMBER = 32
STRING = 120  # Without its characters; twice: as text, and as bytes for a tensor.
ESCAPE = b"\\u"


def document_bytes(body: bytes) -> int:
    """Returns a bound on what the text and the document of a body take, together.

    It counts brackets, commas and quotes, which is quick; those inside strings count too, so text
    that is full of them seems larger than it is.
    """
    lists, objects = body.count(b"["), body.count(b"{")
    members, strings = body.count(b":"), body.count(b'"') // 2
    values = body.count(b",") + lists + objects + 1
    width = 1 if body.isascii() else 4  # Of a character, if the widest is in one string.
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

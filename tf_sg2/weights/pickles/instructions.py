"""The byte stream of a pickle as instructions: a name, and the argument that follows it.

Source: the documentation of Python's module `pickletools`, which lists every instruction.
"""

from __future__ import annotations

import pickletools
import struct
from collections.abc import Callable, Iterator
from typing import Any

from tf_sg2.weights.pickles.errors import DamagedError, UnreadableError

# Longest name or text number. Python itself needs quadratic time for long texts of digits.
LONGEST_LINE = 1000


class Reader:
    """Reads a file's bytes in order, and never past their end. It copies only what it returns."""

    def __init__(self, data: bytes | memoryview):
        self.data = memoryview(data)
        self.position = 0

    @property
    def left(self) -> int:
        """Bytes that were not read yet."""
        return len(self.data) - self.position

    def take(self, count: int) -> memoryview:
        """Returns the next `count` bytes.

        Raises:
            DamagedError: if fewer are left.
        """
        end = self.position + count
        if not self.position <= end <= len(self.data):
            raise DamagedError("the file ends early")
        part = self.data[self.position : end]
        self.position = end
        return part

    def line(self) -> str:
        """Returns the text up to the next line break, without it."""
        part = bytes(self.data[self.position : self.position + LONGEST_LINE])
        length = part.find(b"\n")
        if length < 0:
            raise DamagedError("a line has no end")
        self.position += length + 1
        return part[:length].decode("utf-8")

    def number(self, format_: str) -> Any:
        """Returns the next number; `format_` is of the module `struct`."""
        return struct.unpack(format_, self.take(struct.calcsize(format_)))[0]


def _number(format_: str) -> Callable[[Reader], Any]:
    return lambda reader: reader.number(format_)


def _bytes(length: str) -> Callable[[Reader], bytes]:
    return lambda reader: bytes(reader.take(reader.number(length)))


def _text(length: str, encoding: str = "utf-8") -> Callable[[Reader], str]:
    def read(reader: Reader) -> str:
        return str(reader.take(reader.number(length)), encoding)

    return read


def _long(reader: Reader) -> int:
    return int.from_bytes(reader.take(reader.number("<B")), "little", signed=True)


def _integer_line(reader: Reader) -> int | bool:
    text = reader.line().removesuffix("L")
    return {"00": False, "01": True}[text] if text in ("00", "01") else int(text)


def _names(reader: Reader) -> tuple[str, str]:
    return reader.line(), reader.line()


# Instructions that push the argument which follows them in the file.
PUSHING: dict[str, Callable[[Reader], Any]] = {
    "BININT": _number("<i"),
    "BININT1": _number("<B"),
    "BININT2": _number("<H"),
    "INT": _integer_line,
    "LONG": _integer_line,
    "LONG1": _long,
    "BINFLOAT": _number(">d"),
    "BINUNICODE": _text("<I"),
    "SHORT_BINUNICODE": _text("<B"),
    "BINUNICODE8": _text("<Q"),
    "BINBYTES": _bytes("<I"),
    "SHORT_BINBYTES": _bytes("<B"),
    "BINBYTES8": _bytes("<Q"),
    # Texts of Python 2.
    "BINSTRING": _text("<i", "latin-1"),
    "SHORT_BINSTRING": _text("<B", "latin-1"),
}
# Other instructions that have an argument.
_WITH_ARGUMENT: dict[str, Callable[[Reader], Any]] = {
    "PROTO": _number("<B"),
    "FRAME": _number("<Q"),
    "GLOBAL": _names,
    "PUT": lambda reader: int(reader.line()),
    "BINPUT": _number("<B"),
    "LONG_BINPUT": _number("<I"),
    "GET": lambda reader: int(reader.line()),
    "BINGET": _number("<B"),
    "LONG_BINGET": _number("<I"),
}
_WITHOUT_ARGUMENT = set(
    "STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE EMPTY_DICT EMPTY_LIST EMPTY_TUPLE EMPTY_SET "
    "DICT LIST TUPLE TUPLE1 TUPLE2 TUPLE3 FROZENSET SETITEM SETITEMS APPEND APPENDS ADDITEMS "
    "MEMOIZE STACK_GLOBAL REDUCE NEWOBJ BUILD BINPERSID".split()
)
_ARGUMENTS = PUSHING | _WITH_ARGUMENT
_NAMES = {ord(opcode.code): opcode.name for opcode in pickletools.opcodes}


def instructions(reader: Reader) -> Iterator[tuple[str, Any]]:
    """Yields (name, argument or None) of each instruction up to STOP.

    Raises:
        DamagedError: if the stream ends early.
        UnreadableError: for an instruction that no file of weights needs.
    """
    while True:
        code = reader.take(1)[0]
        if code not in _NAMES:
            raise DamagedError("it holds a byte that is no pickle instruction")
        name = _NAMES[code]
        if name in _ARGUMENTS:
            yield name, _ARGUMENTS[name](reader)
        elif name in _WITHOUT_ARGUMENT:
            yield name, None
        else:
            raise UnreadableError(f"it holds the pickle instruction {name}")
        if name == "STOP":
            return

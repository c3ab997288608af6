"""Writes tiny ONNX models where the package `onnx` is not installed: one node, one input."""

from __future__ import annotations

FLOAT, INTS, INT = 1, 7, 2  # As the format numbers them.


def varint(value: int) -> bytes:
    digits = bytearray()
    while value > 127:
        digits.append(value & 127 | 128)
        value >>= 7
    return bytes([*digits, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, *parts: bytes | str) -> bytes:
    content = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(field << 3 | 2) + varint(len(content)) + content


def attribute(name: str, value) -> bytes:
    if isinstance(value, int):
        return message(5, message(1, name), number(3, value), number(20, INT))
    return message(5, message(1, name), *(number(8, v) for v in value), number(20, INTS))


def value_info(field: int, name: str, shape) -> bytes:
    dims = [message(1, message(2, d) if isinstance(d, str) else number(1, d)) for d in shape]
    tensor = message(1, number(1, FLOAT), message(2, *dims))
    return message(field, message(1, name), message(2, tensor))


def write(path, operation: str, shape, output_rank: int, **attributes) -> None:
    """A model `pixels` -> `hidden` (the operation) -> `out` (the same)."""
    node = [message(1, "pixels"), message(2, "hidden"), message(4, operation)]
    node += [attribute(name, value) for name, value in attributes.items()]
    copy = message(1, message(1, "hidden"), message(2, "out"), message(4, "Identity"))
    dims = [f"d{i}" for i in range(output_rank)]
    graph = [message(1, *node), copy, message(2, "tiny"), value_info(11, "pixels", shape)]
    graph.append(value_info(12, "out", dims))
    opset = message(8, number(2, 13))
    path.write_bytes(number(1, 8) + opset + message(7, *graph))

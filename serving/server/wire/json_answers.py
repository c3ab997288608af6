"""Converts arrays to the JSON of REST answers, in TensorFlow Serving's two formats.

The text is made from a piece of an array at a time. `json.dumps` would need a Python object per
element at the same time, which takes many times the memory of a large array.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping

import numpy as np
import tensorflow as tf

from tf_sg2.serving.server.execution.memory import Hold
from tf_sg2.serving.server.wire.errors import invalid_argument
from tf_sg2.serving.server.wire.tensors import held_bytes, type_name

UNSERVED = ("float16", "bfloat16", "uint16")
PIECE_BYTES = 1 << 20  # Memory for the strings of a piece, about.
ELEMENT_BYTES = 200  # Memory per number, as an array of characters and as a string.


def predictions(outputs: Mapping[str, np.ndarray], row_format: bool, hold: Hold) -> bytearray:
    """Returns the body of a predict answer.

    Args:
        outputs: arrays by output alias; strings as arrays of `bytes`.
        row_format: `{"predictions": [...]}`, one element per row; else `{"outputs": ...}`.
        hold: is charged for the body as it grows.

    Raises:
        ServingError: INVALID_ARGUMENT, if a type has no JSON form, or numbers of rows differ. Also
            if the memory for all requests is full, or the request was cancelled.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    for array in outputs.values():
        dtype = tf.dtypes.as_dtype(array.dtype)
        if dtype.name in UNSERVED or dtype.is_complex:
            raise invalid_argument(
                f"Failed to write JSON value for tensor type: {type_name(dtype)}"
            )
    body = _Body(hold)
    if row_format:
        body.add('{"predictions": ')
        _add_rows(body, outputs)
    else:
        body.add('{"outputs": ')
        _add_object(body, outputs)
    body.add("}")
    return body.text


class _Body:
    """The text so far."""

    def __init__(self, hold: Hold):
        self._hold, self.text = hold, bytearray()

    def add(self, piece: str) -> None:
        """Appends a piece, if there is memory for it."""
        self._hold.add(len(piece))
        self.text += piece.encode()


def _add_rows(body: _Body, outputs: Mapping[str, np.ndarray]) -> None:
    size = None
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if size is not None and size != len(array):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}"
            )
        size = len(array)
    body.add("[")
    step = _rows_in_a_piece(size or 0, outputs.values())
    for start in range(0, size or 0, step):
        if start:
            body.add(", ")
        rows = {name: array[start : start + step] for name, array in outputs.items()}
        if step > 1:
            body.add(", ".join(_row_texts(rows)))
        else:
            _add_object(body, {name: _row(array, 0) for name, array in rows.items()})
    body.add("]")


def _rows_in_a_piece(size: int, arrays: Iterable[np.ndarray]) -> int:
    total = sum(_text_bytes(array) for array in arrays)
    return max(1, size * PIECE_BYTES // max(total, 1))


def _text_bytes(array: np.ndarray) -> int:
    """Returns the memory of the strings of an array's elements, about."""
    size = 4 * held_bytes([array]) if array.dtype == object else 0
    return size + ELEMENT_BYTES * array.size


def _row_texts(outputs: Mapping[str, np.ndarray]) -> list[str]:
    """Returns the text of each row of small arrays."""
    columns = {}
    for name, array in outputs.items():
        elements = _elements(name, array)
        each = len(elements) // len(array)
        columns[name] = [
            _nested(elements[row * each : (row + 1) * each], array.shape[1:])
            for row in range(len(array))
        ]
    if len(columns) == 1:
        (rows,) = columns.values()
        return rows
    order = sorted(columns)
    return [
        f"{{{', '.join(f'{json.dumps(name)}: {columns[name][row]}' for name in order)}}}"
        for row in range(len(columns[order[0]]))
    ]


def _add_object(body: _Body, outputs: Mapping[str, np.ndarray]) -> None:
    """Appends arrays by name; a single array without its name."""
    if len(outputs) == 1:
        ((name, array),) = outputs.items()
        _add_array(body, name, array)
        return
    separator = "{"
    for name, array in sorted(outputs.items()):
        body.add(f"{separator}{json.dumps(name)}: ")
        _add_array(body, name, array)
        separator = ", "
    body.add("}")


def _add_array(body: _Body, name: str, array: np.ndarray) -> None:
    if not array.ndim or _text_bytes(array) <= PIECE_BYTES:
        body.add(_nested(_elements(name, array), array.shape))
        return
    step = _rows_in_a_piece(len(array), [array])
    separator = "["
    for start in range(0, len(array), step):
        body.add(separator)
        if step > 1:
            body.add(", ".join(_row_texts({name: array[start : start + step]})))
        else:
            _add_array(body, name, _row(array, start))
        separator = ", "
    body.add("]")


def _row(array: np.ndarray, index: int) -> np.ndarray:
    """Returns a row as an array, even if it is a single element."""
    return array[index : index + 1].reshape(array.shape[1:])


def _nested(elements: list[str], shape: tuple[int, ...]) -> str:
    """Returns elements in nested brackets of a shape."""
    for axis in range(len(shape) - 1, -1, -1):
        size = shape[axis]
        count = int(np.prod(shape[:axis], dtype=np.int64))
        elements = [
            f"[{', '.join(elements[index * size : (index + 1) * size])}]" for index in range(count)
        ]
    return elements[0]


def _elements(name: str, array: np.ndarray) -> list[str]:
    """Returns the JSON text of each element, in the order of the array."""
    flat = array.reshape(-1)
    dtype = tf.dtypes.as_dtype(array.dtype)
    if dtype.is_floating:
        return _decimals(flat)
    if dtype == tf.bool:
        return ["true" if value else "false" for value in flat.tolist()]
    if dtype != tf.string:
        return list(map(str, flat.tolist()))
    if name.endswith("_bytes"):
        return [f'{{"b64": "{base64.b64encode(value).decode()}"}}' for value in flat.tolist()]
    return [json.dumps(value.decode("utf-8", "replace")) for value in flat.tolist()]


def _decimals(flat: np.ndarray) -> list[str]:
    """Returns the shortest decimals that give the same float of the same width."""
    texts = flat.astype("U32").tolist()
    for index in np.flatnonzero(~np.isfinite(flat)).tolist():
        value = flat[index]
        texts[index] = "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return texts

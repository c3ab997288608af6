"""Arrays to the JSON of REST answers, in TensorFlow Serving's two formats."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from tf_sg2.serving.server.status import invalid_argument
from tf_sg2.serving.server.tensors import type_name

UNSERVED = ("float16", "bfloat16", "uint16")


def predictions(outputs: Mapping[str, np.ndarray], row_format: bool) -> bytes:
    """The body of a predict answer.

    Args:
        outputs: arrays by output alias; strings as arrays of `bytes`.
        row_format: `{"predictions": [...]}`, one element a row; else `{"outputs": ...}`.

    Raises:
        ServingError: INVALID_ARGUMENT, if a type has no JSON form, or rows do not fit together.
    """
    if not outputs:
        raise invalid_argument("Cannot convert empty tensor map to JSON")
    if row_format:
        return f'{{"predictions": {_rows(outputs)}}}'.encode()
    texts = {name: _nested(_elements(name, array), array.shape) for name, array in outputs.items()}
    if len(texts) == 1:
        (text,) = texts.values()
    else:
        text = _object(texts)
    return f'{{"outputs": {text}}}'.encode()


def _rows(outputs: Mapping[str, np.ndarray]) -> str:
    size = None
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid_argument(f"Tensor name: {name} has no shape information ")
        if size is not None and size != len(array):
            raise invalid_argument(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}"
            )
        size = len(array)
    columns = {}
    for name, array in outputs.items():
        elements = _elements(name, array)
        each = len(elements) // size if size else 0
        columns[name] = [
            _nested(elements[row * each : (row + 1) * each], array.shape[1:])
            for row in range(size or 0)
        ]
    if len(columns) == 1:
        (rows,) = columns.values()
    else:
        rows = [
            _object(dict(zip(columns, row, strict=True)))
            for row in zip(*columns.values(), strict=True)
        ]
    return f"[{', '.join(rows)}]"


def _object(members: Mapping[str, str]) -> str:
    inner = ", ".join(f"{json.dumps(name)}: {text}" for name, text in sorted(members.items()))
    return f"{{{inner}}}"


def _nested(elements: list[str], shape: tuple[int, ...]) -> str:
    """Elements in the brackets of a shape."""
    for axis in range(len(shape) - 1, -1, -1):
        size = shape[axis]
        count = int(np.prod(shape[:axis], dtype=np.int64))
        elements = [
            f"[{', '.join(elements[index * size : (index + 1) * size])}]" for index in range(count)
        ]
    return elements[0]


def _elements(name: str, array: np.ndarray) -> list[str]:
    """Each element's JSON text, in the array's order."""
    flat = array.reshape(-1)
    dtype = tf.dtypes.as_dtype(array.dtype)
    if dtype.name in UNSERVED or dtype.is_complex:
        raise invalid_argument(f"Failed to write JSON value for tensor type: {type_name(dtype)}")
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
    """The shortest decimals that give the same float of the same width: 0.1, not 0.10000000149."""
    texts = flat.astype("U32").tolist()
    for index in np.flatnonzero(~np.isfinite(flat)).tolist():
        value = flat[index]
        texts[index] = "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return texts

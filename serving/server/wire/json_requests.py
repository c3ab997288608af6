"""Converts REST bodies to arrays by the rules of Serving's `json_tensor`, which no library has."""

from __future__ import annotations

import base64
import binascii
import gc
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tf_sg2.serving.server.execution.memory import Hold
from tf_sg2.serving.server.wire.errors import (
    LONGEST_MESSAGE,
    ServingError,
    invalid_argument,
    task_too_large,
)
from tf_sg2.serving.server.wire.tensors import type_name

JSON = Any  # What `json` parses to.

# Messages of Python's parser -> messages of RapidJSON.
COMPLAINTS = {
    "Expecting value": "Invalid value.",
    "Expecting property name enclosed in double quotes": "Missing a name for object member.",
    "Illegal trailing comma before end of object": "Missing a name for object member.",
    "Illegal trailing comma before end of array": "Invalid value.",
    "Expecting ':' delimiter": "Missing a colon after a name of object member.",
    "Expecting ',' delimiter": "Missing a comma or ] after an array element.",
    "Unterminated string starting at": "Missing a closing quotation mark in string.",
    "Invalid control character at": "Invalid encoding in string.",
    "Invalid \\escape": "Invalid escape character in string.",
    "Invalid \\uXXXX escape": "Incorrect hex digit after \\u escape in string.",
}
INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint32", "uint64")
MOST_DIMENSIONS = 31  # NumPy 1 allows 32, and rows add one.
FLOATS = ("float32", "float64")
ARRAY_BYTES = 200  # Memory of an array without its values.


def parse(body: bytes | bytearray) -> dict[str, JSON]:
    """Returns the JSON object at the start of `body`; the rest is ignored, as in Serving.

    Raises:
        ServingError: INVALID_ARGUMENT for anything else.
    """
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    try:
        text = body.decode("utf-8").lstrip(" \t\r\n")
    except UnicodeDecodeError as error:
        raise invalid_argument(
            f"JSON Parse error: Invalid encoding in string. at offset: {error.start}"
        ) from error
    try:
        document = _decoded(text)
    except json.JSONDecodeError as error:
        complaint = COMPLAINTS.get(error.msg, "Invalid value.")
        raise invalid_argument(f"JSON Parse error: {complaint} at offset: {error.pos}") from error
    except RecursionError as error:
        raise invalid_argument("JSON Parse error: The document is nested too deeply") from error
    except ValueError as error:  # An integer of thousands of digits.
        raise invalid_argument(
            "JSON Parse error: Number too big to be stored in double."
        ) from error
    if not isinstance(document, dict):
        raise _format_error(document, "Is not object")
    return document


_DECODER = json.JSONDecoder()


def _decoded(text: str) -> JSON:
    """Returns the JSON value at the start of the text, decoded without garbage collection.

    Decoding blocks all other Python threads. A million small lists would start the collector many
    times, which takes ten times as long as the decoding and frees nothing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        return _DECODER.raw_decode(text)[0]
    finally:
        if enabled:
            gc.enable()


def signature_name(document: Mapping[str, JSON]) -> str:
    """Returns the requested signature; empty means the default."""
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {_text(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def tensors(
    document: Mapping[str, JSON],
    inputs: Mapping[str, tf.DType],
    hold: Hold,
    most_rows: int | None = None,
) -> tuple[dict[str, np.ndarray], bool]:
    """Returns the arrays of a predict request.

    Args:
        document: the parsed body.
        inputs: the signature's inputs and their types.
        hold: is charged for rows that are converted one by one.
        most_rows: limit on the number of instances, checked before conversion.

    Returns:
        The arrays by input, and whether the request is in row format.

    Raises:
        ServingError: INVALID_ARGUMENT, or UNIMPLEMENTED for a type without a JSON form. Also if the
            memory for all requests is full, or the request was cancelled.
    """
    try:
        if "instances" in document and "inputs" in document:
            raise _format_error(
                document,
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to "
                "exist ",
            )
        if "instances" in document:
            instances = document["instances"]
            if most_rows is not None and isinstance(instances, list) and len(instances) > most_rows:
                raise task_too_large(len(instances), most_rows)
            return _rows(document, inputs, hold), True
        if "inputs" in document:
            return _columns(document["inputs"], inputs), False
    except RecursionError as error:
        raise invalid_argument("JSON Value is nested too deeply") from error
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _columns(value: JSON, inputs: Mapping[str, tf.DType]) -> dict[str, np.ndarray]:
    if isinstance(value, dict) and not _is_base64(value):
        for name in inputs:
            if name not in value:
                raise invalid_argument(f"Missing named input: {name} in 'inputs' object.")
        return {name: _array(value[name], dtype) for name, dtype in inputs.items()}
    if len(inputs) > 1:
        raise invalid_argument(
            "inputs is a plain value/list, but expecting an object as multiple input tensors "
            "required as per tensorinfo_map"
        )
    return {name: _array(value, dtype) for name, dtype in inputs.items()}


def _rows(
    document: Mapping[str, JSON], inputs: Mapping[str, tf.DType], hold: Hold
) -> dict[str, np.ndarray]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise _format_error(document, "Excepting 'instances' to be an list/array")
    if not instances:
        raise _format_error(document, "No values in 'instances' array")
    if len(inputs) > 1 and not _is_object(instances[0]):
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors "
            "required as per tensorinfo_map"
        )
    if not _is_object(instances[0]):
        (only,) = inputs.items()
        quick = _numbers(instances, only[1])
        if quick is not None:
            return {only[0]: quick}
    return _rows_one_by_one(instances, inputs, hold)


def _rows_one_by_one(
    instances: list[JSON], inputs: Mapping[str, tf.DType], hold: Hold
) -> dict[str, np.ndarray]:
    named = _is_object(instances[0])
    rows: dict[str, list[np.ndarray]] = {name: [] for name in inputs}
    for index, element in enumerate(instances):
        if named and not _is_object(element):
            raise invalid_argument(f"Expecting object but got list at item {index} of input list")
        if not named and _is_object(element):
            raise invalid_argument(
                f"Expecting value/list but got object at item {index} of input list"
            )
        for name, value in element.items() if named else [(next(iter(inputs)), element)]:
            try:
                hold.add(ARRAY_BYTES + _add_row(rows, name, value, inputs))
            except ServingError as error:
                if error.code not in ("INVALID_ARGUMENT", "UNIMPLEMENTED"):
                    raise  # The memory is full, or the request was cancelled.
                key = f" key: {name}" if named else ""
                raise invalid_argument(
                    f"Failed to process element: {index}{key} of 'instances' list. "
                    f"Error: {error.code}: {error.message}"
                ) from error
        if named and element.keys() != inputs.keys():
            raise invalid_argument(
                f"Failed to process element: {index} of 'instances' list. JSON object: "
                f"{_text(element)} keys must be equal to: {','.join(sorted(inputs))}"
            )
    return {name: np.stack(values) for name, values in rows.items()}


def _add_row(
    rows: dict[str, list[np.ndarray]], name: str, value: JSON, inputs: Mapping[str, tf.DType]
) -> int:
    """Adds a row to those of an input; returns its bytes."""
    if name not in inputs:
        raise invalid_argument(f"JSON object: does not have named input: {name}")
    row = _array(value, inputs[name])
    if rows[name]:
        first = rows[name][0]
        if first.size != row.size:
            raise invalid_argument(f"Expecting tensor size: {first.size} but got: {row.size}")
        if first.shape != row.shape:
            raise invalid_argument(
                f"Expecting shape {_shape(first.shape)} but got: {_shape(row.shape)}"
            )
    rows[name].append(row)
    return 2 * row.nbytes  # It is copied when the rows are stacked.


def _array(value: JSON, dtype: tf.DType) -> np.ndarray:
    """Returns the array of a value, or of nested lists of equal lengths."""
    quick = _numbers(value, dtype)
    if quick is not None:
        return quick
    shape: list[int] = []
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        if not inner:
            break
        inner = inner[0]
    if len(shape) > MOST_DIMENSIONS:
        raise invalid_argument(f"JSON Value has {len(shape)} dimensions, over {MOST_DIMENSIONS}")
    flat: list[Any] = []
    _flatten(value, 0, shape, _converter(dtype), flat)
    array = np.empty(len(flat), dtype.as_numpy_dtype)
    array[:] = flat
    return array.reshape(shape)


def _numbers(value: JSON, dtype: tf.DType) -> np.ndarray | None:
    """Returns the array if NumPy can convert all elements at once, else None."""
    if dtype.name not in FLOATS + INTEGERS or not _only_numbers(value):
        return None
    try:
        array = np.asarray(value)
    except ValueError:  # Ragged, or of more dimensions than NumPy knows.
        return None
    if dtype.name in INTEGERS:
        bounds = np.iinfo(dtype.as_numpy_dtype)
        if array.dtype.kind != "i" or not array.size:
            return None
        if array.min() < bounds.min or array.max() > bounds.max:
            return None
    elif array.dtype.kind not in "if":
        return None
    with np.errstate(over="ignore"):
        return array.astype(dtype.as_numpy_dtype)


def _only_numbers(value: JSON) -> bool:
    """Returns whether all leaves are numbers; NumPy would also convert booleans and strings."""
    if not isinstance(value, list):
        return type(value) in (int, float)
    types = set(map(type, value))
    return types <= {int, float} or (types == {list} and all(map(_only_numbers, value)))


def _flatten(
    value: JSON, level: int, shape: list[int], convert: Callable[[JSON], Any], flat: list[Any]
) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid_argument(
                f"JSON Value: {_text(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        flat.append(convert(value))
        return
    if level >= len(shape):
        raise invalid_argument(
            f"Encountered list at unexpected level: {level} expected < {len(shape)}"
        )
    if len(value) != shape[level]:
        raise invalid_argument(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for inner in value:
        _flatten(inner, level + 1, shape, convert, flat)


def _converter(dtype: tf.DType) -> Callable[[JSON], Any]:
    """Returns the function that converts one JSON value to one element."""

    def wrong(value: JSON) -> ServingError:
        return invalid_argument(
            f"JSON Value: {_text(value)} Type: {_type(value)} is not of expected type: "
            f"{type_name(dtype)}"
        )

    def number(value: JSON) -> float:
        if type(value) not in (int, float):
            raise wrong(value)
        try:
            with np.errstate(over="ignore"):
                return dtype.as_numpy_dtype(value)
        except OverflowError:  # An integer beyond any float.
            return float("inf") if value > 0 else float("-inf")

    def integer(value: JSON) -> int:
        bounds = np.iinfo(dtype.as_numpy_dtype)
        if type(value) is not int or not bounds.min <= value <= bounds.max:
            raise wrong(value)
        return value

    def boolean(value: JSON) -> bool:
        if type(value) is not bool:
            raise wrong(value)
        return value

    def string(value: JSON) -> bytes:
        if isinstance(value, dict):
            return _from_base64(value)
        if not isinstance(value, str):
            raise wrong(value)
        return value.encode("utf-8", "surrogatepass")

    def unserved(value: JSON) -> Any:
        raise ServingError(
            "UNIMPLEMENTED",
            f"Conversion of JSON Value: {_text(value)} to type: {type_name(dtype)}",
        )

    if dtype.name in FLOATS:
        return number
    if dtype.name in INTEGERS:
        return integer
    return {"bool": boolean, "string": string}.get(dtype.name, unserved)


def _is_base64(value: JSON) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_object(value: JSON) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _from_base64(value: dict[str, JSON]) -> bytes:
    if not _is_base64(value):
        raise invalid_argument(
            f"JSON Value: {_text(value)} not formatted correctly for base64 data"
        )
    text = "".join(value["b64"].split())
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid_argument("Unable to base64 decode") from error


def _format_error(value: JSON, complaint: str) -> ServingError:
    # A long value is cut, so that the message after it stays complete.
    return invalid_argument(f"JSON Value: {_text(value)} {complaint}")


def _type(value: JSON) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (int, float)):
        return "Number"
    names: dict[type, str] = {dict: "Object", list: "Array", str: "String"}
    return names.get(type(value), "Null")


def _shape(shape: Iterable[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def _text(value: JSON) -> str:
    """Returns the value as JSON, cut to the length of a message."""
    if isinstance(value, (str, int)):  # It would be written in one piece, however long.
        return json.dumps(value[:256] if isinstance(value, str) else value)[:256]
    pieces, length = [], 0
    for piece in json.JSONEncoder(indent=4).iterencode(value):
        pieces.append(piece[:256])
        length += len(pieces[-1])
        if length > LONGEST_MESSAGE // 2:
            return "".join(pieces) + "..."
    return "".join(pieces)

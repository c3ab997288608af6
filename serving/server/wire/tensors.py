"""Converts TensorProtos to arrays and back, within a limit on their memory."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import tensorflow as tf
from tensorflow.core.framework.tensor_pb2 import TensorProto

from tf_sg2.serving.server.wire.errors import invalid_argument

MOST_DIMENSIONS = 254  # TensorFlow's own limit.

STRING_BYTES = 40  # Of an empty `bytes` object, at most.

# The field of a TensorProto for the values of a type.
FIELDS = {
    "float32": "float_val",
    "float64": "double_val",
    "int8": "int_val",
    "int16": "int_val",
    "int32": "int_val",
    "uint8": "int_val",
    "uint16": "int_val",
    "uint32": "uint32_val",
    "uint64": "uint64_val",
    "int64": "int64_val",
    "bool": "bool_val",
    "string": "string_val",
    "float16": "half_val",
    "bfloat16": "half_val",
}


def type_name(dtype: tf.DType) -> str:
    """Returns the type's name in TensorFlow's C++ messages: `float`, not `float32`."""
    return {"float32": "float", "float64": "double", "float16": "half"}.get(dtype.name, dtype.name)


def held_bytes(arrays: Iterable[np.ndarray]) -> int:
    """Returns the memory of arrays, including the `bytes` objects of arrays of strings."""
    return sum(
        array.nbytes
        if array.dtype != object
        else array.nbytes + sum(STRING_BYTES + len(text) for text in array.reshape(-1))
        for array in arrays
    )


def to_array(proto: TensorProto, most_bytes: int) -> np.ndarray:
    """Returns the array of a TensorProto; strings give an array of `bytes` objects.

    A short message may describe a large tensor, because one value can stand for all elements. So
    the size is limited.

    Raises:
        ValueError: if the message is no tensor of its type and shape.
        ServingError: INVALID_ARGUMENT, for a tensor over `most_bytes`.
    """
    dtype = tf.dtypes.as_dtype(proto.dtype)
    if dtype.name not in FIELDS:
        raise ValueError(f"tensors of type {dtype.name} are not served")
    shape = [dimension.size for dimension in proto.tensor_shape.dim]
    if proto.tensor_shape.unknown_rank or len(shape) > MOST_DIMENSIONS or min(shape, default=0) < 0:
        raise ValueError("the shape is not that of a tensor")
    count = math.prod(shape)
    size = count * (8 if dtype == tf.string else dtype.size)
    if size > most_bytes:
        raise invalid_argument(
            f"A tensor of shape {shape} and type {type_name(dtype)} takes {size} bytes, over the "
            f"limit of {most_bytes}"
        )
    values = getattr(proto, FIELDS[dtype.name])
    if proto.tensor_content:
        if dtype == tf.string:
            raise ValueError("strings do not come as tensor_content")
        array = np.frombuffer(proto.tensor_content, dtype.as_numpy_dtype)
        return array.reshape(shape)
    if len(values) > count:
        raise ValueError(f"{len(values)} values for {count} elements")
    if not len(values):
        return np.full(shape, b"" if dtype == tf.string else 0, dtype.as_numpy_dtype)
    if len(values) == count and dtype in (tf.float32, tf.float64):
        # The end of a packed field is the array, so no Python object per value is needed.
        single = TensorProto()
        getattr(single, FIELDS[dtype.name]).MergeFrom(values)
        wire = single.SerializeToString()
        start = len(wire) - count * dtype.size
        return np.frombuffer(wire, dtype.as_numpy_dtype, count, start).reshape(shape)
    return tf.make_ndarray(proto)


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def _packed_bytes(values: np.ndarray) -> bytes:
    """Returns uint8 values as a packed field of varints: one byte below 128, else two.

    The two bytes are v | 128, which equals v, and v >> 7, which equals 1.
    """
    pairs = np.ones((len(values), 2), np.uint8)
    pairs[:, 0] = values
    used = np.ones(pairs.shape, bool)
    used[:, 1] = values > 127
    return pairs[used].tobytes()


def to_proto(array: np.ndarray, as_content: bool = False) -> TensorProto:
    """Returns the TensorProto of an array.

    Args:
        array: an array of a served type; strings as an array of `bytes` objects.
        as_content: puts the values into `tensor_content`, in memory order. It is shorter, but a
            client that reads `float_val` does not find them. TensorFlow Serving has the same option
            with the same default.
    """
    array = np.asarray(array)
    dtype = tf.dtypes.as_dtype(array.dtype)
    proto = TensorProto(dtype=dtype.as_datatype_enum)
    # A packed field: number and wire type 2, length, values. Written directly, it needs no Python
    # object per value.
    if dtype.name in ("float32", "float64", "uint8") and not as_content and array.size:
        number = {"float32": 5, "float64": 6, "uint8": 7}[dtype.name]
        flat = np.ascontiguousarray(array).reshape(-1)
        packed = _packed_bytes(flat) if dtype == tf.uint8 else flat.tobytes()
        proto.MergeFromString(bytes([number << 3 | 2]) + _varint(len(packed)) + packed)
    elif as_content and dtype != tf.string:
        proto.tensor_content = array.tobytes()
    elif dtype.name in ("float16", "bfloat16"):
        proto.half_val.extend(array.reshape(-1).view(np.uint16).tolist())
    else:
        getattr(proto, FIELDS[dtype.name]).extend(array.reshape(-1).tolist())
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    return proto

"""Files in the safetensors format: arrays by name, and texts, with nothing that could execute.

Layout: the length of the header as 8 bytes, the header as JSON, the values one after another.

Source: the format's specification, github.com/huggingface/safetensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tf_sg2.files import new_file
from tf_sg2.weights.pickles.errors import DamagedError

# The format's names of types, and NumPy's.
TYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8", "I64": "<i8", "I32": "<i4", "U8": "u1"}
_NAMES = {np.dtype(code): name for name, code in TYPES.items()}


def write(path: str | Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str]) -> None:
    """Writes a file atomically.

    Args:
        path: the file.
        arrays: of the types in `TYPES`.
        metadata: texts by name.

    Raises:
        InputError: if it cannot be written.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    position = 0
    for name, array in arrays.items():
        end = position + array.nbytes
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # So that the values are aligned.
    with new_file(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.tobytes())


def is_safetensors(data: bytes) -> bool:
    """Returns whether a file begins as this format does."""
    return data[8:10] == b'{"' and int.from_bytes(data[:8], "little") <= len(data) - 8


def parse(data: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Returns the arrays and the texts of a file.

    Raises:
        DamagedError: if it breaks the format.
    """
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    if not isinstance(header, dict):
        raise DamagedError("its header is no dictionary")
    texts = header.pop("__metadata__", {})
    if not isinstance(texts, dict) or not all(type(text) is str for text in texts.values()):
        raise DamagedError("its texts are no dictionary")
    arrays: dict[str, np.ndarray] = {}
    position = 0
    # Without gaps and overlaps, the arrays together are as large as the file.
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        dtype, shape = np.dtype(TYPES[entry["dtype"]]), tuple(entry["shape"])
        if not all(type(size) is int and size >= 0 for size in (*shape, begin, end)):
            raise DamagedError(f"the array {name[:80]!r} has no usable shape")
        if begin != position or end - begin != math.prod(shape) * dtype.itemsize:
            raise DamagedError(f"the array {name[:80]!r} is shorter or longer than it says")
        arrays[name] = np.frombuffer(data[start + begin : start + end], dtype).reshape(shape).copy()
        position = end
    if start + position != len(data):
        raise DamagedError("it is shorter or longer than its header says")
    return arrays, texts

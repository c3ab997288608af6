"""Writes the zip archive of `torch.save` without PyTorch: dictionaries of float32 tensors."""

from __future__ import annotations

import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tf_sg2.files import new_file

_STORAGE = b"ctorch\nFloatStorage\n"
_REBUILD = b"ctorch._utils\n_rebuild_tensor_v2\n"
_NO_HOOKS = b"ccollections\nOrderedDict\n)R"
_MARK, _TUPLE, _CALL, _PERSISTENT, _FALSE = b"(", b"t", b"R", b"Q", b"\x89"


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _numbers(values: tuple[int, ...]) -> bytes:
    return _MARK + b"".join(map(_number, values)) + _TUPLE


def _tensor(array: np.ndarray, key: str) -> bytes:
    """Returns the instructions that describe a tensor of a storage of its own."""
    identity = _text("storage") + _STORAGE + _text(key) + _text("cpu") + _number(array.size)
    storage = _MARK + identity + _TUPLE + _PERSISTENT
    strides = tuple(stride // array.itemsize for stride in array.strides)
    place = storage + _number(0) + _numbers(array.shape) + _numbers(strides)
    return _REBUILD + _MARK + place + _FALSE + _NO_HOOKS + _TUPLE + _CALL


def _described(value: Any, storages: list[np.ndarray]) -> bytes:
    if isinstance(value, Mapping):
        items = (_text(name) + _described(part, storages) for name, part in value.items())
        return b"}" + _MARK + b"".join(items) + b"u"
    storages.append(np.array(value, np.float32, order="C"))
    return _tensor(storages[-1], str(len(storages) - 1))


def write_archive(path: str | Path, state: Mapping[str, Any]) -> None:
    """Writes a file that `torch.load` reads, with `weights_only=True` too.

    Args:
        path: the file.
        state: float32 arrays and dictionaries of such, by name.

    Raises:
        InputError: if it cannot be written.
    """
    storages: list[np.ndarray] = []
    stream = b"\x80\x02" + _described(state, storages) + pickle.STOP
    with new_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", stream)
        archive.writestr("archive/byteorder", b"little")
        for key, values in enumerate(storages):
            archive.writestr(f"archive/data/{key}", values.astype("<f4").tobytes())
        archive.writestr("archive/version", b"3\n")

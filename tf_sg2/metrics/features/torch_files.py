"""State dictionaries out of PyTorch's files, without PyTorch and without executing a pickle.

A pickle is a program for a stack machine. This one knows the few instructions that a state
dictionary needs, and builds descriptions in place of objects: no function is ever called by name.
`read_state_dict` is the only way in, so that another reader can take its place.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tf_sg2.errors import InputError

MAGIC = 0x1950A86A20F9469CFC6C  # The first pickle of the container from before PyTorch 1.6.
STORAGE_TYPES: dict[str, np.dtype[Any]] = {
    "torch FloatStorage": np.dtype("<f4"),
    "torch DoubleStorage": np.dtype("<f8"),
    "torch HalfStorage": np.dtype("<f2"),
    "torch LongStorage": np.dtype("<i8"),
    "torch IntStorage": np.dtype("<i4"),
    "torch ShortStorage": np.dtype("<i2"),
    "torch CharStorage": np.dtype("i1"),
    "torch ByteStorage": np.dtype("u1"),
    "torch BoolStorage": np.dtype("?"),
}


class _UnreadableError(Exception):
    """Why a file is no state dictionary; becomes part of one sentence."""


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, raw: bytes) -> np.ndarray:
        """Returns a copy of the values out of the storage's bytes."""
        last = self.offset + sum(
            (size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)
        )
        empty = 0 in self.shape
        if min((self.offset, *self.shape, *self.strides)) < 0:
            raise _UnreadableError("a tensor has a negative size")
        # Strides of 0 could claim any number of values.
        if not empty and max(last + 1, math.prod(self.shape)) > self.storage.count:
            raise _UnreadableError("a tensor reaches past its storage")
        if empty:
            return np.zeros(self.shape, self.storage.dtype)
        values = np.frombuffer(raw, self.storage.dtype)[self.offset :]
        steps = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values, self.shape, steps, writeable=False).copy()


def _rebuild_tensor(storage, offset, shape, strides, *_) -> _Tensor:
    sizes = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(type(size) is int for size in sizes):
        raise _UnreadableError("a tensor is not described as PyTorch does")
    if len(shape) != len(strides) or len(shape) > 32:
        raise _UnreadableError("a tensor is not described as PyTorch does")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


# What a pickle may name and "call": module and name as they stand in the file.
KNOWN: dict[str, Callable] = {
    "collections OrderedDict": lambda: {},
    "torch._utils _rebuild_tensor": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_parameter": lambda tensor, *_: tensor,
}


class _Name(NamedTuple):
    name: str


_MARK = object()
# Instructions that push what stands behind them in the file.
_PUSH = set(
    "BININT BININT1 BININT2 INT LONG LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = {"PROTO", "FRAME", "STOP"}


class _Machine:
    """The stack machine: one method per family of instructions."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[str, _Storage] = {}

    def run(self, file: BinaryIO) -> Any:
        """Returns what one pickle describes; the file then stands behind it."""
        for opcode, argument, _ in pickletools.genops(file):
            self._step(opcode.name, argument)
        return self.stack.pop()

    def _step(self, name: str, argument: Any) -> None:
        if name in _PUSH:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            self._name(argument)
        elif name == "MARK":
            self.stack.append(_MARK)
        elif name.endswith(("DICT", "LIST", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3")):
            self._container(name)
        elif name in ("SETITEM", "SETITEMS", "APPEND", "APPENDS"):
            self._fill(name)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self.memo[argument] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self.stack.append(self.memo[argument])
        elif name == "REDUCE":
            self._call()
        elif name == "BUILD":
            self.stack.pop()  # Attributes of a dictionary, such as `_metadata`.
        elif name == "BINPERSID":
            self._storage()
        elif name not in _IGNORED:
            raise _UnreadableError(f"it holds the pickle instruction {name}")

    def _name(self, argument: str | None) -> None:
        if argument is None:
            last, first = self.stack.pop(), self.stack.pop()
            argument = f"{first} {last}"
        if argument not in KNOWN and argument not in STORAGE_TYPES:
            raise _UnreadableError(f"it names {argument.replace(' ', '.', 1)!r}")
        self.stack.append(_Name(argument))

    def _container(self, name: str) -> None:
        if name.startswith("EMPTY_"):
            self.stack.append({"DICT": {}, "LIST": [], "TUPLE": ()}[name[6:]])
        elif name[-1].isdigit():
            count = int(name[-1])
            self.stack[-count:] = [tuple(self.stack[-count:])]
        else:
            items = self._since_mark()
            kinds: dict[str, Callable[[list[Any]], Any]] = {
                "DICT": _pairs,
                "LIST": list,
                "TUPLE": tuple,
            }
            self.stack.append(kinds[name](items))

    def _fill(self, name: str) -> None:
        if name.endswith("S"):
            items = self._since_mark()
        else:
            count = 2 if name == "SETITEM" else 1
            items = self.stack[-count:]
            del self.stack[-count:]
        target = self.stack[-1]
        if name.startswith("SETITEM"):
            target.update(_pairs(items))
        else:
            target.extend(items)

    def _since_mark(self) -> list[Any]:
        place = max(i for i, item in enumerate(self.stack) if item is _MARK)
        items = self.stack[place + 1 :]
        del self.stack[place:]
        return items

    def _call(self) -> None:
        arguments, function = self.stack.pop(), self.stack.pop()
        if not isinstance(function, _Name) or function.name not in KNOWN:
            raise _UnreadableError("it calls what is no function")
        self.stack.append(KNOWN[function.name](*arguments))

    def _storage(self) -> None:
        kind, storage_type, key, _, count, *_ = self.stack.pop()
        if kind != "storage" or not isinstance(storage_type, _Name) or type(count) is not int:
            raise _UnreadableError("it refers to something other than a storage")
        if storage_type.name not in STORAGE_TYPES:
            raise _UnreadableError(f"it has a storage of type {storage_type.name!r}")
        storage = _Storage(str(key), STORAGE_TYPES[storage_type.name], count)
        self.storages[storage.key] = storage
        self.stack.append(storage)


def _pairs(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dictionary by their names.

    Both containers of `torch.save` are read: the zip archive, and the one from before
    PyTorch 1.6. Dictionaries within the dictionary join their names by dots.

    Raises:
        InputError: if the file is no state dictionary, names anything but tensors, or is damaged.
    """
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            arrays = _read_zip(file) if zipped else _read_legacy(file)
            if not arrays:
                raise _UnreadableError("it holds no tensor")
            return arrays
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except _UnreadableError as error:
        raise InputError(
            f"{path} is no state dictionary that can be read without executing it: {error}"
        ) from error
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is damaged, or no file of torch.save") from error
    except (zipfile.BadZipFile, EOFError, MemoryError, OverflowError, NotImplementedError) as error:
        raise InputError(f"{path} is damaged, or no file of torch.save") from error


def _read_zip(file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        names = {info.filename: info for info in archive.infolist()}
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise _UnreadableError("the archive holds no data.pkl")
        order = f"{roots[0]}byteorder"
        if order in names and archive.read(order) != b"little":
            raise _UnreadableError("its numbers are big-endian")
        tensors = _tensors(_Machine().run(io.BytesIO(archive.read(f"{roots[0]}data.pkl"))))
        storages: dict[str, bytes] = {}
        for tensor in tensors.values():
            key = tensor.storage.key
            if key not in storages:
                info = names[f"{roots[0]}data/{key}"]
                _require_size(tensor.storage, info.file_size)
                storages[key] = archive.read(info)
        return {
            name: tensor.array(storages[tensor.storage.key]) for name, tensor in tensors.items()
        }


def _read_legacy(file: BinaryIO) -> dict[str, np.ndarray]:
    if _Machine().run(file) != MAGIC:
        raise _UnreadableError("it is a plain pickle; save the state dictionary by torch.save")
    for _ in range(2):  # Protocol version, sizes of integers.
        _Machine().run(file)
    machine = _Machine()
    tensors = _tensors(machine.run(file))
    storages: dict[str, bytes] = {}
    for key in _Machine().run(file):
        count = int.from_bytes(file.read(8), "little")
        storage = machine.storages[str(key)]
        if count != storage.count:
            raise _UnreadableError("a storage is shorter or longer than it says")
        storages[storage.key] = file.read(count * storage.dtype.itemsize)
        _require_size(storage, len(storages[storage.key]))
    return {name: tensor.array(storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _require_size(storage: _Storage, size: int) -> None:
    if size != storage.count * storage.dtype.itemsize:
        raise _UnreadableError("a storage is shorter or longer than it says")


def _tensors(state: Any) -> dict[str, _Tensor]:
    if not isinstance(state, dict):
        raise _UnreadableError("it is no dictionary of tensors")
    tensors: dict[str, _Tensor] = {}
    for name, value in state.items():
        if isinstance(value, dict):
            inner = _tensors(value) if value else {}
            tensors |= {f"{name}.{key}": tensor for key, tensor in inner.items()}
        elif isinstance(value, _Tensor):
            tensors[str(name)] = value
    return tensors

"""The containers of `torch.save`, read without PyTorch: the zip archive, and the one before 1.6.

The older container is a sequence of pickles: a magic number, a protocol version, the sizes of
integers, the object, and the keys of the storages. Then each storage follows: its count as int64,
and its values.
"""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from tf_sg2.files import open_regular
from tf_sg2.weights.pickles.arrays import STORAGE_TYPES, TENSOR_NAMES, Budget, Storage, Tensor
from tf_sg2.weights.pickles.errors import DamagedError, UnreadableError, one_sentence
from tf_sg2.weights.pickles.instructions import Reader
from tf_sg2.weights.pickles.machine import AllowList, Machine, Name

MAGIC = 0x1950A86A20F9469CFC6C  # The first pickle of the older container.
PROTOCOL = 1001
MOST_LEVELS = 32  # Of dictionaries within dictionaries.
ZIP_START = b"PK\x03\x04"


def storages_of(found: dict[str, Storage]) -> Any:
    """Returns what describes a persistent id as a storage, and collects the storages by key."""

    def describe(identity: Any) -> Storage:
        if type(identity) is not tuple or len(identity) < 5 or identity[0] != "storage":
            raise UnreadableError("it refers to something other than a storage")
        _, kind, key, _, count, *view = identity
        if type(kind) is not Name or kind not in STORAGE_TYPES:
            raise UnreadableError("it has a storage of an unknown type")
        if type(key) is not str or type(count) is not int or not 0 <= count < 1 << 48 or any(view):
            raise DamagedError("a storage is not described as PyTorch does")
        storage = Storage(key, STORAGE_TYPES[kind], count)
        known = found.setdefault(key, storage)
        if (known.dtype, known.count) != (storage.dtype, storage.count):
            raise DamagedError("a storage has two descriptions")
        return known

    return describe


def is_older(data: bytes) -> bool:
    """Returns whether a file begins with the magic number of the older container."""
    return MAGIC.to_bytes(10, "little") in data[:16]


def read_older(data: bytes | memoryview, known: AllowList) -> Any:
    """Returns the object of a file in the older container; its storages hold their values.

    Raises:
        UnreadableError: if it is no such file, or holds a name that is not in `known`.
    """
    reader = Reader(data)
    plain = Machine({})
    magic = plain.run(reader)
    if type(magic) is not int or magic != MAGIC:
        raise UnreadableError("it is a plain pickle; save the state dictionary by torch.save")
    if plain.run(reader) != PROTOCOL:
        raise UnreadableError("torch.save wrote it in an unknown version of its format")
    system = plain.run(reader)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise UnreadableError("its numbers are big-endian")
    storages: dict[str, Storage] = {}
    value = Machine(known, storages_of(storages)).run(reader)
    keys = plain.run(reader)
    if type(keys) is not list or len(keys) > len(storages):
        raise DamagedError("the list of storages does not fit")
    for key in keys:
        storage = storages[key]
        if reader.number("<q") != storage.count:
            raise DamagedError("a storage is shorter or longer than it says")
        storage.fill(reader.take(min(storage.size, reader.left)))
    return value


def read_archive(data: bytes, known: AllowList) -> Any:
    """Returns the object of a zip archive of `torch.save`; its storages hold their values.

    Raises:
        UnreadableError: if it is no such archive, or holds a name that is not in `known`.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = {info.filename: info for info in archive.infolist()}
        roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise UnreadableError("the archive holds no data.pkl")
        if sum(info.file_size for info in names.values()) > len(data) or any(
            info.compress_type != zipfile.ZIP_STORED for info in names.values()
        ):
            raise UnreadableError("the archive is compressed; torch.save never does that")
        order = f"{roots[0]}byteorder"
        if order in names and archive.read(order) != b"little":
            raise UnreadableError("its numbers are big-endian")
        storages: dict[str, Storage] = {}
        machine = Machine(known, storages_of(storages))
        value = machine.run(Reader(archive.read(f"{roots[0]}data.pkl")))
        for key, storage in storages.items():
            info = names.get(f"{roots[0]}data/{key}")
            if info is None or info.file_size != storage.size:
                raise DamagedError("a storage is shorter or longer than it says")
            storage.fill(archive.read(info))
        return value


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dictionary by their names.

    Both containers of `torch.save` are read. Dictionaries within the dictionary join their names
    by dots.

    Raises:
        InputError: if the file is no state dictionary, names anything but tensors, or is damaged.
    """
    with one_sentence(path, "state dictionary", "no file of torch.save"), open_regular(path) as raw:
        data = raw.read()
        if data[:4] == ZIP_START:
            state = read_archive(data, TENSOR_NAMES)
        else:
            state = read_older(data, TENSOR_NAMES)
        arrays = tensors_of(state, Budget(len(data)))
        if not arrays:
            raise UnreadableError("it holds no tensor")
        return arrays
    raise AssertionError  # `one_sentence` never suppresses an error.


def tensors_of(state: Any, budget: Budget) -> dict[str, np.ndarray]:
    """Returns the tensors of a dictionary and of those within it; names are joined by dots.

    Raises:
        UnreadableError: if it is no dictionary, or one of its tensors is damaged.
    """
    if not isinstance(state, dict):
        raise UnreadableError("it is no dictionary of tensors")
    arrays: dict[str, np.ndarray] = {}
    pending: list[tuple[str, dict[Any, Any], int]] = [("", state, 0)]
    entries = 0
    while pending:
        prefix, values, level = pending.pop()
        # A dictionary can be named often, so the entries could be many more than the file's bytes.
        entries += len(values)
        if level > MOST_LEVELS or entries > 1_000_000:
            raise DamagedError("its dictionaries are nested too deeply")
        for name, value in values.items():
            if isinstance(value, dict):
                pending.append((f"{prefix}{name}.", value, level + 1))
            elif isinstance(value, Tensor):
                arrays[f"{prefix}{name}"] = value.array(budget)
    return arrays

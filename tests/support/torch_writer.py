"""Writes files as `torch.save` does, both containers, where PyTorch is not installed."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C


class Storage:
    def __init__(self, key, values):
        self.key, self.values = key, values


class Tensor:
    """An array that pickles as a PyTorch tensor of one storage of its own, or a given one."""

    def __init__(self, storage, offset, shape, strides):
        self.arguments = (storage, offset, tuple(shape), tuple(strides), False, OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


def tensor(array, key):
    """A tensor whose storage has the same order of values as the array in memory."""
    array = np.asarray(array, np.float32)
    strides = [stride // 4 for stride in array.strides]
    return Tensor(Storage(key, array.ravel("K")), 0, array.shape, strides)


def pickled(value) -> bytes:
    names = {"torch": types.ModuleType("torch"), "torch._utils": types.ModuleType("torch._utils")}

    def rebuild():
        raise AssertionError("a reader must not call it")

    rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    names["torch._utils"]._rebuild_tensor_v2 = rebuild
    float_storage = type("FloatStorage", (), {"__module__": "torch"})
    names["torch"].FloatStorage, names["torch"]._utils = float_storage, names["torch._utils"]

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if isinstance(item, Storage):
                return ("storage", float_storage, item.key, "cpu", item.values.size)

    file = io.BytesIO()
    before = {name: sys.modules.get(name) for name in names}
    sys.modules.update(names)
    try:
        Pickler(file, protocol=2).dump(value)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return file.getvalue()


def storages(state):
    found = {}
    for value in state.values():
        if isinstance(value, dict):
            found |= storages(value)
        elif isinstance(value, Tensor):
            found[value.arguments[0].key] = value.arguments[0].values
    return found


def save_zip(path, state, missing=(), byteorder=b"little") -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", pickled(state))
        archive.writestr("model/byteorder", byteorder)
        for key, values in storages(state).items():
            if key not in missing:
                archive.writestr(f"model/data/{key}", values.tobytes())


def save_legacy(path, state) -> None:
    parts = [pickle.dumps(value, protocol=2) for value in (MAGIC, 1001, {"little_endian": True})]
    parts.append(pickled(state))
    found = storages(state)
    parts.append(pickle.dumps(list(found), protocol=2))
    parts += [struct.pack("<q", values.size) + values.tobytes() for values in found.values()]
    path.write_bytes(b"".join(parts))

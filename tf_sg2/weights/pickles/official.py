"""The objects in pickles of the official releases: PyTorch modules and TensorFlow networks."""

from __future__ import annotations

from typing import Any

from tf_sg2.weights.pickles.arrays import (
    TENSOR_NAMES,
    Dtype,
    NumpyArray,
    Storage,
    numpy_scalar,
)
from tf_sg2.weights.pickles.errors import DamagedError, UnreadableError
from tf_sg2.weights.pickles.machine import AllowList, Buildable, Name
from tf_sg2.weights.pickles.torch_files import read_older


class Module:
    """A PyTorch module with its class name and attributes; its source text is dropped."""

    def __init__(self, meta: Any):
        if not isinstance(meta, dict) or meta.get("type") != "class":
            raise UnreadableError("it holds a persistent object that is no class")
        state, class_name = meta.get("state"), meta.get("class_name")
        if not isinstance(state, dict) or not isinstance(class_name, str):
            raise DamagedError("a module has no state")
        self.class_name = class_name
        self.state: dict[Any, Any] = state

    def entries(self, name: str) -> dict[Any, Any]:
        """Returns a dictionary among the attributes, such as `_parameters`."""
        found = self.state.get(name, {})
        if not isinstance(found, dict):
            raise DamagedError(f"a module's {name} are no dictionary")
        return found

    def options(self) -> dict[str, Any]:
        """Returns the arguments of the constructor.

        Raises:
            UnreadableError: if some were given by position.
        """
        if self.state.get("_init_args"):
            raise UnreadableError(f"its {self.class_name[:40]} was made with unnamed arguments")
        return self.entries("_init_kwargs")


class TensorflowNetwork(Buildable):
    """A `dnnlib.tflib.network.Network`; its source text is never read."""

    def __init__(self, *_: Any):
        self.state: dict[Any, Any] = {}

    def build(self, state: Any) -> None:
        """Takes the dictionary of the network."""
        if not isinstance(state, dict):
            raise DamagedError("a network has no state")
        self.state = state


class Ignored(Buildable):
    """An object that means nothing here, such as the arguments of a training command."""

    def __init__(self, *_: Any):
        pass

    def build(self, state: Any) -> None:
        """Drops the state."""


class NestedFile:
    """`torch.storage._load_from_bytes(raw)`: a torch file that holds one storage."""

    def __init__(self, raw: Any):
        if not isinstance(raw, bytes):
            raise DamagedError("a storage has no bytes")
        self.raw = raw
        self.read: Storage | None = None

    def storage(self) -> Storage:
        """Returns the storage with its values; the file within is read at the first call."""
        if self.read is None:
            # The names of the file within are checked as strictly: it may hold a storage only.
            found = read_older(self.raw, TENSOR_NAMES)
            if not isinstance(found, Storage):
                raise DamagedError("a storage's bytes hold something else")
            self.read = found
        return self.read


def _easy_dict(*arguments: Any) -> dict[Any, Any]:
    if arguments:
        raise UnreadableError("it makes a dictionary in an unusual way")
    return {}


def _set(*arguments: Any) -> list[Any]:
    return []  # Sets hold only names of hooks and buffers.


_NUMPY = {
    Name(f"numpy.{core}.multiarray", name): describe
    for core in ("core", "_core")
    for name, describe in (("_reconstruct", NumpyArray), ("scalar", numpy_scalar))
}
# Every name in files of the official releases and of rosinality's training.
OFFICIAL_NAMES: AllowList = {
    **TENSOR_NAMES,
    **_NUMPY,
    Name("numpy", "dtype"): Dtype,
    Name("numpy", "ndarray"): None,
    Name("builtins", "set"): _set,
    Name("__builtin__", "set"): _set,
    Name("dnnlib.util", "EasyDict"): _easy_dict,
    Name("torch.storage", "_load_from_bytes"): NestedFile,
    Name("torch_utils.persistence", "_reconstruct_persistent_obj"): Module,
    Name("dnnlib.tflib.network", "Network"): TensorflowNetwork,
    Name("argparse", "Namespace"): Ignored,
}

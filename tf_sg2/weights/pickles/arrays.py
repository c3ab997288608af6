"""Descriptions of the arrays in pickles: NumPy's, and PyTorch's tensors with their storages."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tf_sg2.weights.pickles.errors import DamagedError, UnreadableError
from tf_sg2.weights.pickles.machine import Buildable, Name

MOST_DIMENSIONS = 32
# Codes of `numpy.dtype` that hold numbers. Object arrays would hold further pickles.
NUMBERS = frozenset("f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1".split())
STORAGE_TYPES: dict[Name, np.dtype[Any]] = {
    Name("torch", f"{kind}Storage"): np.dtype(code)
    for kind, code in {
        "Float": "<f4",
        "Double": "<f8",
        "Half": "<f2",
        "Long": "<i8",
        "Int": "<i4",
        "Short": "<i2",
        "Char": "i1",
        "Byte": "u1",
        "Bool": "?",
    }.items()
}


class Budget:
    """Limits the memory of all arrays out of one file, because parts of a file can be named often.

    Args:
        size: bytes of the file. Real files hold each value once or, where weights are shared,
            a few times.
    """

    def __init__(self, size: int):
        self.left = 4 * size + (1 << 20)

    def take(self, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Counts an array that is about to be made.

        Raises:
            UnreadableError: if the arrays would need much more memory than the file.
        """
        self.left -= math.prod(shape) * dtype.itemsize
        if self.left < 0:
            raise UnreadableError("its arrays are many times larger than the file")


class ArrayLike(Protocol):
    """What a file describes as an array."""

    def array(self, budget: Budget) -> np.ndarray:
        """Returns a copy of the values."""
        ...


def _checked_shape(sizes: Any, what: str) -> tuple[int, ...]:
    if type(sizes) not in (tuple, list) or len(sizes) > MOST_DIMENSIONS:
        raise DamagedError(f"{what} has no usable shape")
    if not all(type(size) is int for size in sizes):
        raise DamagedError(f"{what} has no usable shape")
    # A number of this size makes products of many digits.
    if not all(-(1 << 62) < size < (1 << 62) for size in sizes):
        raise DamagedError(f"{what} has no usable shape")
    return tuple(sizes)


class Dtype(Buildable):
    """`numpy.dtype(code)`, of numbers only."""

    def __init__(self, code: Any, *_: Any):
        if not isinstance(code, str) or code not in NUMBERS:
            raise UnreadableError("it holds a NumPy array of something other than numbers")
        self.dtype: np.dtype[Any] = np.dtype(code)

    def build(self, state: Any) -> None:
        """Takes the byte order, the second entry of NumPy's state."""
        if type(state) is not tuple or len(state) < 2 or state[1] not in ("<", ">", "|", "="):
            raise DamagedError("a NumPy type has no byte order")
        self.dtype = self.dtype.newbyteorder(">" if state[1] == ">" else "<")


def _checked_dtype(value: Any) -> np.dtype:
    if not isinstance(value, Dtype):
        raise DamagedError("a NumPy array has no type")
    return value.dtype


class NumpyArray(Buildable):
    """`numpy.core.multiarray._reconstruct(numpy.ndarray, (0,), b"b")`, with the state that follows.

    Raises:
        DamagedError: if the state does not describe an array.
    """

    def __init__(self, *_: Any):
        self.state: tuple[tuple[int, ...], np.dtype, bool, bytes] | None = None

    def build(self, state: Any) -> None:
        """Takes (version, shape, type, column order, values)."""
        if type(state) is not tuple or len(state) != 5 or not isinstance(state[4], bytes):
            raise DamagedError("a NumPy array is not described as NumPy does")
        shape, dtype = _checked_shape(state[1], "a NumPy array"), _checked_dtype(state[2])
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(state[4]):
            raise DamagedError("a NumPy array is shorter or longer than it says")
        self.state = shape, dtype, state[3] is True, state[4]

    def array(self, budget: Budget) -> np.ndarray:
        """Returns a copy of the values in the machine's byte order."""
        if self.state is None:
            raise DamagedError("a NumPy array has no values")
        shape, dtype, columns, raw = self.state
        budget.take(shape, dtype)
        values = np.frombuffer(raw, dtype).reshape(shape, order="F" if columns else "C")
        return values.astype(dtype.newbyteorder("="), order="C")


def numpy_scalar(dtype: Any, raw: Any) -> Any:
    """Describes `numpy.core.multiarray.scalar`: returns the NumPy number."""
    kind = _checked_dtype(dtype)
    if not isinstance(raw, bytes) or len(raw) != kind.itemsize:
        raise DamagedError("a NumPy number is shorter or longer than it says")
    return np.frombuffer(raw, kind).astype(kind.newbyteorder("="))[0]


@dataclass(eq=False)
class Storage:
    """The values that tensors share. `raw` is None until the container is read."""

    key: str
    dtype: np.dtype
    count: int
    raw: bytes | memoryview | None = None

    @property
    def size(self) -> int:
        """Bytes of the values."""
        return self.count * self.dtype.itemsize

    def fill(self, raw: bytes | memoryview) -> None:
        """Takes the values.

        Raises:
            DamagedError: if there are more or fewer than the storage says.
        """
        if len(raw) != self.size:
            raise DamagedError("a storage is shorter or longer than it says")
        self.raw = raw


class StorageBytes(Protocol):
    """A storage as a file within the file, which is read only if a tensor of it is wanted."""

    def storage(self) -> Storage:
        """Returns the storage with its values."""
        ...


@dataclass(frozen=True, eq=False)
class Tensor:
    """`torch._utils._rebuild_tensor_v2(storage, offset, shape, strides, ...)`."""

    source: Any  # Storage or StorageBytes.
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self, budget: Budget) -> np.ndarray:
        """Returns a copy of the values, in the order of the indices whatever the strides are."""
        storage = self.source if isinstance(self.source, Storage) else self.source.storage()
        if min((self.offset, *self.shape, *self.strides)) < 0:
            raise UnreadableError("a tensor has a negative size")
        if 0 in self.shape:
            # NumPy multiplies the other sizes even so.
            if math.prod(size for size in self.shape if size) > 1 << 40:
                raise UnreadableError("a tensor reaches past its storage")
            return np.zeros(self.shape, storage.dtype)
        last = self.offset + sum(
            (size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True)
        )
        # Strides of 0 could claim any number of values.
        if max(last + 1, math.prod(self.shape)) > storage.count:
            raise UnreadableError("a tensor reaches past its storage")
        if storage.raw is None:
            raise DamagedError("a storage has no values")
        budget.take(self.shape, storage.dtype)
        values = np.frombuffer(storage.raw, storage.dtype)[self.offset :]
        steps = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values, self.shape, steps, writeable=False).copy()


def rebuild_tensor(source: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    """Describes `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`."""
    if not isinstance(source, Storage) and not hasattr(source, "storage"):
        raise DamagedError("a tensor has no storage")
    sizes, steps = _checked_shape(shape, "a tensor"), _checked_shape(strides, "a tensor")
    if len(sizes) != len(steps):
        raise DamagedError("a tensor is not described as PyTorch does")
    return Tensor(source, _checked_shape((offset,), "a tensor")[0], sizes, steps)


def rebuild_parameter(tensor: Any, *_: Any) -> Tensor:
    """Describes `torch._utils._rebuild_parameter`."""
    if not isinstance(tensor, Tensor):
        raise DamagedError("a parameter is no tensor")
    return tensor


def ordered_dict(*arguments: Any) -> dict[Any, Any]:
    """Describes `collections.OrderedDict()`, whose items follow."""
    if arguments:
        raise UnreadableError("it makes a dictionary in an unusual way")
    return {}


# What the state dictionaries of `torch.save` need.
TENSOR_NAMES: dict[Name, Any] = {
    Name("collections", "OrderedDict"): ordered_dict,
    Name("torch._utils", "_rebuild_tensor"): rebuild_tensor,
    Name("torch._utils", "_rebuild_tensor_v2"): rebuild_tensor,
    Name("torch._utils", "_rebuild_parameter"): rebuild_parameter,
    **dict.fromkeys(STORAGE_TYPES),
}

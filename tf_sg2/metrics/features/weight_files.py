"""Weight files of the eyes: where people get them, their hashes, and how each format is read."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.weights.pickles import read_state_dict


class Source(NamedTuple):
    """Where one published weight file comes from."""

    file: str
    url: str
    sha256: str  # Its first eight digits stand in the file's name.
    megabytes: int  # 1 MiB each
    publisher: str

    @property
    def command(self) -> str:
        """The command that fetches it."""
        return f"curl -LO {self.url}"


_TORCH = "https://download.pytorch.org/models/"
_FID = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/"
# Name of an eye -> its file.
SOURCES = {
    "inception": Source(
        "pt_inception-2015-12-05-6726825d.pth",
        f"{_FID}pt_inception-2015-12-05-6726825d.pth",
        "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
        91,
        "pytorch-fid: the 2015 Inception graph of TensorFlow",
    ),
    "vgg16": Source(
        "vgg16-397923af.pth",
        f"{_TORCH}vgg16-397923af.pth",
        "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        528,
        "torchvision",
    ),
    "alexnet": Source(
        "alexnet-owt-7be5be79.pth",
        f"{_TORCH}alexnet-owt-7be5be79.pth",
        "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
        233,
        "torchvision",
    ),
}


class WeightFile(NamedTuple):
    """Arrays by their PyTorch names, and the SHA-256 of the file that they came from."""

    arrays: Mapping[str, np.ndarray]
    sha256: str


def file_sha256(path: str | Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal digits.

    Raises:
        InputError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def read_weights(path: str | Path, eye: str | None = None, sha256: str | None = None) -> WeightFile:
    """Reads a weight file: torch (.pth, .pt), .safetensors, .npz or Keras .h5.

    Args:
        path: the file.
        eye: a key of `SOURCES`. A torch file must then be the published one: its hash is
            compared. Files of other formats are conversions, whose hash nobody published.
        sha256: the hash that the file must have, whole or its first digits; in place of the
            published one.

    Raises:
        InputError: if the file has another hash, cannot be read, or is of no known format.
    """
    path = Path(path)
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(
            f"{path} has the ending {path.suffix!r}; weight files end in {', '.join(READERS)}"
        )
    found = file_sha256(path)
    if sha256 is None and eye is not None and reader is read_state_dict:
        sha256 = SOURCES[eye].sha256
    if sha256 is not None:
        _require_hash(path, found, sha256, eye)
    return WeightFile(reader(path), found)


def _require_hash(path: Path, found: str, expected: str, eye: str | None) -> None:
    if not re.fullmatch(r"[0-9a-fA-F]{8,64}", expected):
        raise InputError(f"{expected!r} is no SHA-256; give 8 to 64 hexadecimal digits")
    if not found.startswith(expected.lower()):
        where = f"; the file for {eye!r} is {SOURCES[eye].url}" if eye in SOURCES else ""
        raise InputError(f"{path} has SHA-256 {found}, not {expected}: fetch it again{where}")


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a safetensors file; bfloat16 comes out as float32.

    Raises:
        InputError: if the file is damaged or holds another type.
    """
    raw = _read_bytes(path)
    try:
        length = int.from_bytes(raw[:8], "little")
        header = json.loads(raw[8 : 8 + length])
        header.pop("__metadata__", None)
        data = memoryview(raw)[8 + length :]
        return {name: _safetensor(entry, data) for name, entry in header.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} is damaged, or no safetensors file: {error}") from error


_SAFE_TYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "U8": "u1"}


def _safetensor(entry: Mapping[str, Any], data: memoryview) -> np.ndarray:
    start, end = entry["data_offsets"]
    shape, kind = entry["shape"], entry["dtype"]
    if not 0 <= start <= end <= len(data):
        raise ValueError("a tensor reaches past the end")
    if kind == "BF16":  # The upper half of a float32.
        upper = np.frombuffer(data[start:end], "<u2").astype(np.uint32)
        values = (upper << 16).view(np.float32)
    elif kind in _SAFE_TYPES:
        values = np.frombuffer(data[start:end], _SAFE_TYPES[kind])
    else:
        raise ValueError(f"type {kind} is not known")
    if any(size < 0 for size in shape) or math.prod(shape) != values.size:
        raise ValueError("a tensor has another size than its shape says")
    return values.reshape(shape).copy()


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an .npz archive; pickled ones are refused.

    Raises:
        InputError: if the file is damaged or holds pickled objects.
    """
    import zipfile

    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is damaged, or no .npz archive of plain arrays: {error}"
        ) from error


def read_h5(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of an HDF5 file by PyTorch names.

    Data sets may be named as in PyTorch, with dots or as groups. Keras's own files with layers
    of such names work too: `layer/layer/kernel:0` becomes `layer.weight`, transposed.

    Raises:
        InputError: if the file is damaged.
    """
    import h5py

    arrays: dict[str, np.ndarray] = {}

    def collect(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype.kind in "fiu":
            key, array = _from_keras(name, node[()])
            arrays[key] = array

    try:
        with h5py.File(path, "r") as file:
            file.visititems(collect)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise InputError(f"{path} is damaged, or no HDF5 file: {error}") from error
    return arrays


_KERAS_PARTS = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _from_keras(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    parts = name.split("/")
    last = parts[-1].removesuffix(":0")
    if last not in _KERAS_PARTS or len(parts) < 2:
        return ".".join(parts), array
    if last == "kernel":  # [rows, columns, in, out] or [in, out]
        array = array.transpose(3, 2, 0, 1) if array.ndim == 4 else array.T
    # A layer named with dots is written as one group, and Keras repeats it.
    layer = parts[-2]
    return f"{layer}.{_KERAS_PARTS[last]}", array


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


READERS: dict[str, Callable[[Path], Mapping[str, np.ndarray]]] = {
    ".pth": read_state_dict,
    ".pt": read_state_dict,
    ".safetensors": read_safetensors,
    ".npz": read_npz,
    ".h5": read_h5,
}

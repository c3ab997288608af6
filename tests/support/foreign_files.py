"""Files that other programs wrote, and the numbers that those programs computed with them."""

from __future__ import annotations

import functools
import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np

from checkout import REFERENCE

FOLDER = REFERENCE / "pickles"
MALICIOUS = REFERENCE / "malicious"


def unpack(folder: Path) -> Path:
    """Unpacks the files into a folder, and returns it."""
    with tarfile.open(FOLDER / "files.tar.xz") as archive:
        for member in archive:
            source = archive.extractfile(member)
            assert source is not None
            (folder / Path(member.name).name).write_bytes(source.read())
    return folder


@functools.cache
def contents() -> dict[str, bytes]:
    """Returns each file's bytes by its name."""
    with tarfile.open(FOLDER / "files.tar.xz") as archive:
        return {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]


def outputs(name: str) -> dict[str, np.ndarray]:
    """Returns the numbers of one file, such as "ada_cond"; see tests/reference/README.md."""
    with np.load(FOLDER / "outputs.npz") as archive:
        found = {k: archive[k] for k in archive.files if k.startswith(f"{name}/")}
    return {key.partition("/")[2]: value for key, value in found.items()}


@functools.cache
def array_digests() -> dict[str, dict[str, list]]:
    """Returns [shape, dtype, digest] of each array by file and name."""
    return json.loads((FOLDER / "arrays.json").read_text())


def digest(array: np.ndarray, in_order: bool) -> str:
    """Returns the digest of an array's bytes, in order or sorted by value."""
    array = np.ascontiguousarray(array) if in_order else np.sort(array, axis=None)
    return hashlib.sha256(array.tobytes()).hexdigest()[:12]

"""What a model's folder holds: which versions, and whether one has changed since a look at it."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path

from tf_sg2.serving.versions import version_number


def versions_on_disk(base_path: Path) -> dict[int, Path]:
    """Returns the versions in a model's folder: directories with a number for their name.

    A folder that is not there has none.

    Raises:
        OSError: if the folder is there and cannot be listed.
    """
    try:
        with os.scandir(base_path) as children:
            names = sorted(child.name for child in children if child.is_dir())
    except FileNotFoundError:
        return {}
    return {
        number: base_path / name for name in names if (number := version_number(name)) is not None
    }


def stamp(version: Path) -> Hashable:
    """Returns a value that changes when a file of the version does: its place, size or time."""
    found = []
    try:
        for folder, _, names in os.walk(version, onerror=_raise):
            for name in names:
                path = os.path.join(folder, name)
                status = os.stat(path)
                found.append((path, status.st_ino, status.st_size, status.st_mtime_ns))
    except OSError as error:
        return str(error)
    return tuple(sorted(found))


def _raise(error: OSError) -> None:
    raise error

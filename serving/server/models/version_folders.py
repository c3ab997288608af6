"""The folder of a model on disk: its versions, and whether the files of one have changed."""

from __future__ import annotations

import os
from collections.abc import Hashable
from pathlib import Path

from tf_sg2.serving.versions import version_number


def versions_on_disk(base_path: Path) -> dict[int, list[Path]]:
    """Returns the version folders in a model's folder, by version number.

    A version folder is a directory whose name is a number. `7` and `0007` name the same version;
    the shortest name comes first. A model's folder that does not exist has no versions.

    Raises:
        OSError: if the model's folder exists and cannot be listed.
    """
    try:
        with os.scandir(base_path) as children:
            names = [child.name for child in children if child.is_dir()]
    except FileNotFoundError:
        return {}
    found: dict[int, list[Path]] = {}
    for name in sorted(names, key=lambda name: (len(name), name)):
        number = version_number(name)
        if number is not None:
            found.setdefault(number, []).append(base_path / name)
    return found


def stamp(version: Path) -> Hashable:
    """Returns a value that changes when a file of the version is moved, resized or rewritten."""
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

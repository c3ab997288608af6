"""A folder of images: nested, sorted by path, with labels from a `dataset.json` at its top.

The fingerprint needs the SHA-256 of every file. These hashes are kept in the user's cache folder,
in one JSON file per data set. A file is not read again while its size, its modification time and
its change time stay the same. The cache holds hashes of the file names, never the names.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tf_sg2.custom_ops.cache import user_cache
from tf_sg2.data.decode import MAX_BYTES, SUFFIXES, too_large
from tf_sg2.data.labels import LABEL_FILE, Labels, parse_labels, refuse_nested
from tf_sg2.data.split.groups import GROUP_FILE, Groups
from tf_sg2.errors import InputError
from tf_sg2.files import new_file, open_regular

_THREADS = 8
# File times are coarse. A file that changed this recently may change again at the same time.
_SETTLED_NS = 3_000_000_000


class FolderFiles:
    """The image files below a folder (see `tf_sg2.data.encoded.EncodedFiles`).

    Files are chosen by suffix. Names that begin with a dot are skipped, and links to folders are
    not followed. Only the label file at the top is read.

    Args:
        path: the folder.

    Raises:
        InputError: if the folder or one below it cannot be listed.
    """

    def __init__(self, path: str):
        self.name = path
        self._root = Path(path)
        self.names: list[str] = []
        self.ignored: list[str] = []
        for folder, children, files in os.walk(path, onerror=self._refuse):
            children[:] = [child for child in children if not child.startswith(".")]
            relative = Path(folder).relative_to(self._root)
            for file in files:
                if file.startswith("."):
                    continue
                name = (relative / file).as_posix()
                if file.lower().endswith(SUFFIXES):
                    self.names.append(name)
                elif name == GROUP_FILE:
                    continue
                elif not file.endswith(".json") or (file == LABEL_FILE and name != LABEL_FILE):
                    self.ignored.append(name)
        self.names.sort()
        self.ignored.sort()

    def read(self, index: int) -> bytes:
        """Returns the bytes of file `index`."""
        return self._read(self.names[index], MAX_BYTES)

    def where(self, index: int) -> str:
        """Returns the path of file `index`."""
        return str(self._root / self.names[index])

    def labels(self) -> Labels:
        """Returns the labels of the folder's `dataset.json`, if it has one."""
        path = self._root / LABEL_FILE
        if not os.path.lexists(path):
            refuse_nested(self.ignored, self._root)
            return Labels()
        return parse_labels(self._read(LABEL_FILE), self.names, str(path))

    def groups(self) -> Groups | None:
        """Returns the groups of the folder's `groups.csv`, if it has one."""
        path = self._root / GROUP_FILE
        if not os.path.lexists(path):
            return None
        return Groups(self._read(GROUP_FILE), str(path))

    def content(self) -> list[str]:
        """Returns the name and the SHA-256 of every file, one line per file."""
        hashes = content_hashes(self._root, self.names)
        return [f"{name} {digest}" for name, digest in zip(self.names, hashes, strict=True)]

    def _read(self, name: str, most: int | None = None) -> bytes:
        try:
            with open_regular(self._root / name) as file:
                if most is not None and os.fstat(file.fileno()).st_size > most:
                    raise too_large(str(self._root / name))
                return file.read()
        except OSError as error:
            raise InputError(
                f"{self._root / name} cannot be read ({error.strerror}); restore it, and leave "
                "the folder unchanged while it is in use"
            ) from error

    def _refuse(self, error: OSError) -> None:
        raise InputError(
            f"the folder {error.filename} cannot be listed ({error.strerror}); "
            "make it readable, or give another path"
        )


def content_hashes(root: Path, names: Sequence[str]) -> list[str]:
    """Returns the SHA-256 of each file in hexadecimal, from the cache where it is known.

    Without a usable cache folder every file is read.

    Args:
        root: the folder.
        names: paths of the files, relative to `root`.

    Raises:
        InputError: names the first file that cannot be read.
    """
    cache = _cache_file(root)
    known = _read_cache(cache)
    now = time.time_ns()

    def look_up(name: str) -> tuple[str, list[int], str]:
        key = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
        path = root / name
        try:
            status = path.stat()
            facts = [status.st_size, status.st_mtime_ns, status.st_ctime_ns]
            entry = known.get(key)
            if isinstance(entry, list) and entry[:3] == facts and isinstance(entry[-1], str):
                return key, facts, entry[-1]
            return key, facts, _hash(path)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); restore it") from error

    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(look_up, names))
    settled = {
        key: [*facts, digest] for key, facts, digest in found if now - facts[2] > _SETTLED_NS
    }
    if cache is not None and settled != known:
        with contextlib.suppress(InputError), new_file(cache) as file:  # The cache is optional.
            file.write(json.dumps(settled).encode())
    return [digest for _, _, digest in found]


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _cache_file(root: Path) -> Path | None:
    folder = user_cache()
    if folder is None:
        return None
    place = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()
    return folder / "data" / f"{place}.json"


def _read_cache(cache: Path | None) -> dict[str, object]:
    try:
        found = json.loads(cache.read_text(encoding="utf-8")) if cache else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

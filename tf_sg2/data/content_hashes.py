"""SHA-256 of the files of a folder; a file that did not change is not read again.

The hashes are kept in the user's cache folder, one file a data set. A file counts as unchanged
while its size and its times of modification and of change are the same. Names are kept as hashes.
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

from tf_sg2.custom_ops.build import cache_folder
from tf_sg2.data.regular_file import open_regular
from tf_sg2.errors import InputError
from tf_sg2.files import new_file

_THREADS = 8
# Times are coarse: a file that changed this recently could change again at the same time.
_SETTLED_NS = 3_000_000_000


def content_hashes(root: Path, names: Sequence[str]) -> list[str]:
    """Returns the SHA-256 of each file, hexadecimal.

    Args:
        root: the folder.
        names: paths of the files below it.

    Raises:
        InputError: names the first file that cannot be read.
    """
    place = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()
    cache = cache_folder() / "data" / f"{place}.json"
    known = _read(cache)
    now = time.time_ns()

    def look(name: str) -> tuple[str, list, str]:
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
        found = list(pool.map(look, names))
    settled = {
        key: [*facts, digest] for key, facts, digest in found if now - facts[2] > _SETTLED_NS
    }
    if settled != known:
        with contextlib.suppress(InputError), new_file(cache) as file:  # No cache: read again.
            file.write(json.dumps(settled).encode())
    return [digest for _, _, digest in found]


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read(cache: Path) -> dict[str, object]:
    try:
        found = json.loads(cache.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}

"""Features of images on disk, in chunks, so that a stopped evaluation goes on where it was.

Images are never kept. A file's name is a hash of everything that its numbers depend on: the
fingerprint of the images, the eye with its recipe, and the rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.files import new_file

DIGEST_BYTES = 32  # A SHA-256 stands before the numbers.


class FeatureCache:
    """A folder of feature chunks.

    Args:
        folder: made when the first chunk is written.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def path(self, fingerprint: str, recipe: Mapping[str, Any], first: int, count: int) -> Path:
        """Returns the file of rows `first` to `first + count`."""
        key = json.dumps([fingerprint, recipe, first, count], sort_keys=True)
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}.features"

    def load(
        self, fingerprint: str, recipe: Mapping[str, Any], first: int, count: int
    ) -> np.ndarray | None:
        """Returns the features of rows `first` to `first + count`, float32 [count, d].

        None if they were never written.

        Raises:
            InputError: if the file is damaged.
        """
        path = self.path(fingerprint, recipe, first, count)
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
        digest, body = raw[:DIGEST_BYTES], raw[DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest or len(body) % (4 * count):
            raise InputError(f"the cached features {path} are damaged; delete the file")
        return np.frombuffer(body, "<f4").reshape(count, -1)

    def save(
        self, fingerprint: str, recipe: Mapping[str, Any], first: int, features: np.ndarray
    ) -> None:
        """Writes the features of rows `first` to `first + len(features)`, whole or not at all.

        Raises:
            InputError: if the folder cannot be written to.
        """
        path = self.path(fingerprint, recipe, first, len(features))
        body = np.ascontiguousarray(features, "<f4").tobytes()
        with new_file(path) as file:
            file.write(hashlib.sha256(body).digest() + body)

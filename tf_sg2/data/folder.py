"""A folder of images: nested, sorted by path, labels from a `dataset.json` in it."""

from __future__ import annotations

import os
from pathlib import Path

from tf_sg2.data.content_hashes import content_hashes
from tf_sg2.data.decode import MAX_BYTES, SUFFIXES, too_large
from tf_sg2.data.labels import LABEL_FILE, Labels, parse_labels, refuse_nested
from tf_sg2.data.regular_file import open_regular
from tf_sg2.errors import InputError


class FolderFiles:
    """The image files below a folder (see `tf_sg2.data.encoded.EncodedFiles`).

    Files are chosen by suffix; names that begin with a dot are passed over, links to folders
    are not followed. Of label files, only the one at the top is read.

    Args:
        path: the folder.

    Raises:
        InputError: if it cannot be listed.
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
                elif not file.endswith(".json") or (file == LABEL_FILE and name != LABEL_FILE):
                    self.ignored.append(name)
        self.names.sort()
        self.ignored.sort()

    def read(self, index: int) -> bytes:
        """The bytes of file `index`."""
        return self._read(self.names[index], MAX_BYTES)

    def where(self, index: int) -> str:
        """The file's path."""
        return str(self._root / self.names[index])

    def labels(self) -> Labels:
        """Labels from the folder's `dataset.json`, if there is one."""
        path = self._root / LABEL_FILE
        if not os.path.lexists(path):
            refuse_nested(self.ignored, self._root)
            return Labels()
        return parse_labels(self._read(LABEL_FILE), self.names, str(path))

    def content(self) -> list[str]:
        """Name and SHA-256 of every file."""
        hashes = content_hashes(self._root, self.names)
        return [f"{name} {digest}" for name, digest in zip(self.names, hashes, strict=True)]

    def _read(self, name: str, most: int | None = None) -> bytes:
        try:
            with open_regular(self._root / name) as file:
                if most is not None and os.fstat(file.fileno()).st_size > most:
                    raise too_large(str(self._root / name))
                return file.read()
        except OSError as error:
            raise self._unreadable(name, error) from error

    def _unreadable(self, name: str, error: OSError) -> InputError:
        return InputError(
            f"{self._root / name} cannot be read ({error.strerror}); "
            "the folder must stay as it is while it is in use"
        )

    def _refuse(self, error: OSError) -> None:
        raise InputError(f"the folder {error.filename} cannot be listed ({error.strerror})")

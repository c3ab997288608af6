"""Whether a data set shows drawn cards of invented people, whose images a report may hold."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from tf_sg2.cards.writing import CARDS_FILE
from tf_sg2.data.archive import ArchiveFiles
from tf_sg2.data.folder import FolderFiles
from tf_sg2.data.open import CARDS_PREFIX, kind_of
from tf_sg2.errors import InputError


def is_drawn(spec: str) -> bool:
    """Returns whether every image of a data set was drawn by `tf-sg2 cards`.

    That is so for `cards:...`, and for a folder or zip whose `cards.json` lists all its images.
    Images that someone added to such a set are not in the list.

    Args:
        spec: see `tf_sg2.data.open.open_source`.
    """
    if spec.startswith(CARDS_PREFIX):
        return True
    try:
        kind = kind_of(spec)
        if kind == "archive":
            with zipfile.ZipFile(spec) as archive:
                listed = _files(archive.read(CARDS_FILE))
            names = ArchiveFiles(spec).names
        elif kind == "folder":
            listed = _files((Path(spec) / CARDS_FILE).read_bytes())
            names = FolderFiles(spec).names
        else:
            return False
    except (InputError, OSError, KeyError, ValueError, RecursionError, zipfile.BadZipFile):
        return False
    return bool(names) and set(names) <= listed


def _files(content: bytes) -> set[str]:
    """Returns the names of the images in a `cards.json`."""
    document: Any = json.loads(content)
    if not isinstance(document, dict) or not isinstance(document.get("cards"), list):
        return set()
    return {str(card["file"]) for card in document["cards"] if isinstance(card, dict)}

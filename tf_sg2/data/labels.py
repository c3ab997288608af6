"""Labels of a data set: the official `dataset.json` in and out, one vector an image.

The file holds `{"labels": [["00000/img00000000.png", 3], ...]}`: a class number or a vector
an image, or null where there are no labels (the format of the official PyTorch data tool).
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from tf_sg2.errors import InputError

LABEL_FILE = "dataset.json"


class Labels:
    """One label an image, kept small: class numbers, or vectors, or nothing.

    Args:
        classes: int64 [N] class numbers, one-hot as vectors; or None.
        vectors: float32 [N, label_dim]; or None.
        dim: length of a vector; needed with `classes`.
    """

    def __init__(
        self,
        classes: np.ndarray | None = None,
        vectors: np.ndarray | None = None,
        dim: int = 0,
    ):
        self._classes = classes
        self._vectors = vectors
        self.dim = dim if vectors is None else vectors.shape[1]

    def row(self, index: int) -> np.ndarray:
        """Label of image `index`, float32 [dim]."""
        if self._vectors is not None:
            return self._vectors[index]
        vector = np.zeros(self.dim, np.float32)
        if self._classes is not None:
            vector[self._classes[index]] = 1
        return vector

    def content(self) -> bytes:
        """Bytes that differ when the labels differ, for fingerprints."""
        kept = [part for part in (self._classes, self._vectors) if part is not None]
        return b"".join([str(self.dim).encode(), *(part.tobytes() for part in kept)])


def parse_labels(text: bytes, names: Sequence[str], where: str) -> Labels:
    """Reads `dataset.json` for the images `names`.

    Args:
        text: the file's content.
        names: images in their order, as the file calls them.
        where: what messages call the file.

    Raises:
        InputError: if the file is malformed, or an image has no label in it.
    """
    try:
        pairs = json.loads(text)["labels"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f'{where} is not a JSON object with the key "labels"') from None
    if pairs is None:
        return Labels()
    try:
        by_name = {name: label for name, label in pairs}
    except (TypeError, ValueError):
        raise InputError(f'{where}: "labels" is not a list of [file name, label] pairs') from None
    missing = next((name for name in names if name not in by_name), None)
    if missing is not None:
        raise InputError(f"{where} has no label for {missing}; add it, or set labels to null")
    values = [by_name[name] for name in names]
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        classes = np.asarray(values, np.int64)
        if classes.min() < 0:
            bad = names[int(classes.argmin())]
            raise InputError(f"{where}: the class of {bad} is negative; classes start at 0")
        return Labels(classes=classes, dim=int(classes.max()) + 1)
    try:
        vectors = np.asarray(values, np.float32)
    except (TypeError, ValueError):
        vectors = np.empty(0)
    if vectors.ndim != 2 or not np.isfinite(vectors).all():
        raise InputError(
            f"{where}: labels must be all class numbers, or all vectors of one length "
            "with finite entries"
        )
    return Labels(vectors=vectors)


def format_labels(names: Sequence[str], vectors: Sequence[np.ndarray]) -> str:
    """The text of `dataset.json` for images `names` with label `vectors`.

    One-hot labels are written as class numbers where reading them back gives the same vectors
    (the last class must occur), and as vectors otherwise.
    """
    rows = np.asarray(vectors, np.float32)
    values: list = rows.tolist()
    one_hot = bool(((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all())
    if one_hot and rows[:, -1].any():
        values = rows.argmax(axis=1).tolist()
    return json.dumps({"labels": [list(pair) for pair in zip(names, values, strict=True)]})

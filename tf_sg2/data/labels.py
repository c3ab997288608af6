"""Labels of a data set, one vector per image; reads and writes the official `dataset.json`.

The file holds `{"labels": [["00000/img00000000.png", 3], ...]}`, with a class number or a vector
per image. `{"labels": null}` means no labels. It is the format of the official PyTorch data tool.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from tf_sg2.errors import InputError

LABEL_FILE = "dataset.json"
MOST_CLASSES = 1_000_000
_BLOCK = 2**18  # Numbers that are checked together.


class Labels:
    """One label per image, kept compactly as class numbers or as vectors.

    Args:
        classes: class numbers of one-hot labels, int64 [N]; or None.
        vectors: float32 [N, label_dim]; or None. Without both there are no labels.
        dim: length of a label vector; needed with `classes`.
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

    @classmethod
    def of_vectors(cls, vectors: np.ndarray, where: str) -> Labels:
        """Returns labels from vectors [N, label_dim]; keeps one-hot vectors as class numbers.

        Args:
            vectors: numbers of any type; may be memory-mapped from a file.
            where: name of their file in messages.

        Raises:
            InputError: if a number is not finite as a float32.
        """
        count, dim = vectors.shape
        classes = np.empty(count, np.int64)
        one_hot = 0 < dim <= MOST_CLASSES
        step = max(1, _BLOCK // max(1, dim))
        for start in range(0, count, step):
            with np.errstate(over="ignore"):
                rows = np.asarray(vectors[start : start + step], np.float32)
            finite = np.isfinite(rows).all(axis=1)
            if not finite.all():
                raise InputError(
                    f"{where}: the label of image {start + int(finite.argmin())} is not finite "
                    "(the first image is 0); correct it"
                )
            if one_hot:
                one_hot = bool(((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all())
                classes[start : start + step] = rows.argmax(axis=1)
        if one_hot:
            return cls(classes=classes, dim=dim)
        return cls(vectors=np.array(vectors, np.float32))

    def __len__(self) -> int:
        """Returns the number of labels, 0 without labels."""
        return max(len(part) for part in (self._classes, self._vectors, ()) if part is not None)

    def row(self, index: int) -> np.ndarray:
        """Returns the label of image `index`, float32 [dim]."""
        if self._vectors is not None:
            return self._vectors[index]
        vector = np.zeros(self.dim, np.float32)
        if self._classes is not None:
            vector[self._classes[index]] = 1
        return vector

    def take(self, indices: Sequence[int]) -> Labels:
        """Returns the labels of images `indices`, in that order."""
        chosen = np.asarray(indices, np.int64)
        return Labels(
            None if self._classes is None else self._classes[chosen],
            None if self._vectors is None else self._vectors[chosen],
            self.dim,
        )

    def class_numbers(self) -> list[int] | None:
        """Returns the class numbers if they say everything, else None.

        They do if the labels are one-hot and the last class occurs: it gives the vector's length.
        """
        if self._classes is None or not len(self._classes):
            return None
        return self._classes.tolist() if self._classes.max() == self.dim - 1 else None

    def content(self) -> bytes:
        """Returns bytes for fingerprints: different labels give different bytes."""
        kept = [part for part in (self._classes, self._vectors) if part is not None]
        return b"".join([str(self.dim).encode(), *(part.tobytes() for part in kept)])


def parse_labels(text: bytes, names: Sequence[str], where: str) -> Labels:
    """Returns the labels of the images `names` from the text of a `dataset.json`.

    Args:
        text: the file's content.
        names: names of the images in the file, in the order of the labels.
        where: name of the file in messages.

    Raises:
        InputError: if the file is malformed, an image has no label, or it has two labels that
            differ.
    """
    try:
        pairs = json.loads(text)["labels"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(
            f'{where} is not a JSON object with the key "labels"; correct or delete it'
        ) from None
    if pairs is None:
        return Labels()
    try:
        by_name: dict[str, Any] = dict(pairs)
    except (TypeError, ValueError):
        raise InputError(
            f'{where}: "labels" is not a list of [file name, label] pairs; correct it'
        ) from None
    for name, value in () if isinstance(pairs, dict) else pairs:
        if by_name[name] != value:
            raise InputError(
                f"{where} gives {name} two labels, {_short(value)} and {_short(by_name[name])}; "
                "keep one"
            )
    missing = next((name for name in names if name not in by_name), None)
    if missing is not None:
        raise InputError(f"{where} has no label for {missing}; add it, or set labels to null")
    values = [by_name[name] for name in names]
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return _of_classes(values, names, where)
    try:
        vectors = np.asarray(values)
    except (TypeError, ValueError):  # They differ in length.
        vectors = np.empty(0)
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiub":
        raise InputError(
            f"{where}: labels must be all class numbers, or all vectors of one length "
            "with finite numbers; correct those that differ"
        )
    return Labels.of_vectors(vectors, where)


def refuse_nested(ignored: Sequence[str], container: object) -> None:
    """Refuses a label file that is not at the top, because its labels would be ignored.

    Args:
        ignored: paths of the files that are not images.
        container: path of the folder or the zip.

    Raises:
        InputError: names the first such file.
    """
    nested = next((name for name in ignored if name.endswith("/" + LABEL_FILE)), None)
    if nested is not None:
        raise InputError(
            f"{nested} in {container} is not at the top of the data set, and labels are read only "
            f"there; put a {LABEL_FILE} at the top, with paths that begin there, or delete this one"
        )


def _of_classes(classes: Sequence[int], names: Sequence[str], where: str) -> Labels:
    for name, number in zip(names, classes, strict=True):
        if number < 0:
            raise InputError(f"{where}: the class of {name} is negative; classes start at 0")
        if number >= MOST_CLASSES:
            raise InputError(
                f"{where}: the class of {name} is {number}; classes are below {MOST_CLASSES}"
            )
    return Labels(classes=np.asarray(classes, np.int64), dim=max(classes) + 1)


def _short(label: object) -> str:
    """Returns a label as JSON, cut off after 60 characters."""
    text = json.dumps(label)
    return text if len(text) <= 60 else f"{text[:57]}..."


def format_labels(names: Sequence[str], labels: Labels) -> Iterator[str]:
    """Yields the text of `dataset.json` for images `names`, in pieces.

    One-hot labels are written as class numbers if reading them gives the same vectors, which needs
    an image of the last class. Otherwise vectors are written.
    """
    numbers = labels.class_numbers()
    yield '{"labels": ['
    for index, name in enumerate(names):
        value = labels.row(index).tolist() if numbers is None else numbers[index]
        yield (", " if index else "") + json.dumps([name, value])
    yield "]}"

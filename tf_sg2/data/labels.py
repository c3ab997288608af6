"""Labels of a data set: the official `dataset.json` in and out, one vector an image.

The file holds `{"labels": [["00000/img00000000.png", 3], ...]}`: a class number or a vector
an image, or null where there are no labels (the format of the official PyTorch data tool).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import numpy as np

from tf_sg2.errors import InputError

LABEL_FILE = "dataset.json"
MOST_CLASSES = 1_000_000
_BLOCK = 2**18  # Numbers that are looked at together.


class Labels:
    """One label per image, kept small: class numbers, or vectors, or nothing.

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

    @classmethod
    def of_vectors(cls, vectors: np.ndarray, where: str) -> Labels:
        """Labels from numbers [N, label_dim]; one-hot vectors are kept as class numbers.

        Args:
            vectors: of any type of number; may be mapped from a file.
            where: what messages call their file.

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
                    "(images count from 0); correct it"
                )
            if one_hot:
                one_hot = bool(((rows == 0) | (rows == 1)).all() and (rows.sum(axis=1) == 1).all())
                classes[start : start + step] = rows.argmax(axis=1)
        if one_hot:
            return cls(classes=classes, dim=dim)
        return cls(vectors=np.array(vectors, np.float32))

    def __len__(self) -> int:
        """Number of labels; 0 without labels."""
        return max(len(part) for part in (self._classes, self._vectors, ()) if part is not None)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.row(index)

    def row(self, index: int) -> np.ndarray:
        """Label of image `index`, float32 [dim]."""
        if self._vectors is not None:
            return self._vectors[index]
        vector = np.zeros(self.dim, np.float32)
        if self._classes is not None:
            vector[self._classes[index]] = 1
        return vector

    def take(self, indices: Sequence[int]) -> Labels:
        """The labels of images `indices`, in that order."""
        chosen = np.asarray(indices, np.int64)
        return Labels(
            None if self._classes is None else self._classes[chosen],
            None if self._vectors is None else self._vectors[chosen],
            self.dim,
        )

    def class_numbers(self) -> list[int] | None:
        """The class numbers, if they alone tell the labels: one-hot, and the last class occurs."""
        if self._classes is None or not len(self._classes):
            return None
        return self._classes.tolist() if self._classes.max() == self.dim - 1 else None

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
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f'{where} is not a JSON object with the key "labels"') from None
    if pairs is None:
        return Labels()
    try:
        by_name = dict(pairs)
    except (TypeError, ValueError):
        raise InputError(f'{where}: "labels" is not a list of [file name, label] pairs') from None
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
            "with finite entries"
        )
    return Labels.of_vectors(vectors, where)


def refuse_nested(ignored: Sequence[str], container: object) -> None:
    """Refuses label files below the top among the files that are not images.

    Raises:
        InputError: names the first one; without it, labels would be dropped silently.
    """
    nested = next((name for name in ignored if name.endswith("/" + LABEL_FILE)), None)
    if nested is not None:
        raise InputError(
            f"{nested} in {container} is not at the top, where labels are read; put a "
            f"{LABEL_FILE} there whose file names begin at the top, or take this one away"
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


def format_labels(names: Sequence[str], labels: Labels) -> Iterator[str]:
    """Yields the text of `dataset.json` for images `names`, in pieces.

    One-hot labels are written as class numbers where reading them back gives the same vectors
    (the last class must occur), and as vectors otherwise.
    """
    numbers = labels.class_numbers()
    yield '{"labels": ['
    for index, name in enumerate(names):
        value = labels.row(index).tolist() if numbers is None else numbers[index]
        yield (", " if index else "") + json.dumps([name, value])
    yield "]}"

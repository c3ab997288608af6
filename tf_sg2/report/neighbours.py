"""Nearest real images of generated ones: is the training set copied?

A generator that copies makes images that lie nearer to a training image than to any held-out
image. The ratio of the two distances shows it. Training images are usually more numerous, so the
nearest one is nearer by chance too; the held-out images themselves show by how much.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_sg2.data.source import ImageSource
from tf_sg2.metrics.extraction import rgb

BATCH = 32
BLOCK_ROWS = 256


@dataclass(frozen=True)
class Neighbour:
    """A generated image and its nearest real images.

    Attributes:
        seed: of the generated image.
        training: index of the nearest training image in its set.
        training_distance: Euclidean distance of their features.
        heldout: index of the nearest held-out image; None without a hold-out.
        heldout_distance: as for the training image.
    """

    seed: int
    training: int
    training_distance: float
    heldout: int | None = None
    heldout_distance: float | None = None

    @property
    def ratio(self) -> float | None:
        """Distance to training over distance to held-out; below 1 if training is nearer."""
        if self.heldout_distance is None:
            return None
        return self.training_distance / max(self.heldout_distance, 1e-12)


@dataclass(frozen=True)
class Neighbours:
    """The neighbours of all generated images.

    Attributes:
        found: by ratio, or without a hold-out by distance; the most suspicious first.
        expected: the median ratio if each held-out image takes the place of a generated one, with
            its own image left out; None without a hold-out of two images.
        counts: how many training and held-out images were looked at.
    """

    found: Sequence[Neighbour]
    expected: float | None
    counts: tuple[int, int]

    @property
    def median(self) -> float | None:
        """Returns the median ratio of the generated images."""
        ratios = [found.ratio for found in self.found if found.ratio is not None]
        return float(np.median(ratios)) if ratios else None


def neighbours(
    generated: np.ndarray,
    seeds: Sequence[int],
    training: tuple[Sequence[int], np.ndarray],
    heldout: tuple[Sequence[int], np.ndarray] | None,
) -> Neighbours:
    """Returns the nearest real images of each generated one, by Euclidean distance of features.

    Args:
        generated: features, float [N, d].
        seeds: of the generated images.
        training: indices in their set, and features, float [M, d].
        heldout: the same for held-out images.
    """
    at, distances = nearest(generated, training[1])
    if heldout is None:
        rows = [
            Neighbour(int(seed), int(training[0][i]), float(d))
            for seed, i, d in zip(seeds, at, distances, strict=True)
        ]
        rows.sort(key=lambda row: row.training_distance)
        return Neighbours(rows, None, (len(training[1]), 0))
    other_at, other = nearest(generated, heldout[1])
    rows = [
        Neighbour(int(seed), int(training[0][i]), float(d), int(heldout[0][j]), float(e))
        for seed, i, d, j, e in zip(seeds, at, distances, other_at, other, strict=True)
    ]
    rows.sort(key=lambda row: row.ratio or 0.0)
    expected = None
    if len(heldout[1]) > 1:
        _, to_training = nearest(heldout[1], training[1])
        _, to_others = nearest(heldout[1], heldout[1], same_set=True)
        expected = float(np.median(to_training / np.maximum(to_others, 1e-12)))
    return Neighbours(rows, expected, (len(training[1]), len(heldout[1])))


def nearest(
    queries: np.ndarray, points: np.ndarray, same_set: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the index and the distance of the nearest point of each query, [N] each.

    Args:
        queries: float [N, d].
        points: float [M, d].
        same_set: the queries are the points, and no point is its own neighbour.
    """
    queries, points = queries.astype(np.float64), points.astype(np.float64)
    norms = np.square(points).sum(axis=1)
    indices, distances = [], []
    for start in range(0, len(queries), BLOCK_ROWS):
        block = queries[start : start + BLOCK_ROWS]
        squares = np.square(block).sum(axis=1)[:, None] + norms - 2 * block @ points.T
        if same_set:
            squares[np.arange(len(block)), start + np.arange(len(block))] = np.inf
        at = squares.argmin(axis=1)
        indices.append(at)
        # The expansion above loses digits for near points; the difference does not.
        distances.append(np.sqrt(np.square(block - points[at]).sum(axis=1)))
    return np.concatenate(indices), np.concatenate(distances)


def features(
    eye: Callable[[np.ndarray], Any], images: Iterable[np.ndarray], step: Callable[[], object]
) -> np.ndarray:
    """Returns what an eye sees, float32 [N, d].

    Args:
        eye: see `tf_sg2.metrics.features.eyes`.
        images: uint8 [H, W, 1, 3 or 4] each; transparency is left out.
        step: called after each image.
    """
    rows: list[np.ndarray] = []
    batch: list[np.ndarray] = []

    def flush() -> None:
        rows.append(np.asarray(eye(rgb(np.stack(batch))), np.float32))
        batch.clear()

    for image in images:
        batch.append(image[..., :3] if image.shape[2] == 4 else image)
        step()
        if len(batch) == BATCH:
            flush()
    if batch:
        flush()
    return np.concatenate(rows)


def spread(source: ImageSource, most: int) -> list[int]:
    """Returns at most `most` indices of a source, evenly spread."""
    count = len(source)
    return [int(i) for i in np.linspace(0, count - 1, min(count, most)).round()]

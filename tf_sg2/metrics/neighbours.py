"""Precision and recall (arXiv 1904.06991), density and coverage (arXiv 2002.09797).

Both look at balls around each image of one set, up to its k-th nearest neighbour there, and ask
which images of the other set lie inside. No matrix of distances is ever whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.metrics.checks import blocks, checked_pair

BLOCK_ROWS = 2048  # Distances between two such blocks take 32 MiB in float64.
SAME = 1e-13  # Squared distance over squared norms, below which float64 cannot tell points apart.


class PrecisionRecall(NamedTuple):
    """Shares of generated images near real ones (precision), and the reverse (recall)."""

    precision: float
    recall: float


class Block(NamedTuple):
    """Distances between some rows of one set and some of another."""

    rows: slice
    columns: slice
    distances: np.ndarray


class DensityCoverage(NamedTuple):
    """Mean count of real balls around a generated image over k, and the share of balls hit."""

    density: float
    coverage: float


def precision_recall(
    real: np.ndarray, generated: np.ndarray, k: int = 3, rounding: str = "exact"
) -> PrecisionRecall:
    """Returns precision and recall by k-nearest-neighbour balls.

    The radius of a point is its (k + 1)-th smallest distance to its own set, itself included.
    A probe counts if its distance to any point is at most that point's radius.

    Args:
        real: features, float [N, d]. The official metric takes 4096 values of VGG16.
        generated: features, float [M, d].
        k: 3 in the paper.
        rounding: "exact" takes float64 distances of the features as they are. "float16" rounds
            features and distances as stylegan2-ada-pytorch does. "float16_squared" does the
            same with squared distances, as the TensorFlow metrics of StyleGAN2 do. Rounding
            moves points at the border of a ball.

    Raises:
        InputError: for features that cannot be used, at most k images in a set, or an unknown
            rounding.

    Source: `compute_pr` of stylegan2-ada-pytorch.
    """
    real, generated = _checked(real, generated, k)
    if rounding not in MEASURES:
        raise InputError(f"there is no rounding {rounding!r}; take one of {', '.join(MEASURES)}")
    real_radii = _radii(real, k, rounding)
    generated_radii = _radii(generated, k, rounding)
    near_real = np.zeros(len(generated), bool)
    near_generated = np.zeros(len(real), bool)
    for rows, columns, distances in _distances(real, generated, rounding):
        near_real[columns] |= (distances <= real_radii[rows, None]).any(axis=0)
        near_generated[rows] |= (distances <= generated_radii[columns]).any(axis=1)
    return PrecisionRecall(float(near_real.mean()), float(near_generated.mean()))


def density_coverage(real: np.ndarray, generated: np.ndarray, k: int = 5) -> DensityCoverage:
    """Returns density and coverage of the generated set.

    A real point's ball reaches to its k-th neighbour other than itself, border excluded.
    Density is the mean count of real balls that hold a generated image, over k; it may exceed 1.
    Coverage is the share of real balls that hold any generated image.

    Args:
        real: features, float [N, d].
        generated: features, float [M, d].
        k: 5 in the paper.

    Raises:
        InputError: for features that cannot be used, or at most k images in a set.

    Source: Naeem et al. 2020 and its package `prdc`.
    """
    real, generated = _checked(real, generated, k)
    radii = _radii(real, k, "exact")
    inside = 0
    hit = np.zeros(len(real), bool)
    for rows, _, distances in _distances(real, generated, "exact"):
        within = distances < radii[rows, None]
        inside += int(within.sum())
        hit[rows] |= within.any(axis=1)
    return DensityCoverage(inside / (k * len(generated)), float(hit.mean()))


def _checked(real: np.ndarray, generated: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    real, generated = checked_pair(real, generated)
    least = min(len(real), len(generated))
    if not 1 <= k < least:
        raise InputError(
            f"k is {k}, and the smaller set has {least} images; k must be from 1 to {least - 1}"
        )
    return real, generated


def _radii(points: np.ndarray, k: int, rounding: str) -> np.ndarray:
    """Returns each point's distance to its k-th neighbour beside itself, [N]."""
    radii = []
    for rows in blocks(points, BLOCK_ROWS):
        nearest = np.empty((len(rows), 0))
        for _, _, distances in _distances(rows, points, rounding):
            nearest = np.concatenate([nearest, distances], axis=1)
            nearest = np.partition(nearest, min(k, nearest.shape[1] - 1), axis=1)[:, : k + 1]
        radii.append(nearest.max(axis=1))
    return np.concatenate(radii)


def _distances(x: np.ndarray, y: np.ndarray, rounding: str) -> Iterator[Block]:
    """Yields the distances of all pairs, block by block."""
    measure = MEASURES[rounding]
    for i, a in enumerate(blocks(x, BLOCK_ROWS)):
        rows = slice(i * BLOCK_ROWS, i * BLOCK_ROWS + len(a))
        for j, b in enumerate(blocks(y, BLOCK_ROWS)):
            columns = slice(j * BLOCK_ROWS, j * BLOCK_ROWS + len(b))
            yield Block(rows, columns, measure(a, b))


def _exact(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns squared distances in float64; they compare as distances do."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    norms = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1)
    distances = norms - 2 * (a @ b.T)
    distances[distances < SAME * norms] = 0
    return distances


def _half(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns distances as PyTorch's `cdist` rounds them in float16.

    One matrix product of [−2a, |a|², 1] and [b, 1, |b|²] is summed in float32. Its factors, its
    result and the root are rounded to float16.
    """
    a, b = _rounded(a), _rounded(b)
    squares_a = _rounded(np.square(a).sum(axis=1, keepdims=True))
    squares_b = _rounded(np.square(b).sum(axis=1, keepdims=True))
    left = np.concatenate([-2 * a, squares_a, np.ones_like(squares_a)], axis=1)
    right = np.concatenate([b, np.ones_like(squares_b), squares_b], axis=1)
    return _rounded(np.sqrt(np.maximum(_rounded(left @ right.T), 0)))


def _half_squared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Returns squared distances with every step of |a|² − 2ab + |b|² rounded to float16."""
    a, b = _rounded(a), _rounded(b)
    squares_a = _rounded(np.square(a).sum(axis=1))[:, None]
    squares_b = _rounded(np.square(b).sum(axis=1))
    product = _rounded(2 * _rounded(a @ b.T))
    return np.maximum(_rounded(_rounded(squares_a - product) + squares_b), 0)


def _rounded(x: np.ndarray) -> np.ndarray:
    """Returns float32 values that float16 can hold."""
    return x.astype(np.float16).astype(np.float32)


MEASURES = {"exact": _exact, "float16": _half, "float16_squared": _half_squared}

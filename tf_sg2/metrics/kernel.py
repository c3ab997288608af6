"""Kernel distance between two sets of features: KID (Bińkowski et al. 2018, arXiv 1801.01401).

It is the unbiased squared maximum mean discrepancy under the kernel (x·y/d + 1)³. It is called
KID only where the features are pool3 of the 2015 Inception graph.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.metrics.checks import blocks, checked_pair


class KernelSpread(NamedTuple):
    """The kernel distance over random subsets: its mean, and how far the subsets spread."""

    mean: float
    std: float  # population standard deviation over the subsets


def kernel_distance(
    real: np.ndarray,
    generated: np.ndarray,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
    dtype: type = np.float64,
) -> float:
    """Returns the mean of the unbiased distance over random subsets.

    Each subset draws generated rows first, then real rows, both by the legacy
    `choice(n, m, replace=False)`: exactly what `numpy.random.seed(seed)` would give the
    official code, which seeds nothing itself.

    Args:
        real: features, float [N, d].
        generated: features, float [M, d].
        subsets: how many subsets; 100 in the official code.
        subset_size: rows per subset; at most N and M are taken.
        seed: of the draws.
        dtype: of the kernel; float32 gives the official code's rounding.

    Raises:
        InputError: for features that cannot be used, or fewer than 2 rows per subset.

    Source: `compute_kid` of stylegan2-ada-pytorch.
    """
    return kernel_distance_spread(real, generated, subsets, subset_size, seed, dtype).mean


def kernel_distance_spread(
    real: np.ndarray,
    generated: np.ndarray,
    subsets: int = 100,
    subset_size: int = 1000,
    seed: int = 0,
    dtype: type = np.float64,
) -> KernelSpread:
    """Returns the mean of `kernel_distance`, and the standard deviation over its subsets.

    The deviation is divided by the number of subsets, as torch-fidelity and `numpy.std` do. It
    describes one subset. The mean of independent subsets would vary less.

    Args:
        real: as in `kernel_distance`.
        generated: as in `kernel_distance`.
        subsets: as in `kernel_distance`.
        subset_size: as in `kernel_distance`.
        seed: as in `kernel_distance`.
        dtype: as in `kernel_distance`.

    Raises:
        InputError: as `kernel_distance`.

    Source: Bińkowski et al. 2018, section 4 (a mean over blocks, with its deviation).
    """
    real, generated = checked_pair(real, generated)
    size = min(len(real), len(generated), subset_size)
    if size < 2 or subsets < 1:
        raise InputError(
            f"the kernel distance needs at least 1 subset of 2 images; here are {subsets} "
            f"subsets of {size}"
        )
    random = np.random.RandomState(seed)
    distances = []
    for _ in range(subsets):
        x: np.ndarray = generated[random.choice(len(generated), size, replace=False)].astype(dtype)
        y: np.ndarray = real[random.choice(len(real), size, replace=False)].astype(dtype)
        within = _kernel(x, x) + _kernel(y, y)
        between = _kernel(x, y)
        unbiased = (within.sum() - np.trace(within)) / (size - 1) - between.sum() * 2 / size
        distances.append(float(unbiased) / size)
    return KernelSpread(float(np.mean(distances)), float(np.std(distances)))


def kernel_distance_of_all(
    real: np.ndarray, generated: np.ndarray, block_rows: int = 2048
) -> float:
    """Returns the unbiased distance over all rows, without subsets, in float64.

    The kernel matrix is never whole: it is summed in blocks of `block_rows` squared.

    Raises:
        InputError: for features that cannot be used, or a set of fewer than 2 rows.
    """
    real, generated = checked_pair(real, generated)
    n, m = len(real), len(generated)
    if min(n, m) < 2:
        raise InputError(f"the kernel distance needs 2 images per set; here are {n} and {m}")
    within_real = _sum(real, real, block_rows) - _sum_of_diagonal(real)
    within_generated = _sum(generated, generated, block_rows) - _sum_of_diagonal(generated)
    between = _sum(real, generated, block_rows)
    return float(
        within_real / (n * (n - 1)) + within_generated / (m * (m - 1)) - 2 * between / (n * m)
    )


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the kernel matrix [len(x), len(y)]."""
    base = x @ y.T / x.shape[1] + 1
    return base * base * base  # Much faster than a power.


def _sum(x: np.ndarray, y: np.ndarray, rows: int) -> float:
    return sum(
        float(_kernel(a.astype(np.float64), b.astype(np.float64)).sum())
        for a in blocks(x, rows)
        for b in blocks(y, rows)
    )


def _sum_of_diagonal(x: np.ndarray) -> float:
    squares = [np.square(a.astype(np.float64)).sum(axis=1) for a in blocks(x)]
    return float(((np.concatenate(squares) / x.shape[1] + 1) ** 3).sum())

"""Fréchet distance between two sets of features (Heusel et al. 2017, arXiv 1706.08500).

It is called FID only where the features are pool3 of the 2015 Inception graph. The trace of the
matrix root is computed as a nuclear norm, so no matrix root is taken and no ε is added.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.metrics.checks import checked_pair
from tf_sg2.metrics.moments import Moments


def frechet_distance(real: np.ndarray, generated: np.ndarray, ddof: int = 0) -> float:
    """Returns |μ_r - μ_g|² + tr(Σ_r + Σ_g - 2 (Σ_r Σ_g)^½), in float64.

    With fewer rows than columns the covariances are singular. The value is exact then too, but as
    an estimate it is biased upwards, so `require_samples` is there for callers that report it.

    Args:
        real: features, float [N, d].
        generated: features, float [M, d].
        ddof: 0 divides covariances by n, as stylegan2-ada-pytorch and StyleGAN3 do. 1 divides
            by n - 1, as the TensorFlow metrics of StyleGAN2 do (numpy.cov).

    Raises:
        InputError: for features that cannot be used, or at most `ddof` rows.

    Source: `compute_fid` of stylegan2-ada-pytorch.
    """
    real, generated = checked_pair(real, generated)
    for name, features in (("real", real), ("generated", generated)):
        require_samples(name, len(features), ddof + 1)
    return _distance(
        *(_Gaussian(x.mean(axis=0, dtype=np.float64), _factor(x, ddof)) for x in (real, generated))
    )


def frechet_distance_of_moments(real: Moments, generated: Moments, ddof: int = 0) -> float:
    """Returns what `frechet_distance` returns, from moments that were gathered batch by batch.

    Raises:
        InputError: if the widths differ, or there are at most `ddof` images.
    """
    if real.width != generated.width:
        raise InputError(
            f"real moments have {real.width} values per image, generated ones "
            f"{generated.width}; take both from the same feature network"
        )
    for name, moments in (("real", real), ("generated", generated)):
        require_samples(name, moments.count, ddof + 1)
    return _distance(*(_Gaussian(m.mean, _factor_of_moments(m, ddof)) for m in (real, generated)))


class Extrapolation(NamedTuple):
    """A distance extrapolated to infinitely many generated images, and what it was drawn from."""

    value: float
    counts: list[int]
    distances: list[float]


def frechet_distance_at_infinity(
    real: np.ndarray,
    generated: np.ndarray,
    ddof: int = 0,
    points: int = 15,
    smallest: int | None = None,
    seed: int = 0,
    allow_few_samples: bool = False,
) -> Extrapolation:
    """Extrapolates the Fréchet distance to infinitely many generated images (FD∞).

    The distance over n images is a straight line in 1/n. It is measured at `points` evenly
    spaced counts, each a random subset without replacement, and fitted by least squares.

    Args:
        real: features, float [N, d]. All of them are always used.
        generated: features, float [M, d].
        ddof: as in `frechet_distance`.
        points: counts to measure at; 15 in the paper.
        smallest: the least count; a tenth of M where None, as in the paper (5,000 of 50,000),
            but no less than d unless few samples are allowed.
        seed: of the subsets.
        allow_few_samples: accepts fewer images than feature values; the distances are then biased.

    Raises:
        InputError: as `frechet_distance`, for fewer images than feature values, or if the counts
            leave nothing to fit.

    Source: Chong & Forsyth 2020, arXiv 1911.07023.
    """
    real, generated = checked_pair(real, generated)
    total, width = generated.shape
    if smallest is None:
        smallest = max(total // 10, 2 if allow_few_samples else width)
    counts = sorted(set(np.linspace(smallest, total, max(points, 0)).astype(int).tolist()))
    if smallest > total or len(counts) < 2:
        raise InputError(
            f"an extrapolation needs at least 2 counts between {smallest} and {total} images; "
            f"there are {len(counts)}: give more images or points"
        )
    least = ddof + 1 if allow_few_samples else width
    require_samples("real", len(real), least)
    require_samples("generated", counts[0], least)
    fixed = _Gaussian(real.mean(axis=0, dtype=np.float64), _factor(real, ddof))
    random = np.random.RandomState(seed)
    distances = []
    for count in counts:
        subset = generated[random.choice(total, count, replace=False)]
        drawn = _Gaussian(subset.mean(axis=0, dtype=np.float64), _factor(subset, ddof))
        distances.append(_distance(fixed, drawn))
    _, value = np.polyfit(1 / np.asarray(counts), distances, 1)
    return Extrapolation(float(value), counts, distances)


class _Gaussian(NamedTuple):
    mean: np.ndarray  # [d]
    factor: np.ndarray  # [r, d]: the covariance is factor.T @ factor


def require_samples(name: str, count: int, least: int) -> None:
    """Refuses too few images for a covariance.

    Raises:
        InputError: if `count` is below `least`, usually the number of feature values.
    """
    if count < max(least, 1):
        raise InputError(
            f"{count} {name} images are too few: a covariance needs at least {max(least, 1)}; give "
            "more images, or set allow_few_samples"
        )


def _factor(features: np.ndarray, ddof: int) -> np.ndarray:
    """Returns F [r, d] with FᵀF = covariance; of few rows, the centred rows themselves."""
    count, width = features.shape
    if count > width:
        return _factor_of_moments(Moments.of(features), ddof)
    centred = features - features.mean(axis=0, dtype=np.float64)
    return centred / np.sqrt(count - ddof)


def _factor_of_moments(moments: Moments, ddof: int) -> np.ndarray:
    covariance = moments.covariance(ddof)
    if moments.count > moments.width:
        try:
            return np.linalg.cholesky(covariance).T
        except np.linalg.LinAlgError:
            pass  # Singular, as with a feature that never changes.
    values, vectors = np.linalg.eigh(covariance)
    rank = min(moments.count - 1, moments.width)  # What lies beyond is rounding.
    kept = slice(moments.width - rank, None)
    return (vectors[:, kept] * np.sqrt(np.maximum(values[kept], 0))).T


def _distance(real: _Gaussian, generated: _Gaussian) -> float:
    # tr (Σ_r Σ_g)^½ is the sum of the singular values of F_r F_gᵀ, for any factors.
    overlap = np.linalg.svd(real.factor @ generated.factor.T, compute_uv=False).sum()
    step = real.mean - generated.mean
    spread = np.square(real.factor).sum() + np.square(generated.factor).sum()
    return float(max(step @ step + spread - 2 * overlap, 0.0))

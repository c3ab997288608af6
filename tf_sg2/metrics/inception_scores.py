"""Inception Score (Salimans et al. 2016, arXiv 1606.03498) from class probabilities."""

from __future__ import annotations

import numpy as np
from scipy.special import xlogy

from tf_sg2.errors import InputError
from tf_sg2.metrics.checks import checked_features


def inception_score(probabilities: np.ndarray, splits: int = 10) -> tuple[float, float]:
    """Returns the mean and the population standard deviation over the splits.

    A split's score is exp of the mean over its rows of Σ_c p (ln p − ln mean p). Split i of S
    holds rows i·n/S to (i + 1)·n/S in the order given, by integer division. A probability of 0
    adds 0.

    Args:
        probabilities: float [N, classes]. The official metric takes the softmax of the 1008
            logits without the output bias.
        splits: 10 in the paper.

    Raises:
        InputError: for rows that are no probabilities, or fewer rows than splits.

    Source: `compute_is` of stylegan2-ada-pytorch.
    """
    p = checked_features(probabilities, "class").astype(np.float64)
    count = len(p)
    if p.min() < 0 or not np.allclose(p.sum(axis=1), 1, atol=1e-3):
        raise InputError(
            "the Inception Score takes probabilities: rows of values from 0 to 1 with sum 1; "
            f"these have values from {p.min():.4g} and sums up to {p.sum(axis=1).max():.4g}"
        )
    if not 1 <= splits <= count:
        raise InputError(f"{count} images cannot be dealt into {splits} splits; give more images")
    scores = []
    for i in range(splits):
        part = p[i * count // splits : (i + 1) * count // splits]
        divergence = xlogy(part, part) - xlogy(part, part.mean(axis=0))
        scores.append(np.exp(divergence.sum(axis=1).mean()))
    return float(np.mean(scores)), float(np.std(scores))

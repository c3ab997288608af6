"""How far a metric moves when nothing but the seed changes.

A difference between two generators that is smaller than this spread says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tf_sg2.errors import InputError


class Spread(NamedTuple):
    """A metric over several seeds."""

    mean: float
    std: float  # sample standard deviation, divided by n - 1
    values: list[float]


def spread_over_seeds(compute: Callable[[int], float], seeds: Sequence[int]) -> Spread:
    """Computes a metric once per seed and returns the mean and the standard deviation.

    Args:
        compute: seed -> value. It should draw everything from that seed: the generated images,
            subsets and halves.
        seeds: at least two different ones.

    Example:
        spread_over_seeds(lambda seed: kernel_distance(real, generate(seed), seed=seed), range(5))

    Raises:
        InputError: for fewer than two different seeds, or a value that is not finite.
    """
    if len(set(seeds)) < 2 or len(set(seeds)) < len(seeds):
        raise InputError(f"a spread needs at least 2 seeds, all different; these are {list(seeds)}")
    values = [float(compute(seed)) for seed in seeds]
    for seed, value in zip(seeds, values, strict=True):
        if not np.isfinite(value):
            raise InputError(f"the metric is {value} for seed {seed}; look at those images")
    return Spread(float(np.mean(values)), float(np.std(values, ddof=1)), values)

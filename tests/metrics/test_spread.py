"""A metric over several seeds."""

from __future__ import annotations

import numpy as np
import pytest

from tf_sg2 import metrics
from tf_sg2.errors import InputError


def test_spread_of_known_values():
    spread = metrics.spread_over_seeds(lambda seed: seed * 2, [1, 2, 3])
    assert spread == (4.0, 2.0, [2.0, 4.0, 6.0])


def test_more_images_spread_less():
    def distance(count):
        def compute(seed):
            random = np.random.default_rng(seed)
            real, generated = random.normal(size=(2, count, 8))
            return metrics.frechet_distance(real, generated)

        return metrics.spread_over_seeds(compute, range(8))

    few, many = distance(100), distance(1600)
    assert few.mean > 8 * many.mean  # A bias that falls as 1/n.
    assert few.std > 4 * many.std


@pytest.mark.parametrize(
    ("seeds", "message"),
    [
        ([1], r"^a spread needs at least 2 seeds, all different; these are \[1\]$"),
        ([1, 2, 1], r"^a spread needs at least 2 seeds, all different; these are \[1, 2, 1\]$"),
    ],
)
def test_seeds_must_differ(seeds, message):
    with pytest.raises(InputError, match=message):
        metrics.spread_over_seeds(float, seeds)


def test_a_value_that_is_not_finite_is_named():
    with pytest.raises(InputError, match=r"^the metric is nan for seed 2; look at those images$"):
        metrics.spread_over_seeds(lambda seed: np.nan if seed == 2 else 1.0, [1, 2])

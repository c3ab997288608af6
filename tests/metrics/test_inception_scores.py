"""Inception Score: official numbers and bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

import metric_reference
from tf_sg2 import metrics
from tf_sg2.errors import InputError


@pytest.mark.parametrize("name", ["a", "b"])
@pytest.mark.parametrize("splits", [10, 5, 1])
def test_inception_score_equals_the_official_one(name, splits):
    z = metric_reference.load("inception_score")
    mean, deviation = metrics.inception_score(z[f"{name}/probs"], splits=splits)
    expected = z[f"{name}/splits{splits}"]
    assert mean == pytest.approx(expected[0], rel=2e-6)
    assert deviation == pytest.approx(expected[1], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", ["a", "b", "logits1008"])
@pytest.mark.parametrize("splits", [10, 5, 1])
def test_score_of_logits_equals_the_official_one(name, splits):
    """As the README of the reference says: softmax in float64, rounded to float32."""
    z = metric_reference.load("inception_score")
    probabilities = softmax(z[f"{name}/logits"].astype(np.float64), axis=1).astype(np.float32)
    mean, deviation = metrics.inception_score(probabilities, splits)
    expected = z[f"{name}/splits{splits}"]
    assert mean == pytest.approx(expected[0], rel=2e-6)
    assert deviation == pytest.approx(expected[1], rel=1e-4, abs=1e-6)


def test_known_scores_come_out():
    assert metrics.inception_score(np.eye(8), splits=1) == pytest.approx((8, 0))
    assert metrics.inception_score(np.full((20, 4), 0.25)) == pytest.approx((1, 0))


def test_what_is_no_probability_is_refused():
    with pytest.raises(InputError, match=r"takes probabilities.*values from -1"):
        metrics.inception_score(np.array([[2.0, -1.0]] * 20))
    with pytest.raises(InputError, match="takes probabilities"):
        metrics.inception_score(np.ones((20, 4)))
    with pytest.raises(InputError, match="4 images cannot be dealt into 10 splits"):
        metrics.inception_score(np.eye(4))

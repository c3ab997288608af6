"""Precision, recall, density and coverage: official numbers, rules, blocks, bad input."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import metric_reference
from tf_sg2 import metrics
from tf_sg2.errors import InputError
from tf_sg2.metrics import neighbours

rng = np.random.default_rng(7)


@pytest.fixture(params=[2048, 150], ids=["one block", "many blocks"])
def block_rows(request, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK_ROWS", request.param)


@pytest.mark.parametrize("name", ["features_a", "features_b", "features_2048"])
def test_precision_recall_equal_the_official_ones(name, block_rows):
    z = metric_reference.load(name)
    pair = z["real"], z["gen"]
    np.testing.assert_allclose(metrics.precision_recall(*pair), z["pr_float64"], atol=1e-7)
    np.testing.assert_allclose(metrics.precision_recall(*pair, k=5), z["pr_float64_k5"], atol=1e-7)
    for rule, expected in (
        ("exact", "pr_official_code_in_float32"),
        ("float16", "pr_official_float16"),
    ):
        result = metrics.precision_recall(*pair, rounding=rule)
        np.testing.assert_allclose(result, z[expected], atol=1e-7)
    result = metrics.precision_recall(*pair, k=5)
    np.testing.assert_allclose(result, z["pr_official_code_in_float32_k5"], atol=1e-7)


def test_squared_float16_distances_stay_near_the_exact_rule():
    z = metric_reference.load("features_a")
    result = metrics.precision_recall(z["real"], z["gen"], rounding="float16_squared")
    np.testing.assert_allclose(result, z["pr_float64"], atol=0.01)


def test_density_coverage_follow_their_formula(block_rows):
    real, generated = rng.normal(size=(230, 5)), rng.normal(size=(170, 5)) + 0.7
    radii = np.sort(cdist(real, real), axis=1)[:, 5]
    within = cdist(real, generated) < radii[:, None]
    result = metrics.density_coverage(real, generated, k=5)
    assert result.density == pytest.approx(within.sum() / (5 * 170))
    assert result.coverage == pytest.approx(within.any(axis=1).mean())


def test_a_set_against_itself_gives_ones():
    real = metric_reference.load("features_b")["real"]
    assert metrics.precision_recall(real, real[::-1]) == (1, 1)
    result = metrics.density_coverage(real, real[::-1])
    assert result.coverage == 1
    assert result.density == pytest.approx(1, abs=0.005)  # Borders are excluded, up to rounding.


def test_far_sets_give_zeros():
    real = rng.normal(size=(50, 4))
    assert metrics.precision_recall(real, real + 100) == (0, 0)
    assert metrics.density_coverage(real, real + 100) == (0, 0)


def test_one_mode_in_place_of_two_lowers_recall_and_coverage():
    real, generated = rng.normal(size=(400, 4)), rng.normal(size=(400, 4))
    for x in (real, generated):
        x[::2] += 20
    collapsed = generated.copy()
    collapsed[1::2] = collapsed[::2]
    before, after = (metrics.precision_recall(real, x) for x in (generated, collapsed))
    assert after.recall < before.recall * 0.6
    covered = [metrics.density_coverage(real, x).coverage for x in (generated, collapsed)]
    assert covered[1] < covered[0] * 0.6


def test_identical_images_far_from_the_origin_are_at_no_distance():
    same = np.full((6, 40), 1e4, np.float32) + rng.normal(size=40).astype(np.float32)
    assert metrics.precision_recall(same, same) == (1, 1)


def test_neighbours_must_be_there():
    few, many = np.zeros((3, 2)), np.zeros((9, 2))
    with pytest.raises(InputError, match="k is 3, and the smaller set has 3 images"):
        metrics.precision_recall(many, few)
    with pytest.raises(InputError, match="k is 0"):
        metrics.density_coverage(many, many, k=0)
    with pytest.raises(InputError, match="no rounding 'half'; take one of exact, float16"):
        metrics.precision_recall(many, many, rounding="half")

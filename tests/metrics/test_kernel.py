"""Kernel distance: the official numbers and draws, blocks, bad input."""

from __future__ import annotations

import numpy as np
import pytest

import metric_reference
from tf_sg2 import metrics
from tf_sg2.errors import InputError

SETS = ["features_a", "features_b", "features_2048"]
CASES = ((0, 100, 1000), (1, 10, 100), (123, 50, 64))


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize(("seed", "subsets", "size"), CASES)
def test_kernel_distance_equals_the_official_one(name, seed, subsets, size):
    z = metric_reference.load(name)
    case = f"seed{seed}_subsets{subsets}_size{size}"
    arguments = (z["real"], z["gen"], subsets, size, seed)
    exact = metrics.kernel_distance(*arguments)
    assert type(exact) is float
    assert exact == pytest.approx(float(z[f"kid_float64/{case}"]), rel=1e-9)
    rounded = metrics.kernel_distance(*arguments, dtype=np.float32)
    assert rounded == pytest.approx(float(z[f"kid_official/{case}"]), rel=2e-5)


@pytest.mark.parametrize("name", SETS)
def test_legacy_draws_take_generated_rows_first(name):
    """What `numpy.random.seed(123)` would draw, recorded from the official code."""
    z = metric_reference.load(name)
    random = np.random.RandomState(123)
    for rows, expected in (
        (z["gen"], z["kid_first_gen_choice_seed123"]),
        (z["real"], z["kid_first_real_choice_seed123"]),
    ):
        size = min(len(z["real"]), len(z["gen"]), 64)
        np.testing.assert_array_equal(random.choice(len(rows), size, replace=False), expected)


@pytest.mark.parametrize(("seed", "subsets", "size"), CASES)
def test_spread_over_subsets_follows_its_formula(seed, subsets, size):
    """The formula for unbiased distances of torch-fidelity: sums without the diagonal."""
    z = metric_reference.load("features_b")
    random = np.random.RandomState(seed)
    m = min(size, len(z["real"]), len(z["gen"]))
    expected = []
    for _ in range(subsets):
        x = z["gen"][random.choice(len(z["gen"]), m, replace=False)].astype(np.float64)
        y = z["real"][random.choice(len(z["real"]), m, replace=False)].astype(np.float64)
        xx, yy, xy = ((a @ b.T / a.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
        for square in (xx, yy):
            np.fill_diagonal(square, 0)
        expected.append((xx.sum() + yy.sum()) / (m * (m - 1)) - 2 * xy.sum() / m**2)
    arguments = (z["real"], z["gen"], subsets, size, seed)
    spread = metrics.kernel_distance_spread(*arguments)
    assert spread.mean == metrics.kernel_distance(*arguments)
    assert spread.mean == pytest.approx(np.mean(expected), rel=1e-10)
    assert spread.std == pytest.approx(np.std(expected), rel=1e-8)
    assert spread.std > 0


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("rows", [64, 2048])
def test_distance_of_all_rows_does_not_depend_on_the_blocks(name, rows):
    z = metric_reference.load(name)
    value = metrics.kernel_distance_of_all(z["real"], z["gen"], block_rows=rows)
    assert value == pytest.approx(float(z["kid_exact_full"]), rel=1e-9)


def test_halves_of_one_set_give_about_nothing_and_order_does_not_matter():
    z = metric_reference.load("features_a")
    halves = metrics.kernel_distance_of_all(z["real"][::2], z["real"][1::2])
    apart = metrics.kernel_distance_of_all(z["real"], z["gen"])
    assert abs(halves) < apart / 10
    shuffled = z["gen"][np.random.default_rng(3).permutation(len(z["gen"]))]
    assert metrics.kernel_distance_of_all(z["real"], shuffled) == pytest.approx(apart, rel=1e-10)


def test_single_images_are_refused():
    one, many = np.zeros((1, 3)), np.zeros((5, 3))
    with pytest.raises(InputError, match="subsets of 1"):
        metrics.kernel_distance(one, many)
    with pytest.raises(InputError, match="0 subsets"):
        metrics.kernel_distance(many, many, subsets=0)
    with pytest.raises(InputError, match="here are 5 and 1"):
        metrics.kernel_distance_of_all(many, one)

"""Relations that hold for any features: order, rotation, scale, duplicates, growing damage."""

from __future__ import annotations

import numpy as np
import pytest

from tf_sg2 import metrics

rng = np.random.default_rng(12)
MIXING = rng.normal(size=(12, 12))
REAL = rng.normal(size=(300, 12)) @ MIXING
SAME = rng.normal(size=(300, 12)) @ MIXING  # Other draws of the same distribution.
GENERATED = rng.normal(size=(260, 12)) @ rng.normal(size=(12, 12)) + 0.5

METRICS = {
    "frechet": metrics.frechet_distance,
    "kernel": metrics.kernel_distance_of_all,
    "precision, recall": metrics.precision_recall,
    "density, coverage": metrics.density_coverage,
}
every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
SYMMETRIC = [metrics.frechet_distance, metrics.kernel_distance_of_all]


@every_metric
def test_order_does_not_matter(metric):
    shuffled = metric(rng.permutation(REAL), rng.permutation(GENERATED))
    assert shuffled == pytest.approx(metric(REAL, GENERATED), rel=1e-9)


@every_metric
def test_rotation_of_both_sets_does_not_matter(metric):
    rotation, _ = np.linalg.qr(rng.normal(size=(12, 12)))
    rotated = metric(REAL @ rotation, GENERATED @ rotation)
    assert rotated == pytest.approx(metric(REAL, GENERATED), rel=1e-9)


@pytest.mark.parametrize("metric", [metrics.precision_recall, metrics.density_coverage])
def test_neighbours_depend_on_neither_scale_nor_place(metric):
    assert metric(3 * REAL + 5, 3 * GENERATED + 5) == pytest.approx(metric(REAL, GENERATED))


def test_the_frechet_distance_grows_as_the_square_of_the_scale():
    before = metrics.frechet_distance(REAL, GENERATED)
    assert metrics.frechet_distance(3 * REAL + 5, 3 * GENERATED + 5) == pytest.approx(9 * before)


@pytest.mark.parametrize("metric", SYMMETRIC)
def test_distances_are_symmetric(metric):
    assert metric(REAL, GENERATED) == pytest.approx(metric(GENERATED, REAL), rel=1e-9)


def test_precision_of_swapped_sets_is_recall():
    precision, recall = metrics.precision_recall(REAL, GENERATED)
    assert precision != recall
    assert metrics.precision_recall(GENERATED, REAL) == (recall, precision)


def test_a_set_against_itself_is_at_no_distance():
    assert metrics.frechet_distance(REAL, REAL) == pytest.approx(0, abs=1e-9)
    assert metrics.precision_recall(REAL, REAL) == (1, 1)
    assert metrics.density_coverage(REAL, REAL).coverage == 1


def test_the_kernel_distance_of_a_set_to_itself_is_what_the_diagonal_makes_of_it():
    """The terms within a set leave the diagonal out, the term between sets cannot."""
    kernel = (REAL @ REAL.T / 12 + 1) ** 3
    n = len(REAL)
    expected = 2 * ((kernel.sum() - np.trace(kernel)) / (n * (n - 1)) - kernel.sum() / n**2)
    assert metrics.kernel_distance_of_all(REAL, REAL) == pytest.approx(expected)
    assert abs(metrics.kernel_distance_of_all(REAL, SAME)) < abs(expected)


@pytest.mark.parametrize("metric", [metrics.frechet_distance, metrics.precision_recall])
def test_twice_every_image_changes_no_distribution(metric):
    """Divided by n, the covariance is the same; so is every ball of a neighbour that is apart."""
    if metric is metrics.frechet_distance:
        doubled = metric(np.repeat(REAL, 2, axis=0), np.repeat(GENERATED, 2, axis=0))
        assert doubled == pytest.approx(metric(REAL, GENERATED), rel=1e-9)
    else:  # Probes only: a manifold's radii count copies as neighbours.
        precision, _ = metric(REAL, np.repeat(GENERATED, 2, axis=0))
        assert precision == pytest.approx(metric(REAL, GENERATED)[0])


def test_copies_of_one_image_lower_coverage_and_raise_the_distance():
    collapsed = np.concatenate([SAME[:30], np.repeat(SAME[:1], 270, axis=0)])
    before, after = (metrics.density_coverage(REAL, x).coverage for x in (SAME, collapsed))
    assert after < before / 2
    before, after = (metrics.frechet_distance(REAL, x) for x in (SAME, collapsed))
    assert after > 5 * before


@pytest.mark.parametrize("metric", SYMMETRIC)
def test_more_damage_is_further_away(metric):
    noise = rng.normal(size=REAL.shape)
    distances = [metric(REAL, SAME + level * noise) for level in (0, 2, 4, 8)]
    assert distances == sorted(distances)
    assert distances[0] < distances[-1] / 10


def test_inception_score_depends_on_neither_order_in_a_split_nor_names_of_classes():
    logits = rng.normal(size=(120, 7))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    whole = metrics.inception_score(p, splits=1)
    assert metrics.inception_score(rng.permutation(p), splits=1) == pytest.approx(whole)
    assert metrics.inception_score(p[:, ::-1], splits=4) == pytest.approx(
        metrics.inception_score(p, splits=4)
    )
    assert 1 < whole[0] < 7


def test_path_lengths_do_not_depend_on_the_length_of_latents():
    a, b = rng.normal(size=(2, 5, 16))
    np.testing.assert_allclose(metrics.slerp(3 * a, b / 7, 0.3), metrics.slerp(a, b, 0.3))
    np.testing.assert_allclose(metrics.slerp(a, b, 0.3), metrics.slerp(b, a, 0.7))

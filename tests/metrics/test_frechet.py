"""Fréchet distance: the official numbers, singular covariances, streams, FD∞, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

import metric_reference
from tf_sg2 import metrics
from tf_sg2.errors import InputError

rng = np.random.default_rng(5)


@pytest.mark.parametrize("name", ["features_a", "features_b"])
def test_frechet_distance_equals_the_official_one(name):
    z = metric_reference.load(name)
    for value, expected in (
        (metrics.frechet_distance(z["real"], z["gen"], ddof=0), z["fid_official"]),
        (metrics.frechet_distance(z["real"], z["gen"], ddof=0), z["fid_eig_ddof0"]),
        (metrics.frechet_distance(z["real"], z["gen"], ddof=1), z["fid_eig_ddof1"]),
    ):
        assert type(value) is float
        assert value == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("name", ["features_a", "features_b"])
def test_moments_equal_the_official_statistics(name):
    z = metric_reference.load(name)
    moments = metrics.Moments(z["real"].shape[1])
    for start in range(0, len(z["real"]), 64):
        moments.add(z["real"][start : start + 64])
    np.testing.assert_allclose(moments.mean, z["real_mean"], rtol=1e-12)
    np.testing.assert_allclose(moments.covariance(), z["real_cov"], rtol=1e-9, atol=1e-12)


def test_distance_of_fewer_samples_than_dimensions_equals_the_official_one():
    """SciPy's matrix root loses half of the digits here; the eigenvalues are exact."""
    z = metric_reference.load("features_2048")
    for ddof in (0, 1):
        value = metrics.frechet_distance(z["real"], z["gen"], ddof)
        assert value == pytest.approx(float(z[f"fid_eig_ddof{ddof}"]), rel=1e-12)
    value = metrics.frechet_distance(z["real"], z["gen"])
    assert value == pytest.approx(float(z["fid_official"]), rel=1e-6)


def test_distance_of_moments_equals_that_of_features_in_any_order():
    z = metric_reference.load("features_b")
    shuffled = z["gen"][rng.permutation(len(z["gen"]))]
    first, second = metrics.Moments.of(shuffled[:100]), metrics.Moments.of(shuffled[100:])
    first.merge(second)
    first.merge(metrics.Moments(32))  # Nothing seen yet.
    value = metrics.frechet_distance_of_moments(metrics.Moments.of(z["real"]), first)
    assert value == pytest.approx(float(z["fid_eig_ddof0"]), rel=1e-9)


def singular_expectation(real, generated):
    """By eigenvalues of the small Gram matrix, which a singular covariance does not disturb."""
    a, b = (x - x.mean(axis=0) for x in (real, generated))
    gram = a @ b.T  # The root's trace is the sum of its singular values over the counts.
    root = np.sqrt(np.maximum(scipy.linalg.eigvalsh(gram @ gram.T), 0)).sum()
    step = real.mean(axis=0) - generated.mean(axis=0)
    n, m = len(real), len(generated)
    traces = np.square(a).sum() / n + np.square(b).sum() / m
    return step @ step + traces - 2 * root / np.sqrt(n * m)


def test_distance_of_few_samples_is_exact():
    real, generated = rng.normal(size=(30, 64)), rng.normal(size=(200, 64)) + 0.5
    expected = singular_expectation(real, generated)
    value = metrics.frechet_distance(real, generated)
    assert value == pytest.approx(expected, rel=1e-7)
    moments = metrics.Moments.of(real), metrics.Moments.of(generated)
    value = metrics.frechet_distance_of_moments(*moments)
    assert value == pytest.approx(expected, rel=1e-7)


def test_a_covariance_needs_more_rows_than_ddof():
    row = np.ones((1, 4))
    with pytest.raises(
        InputError, match="1 real images are too few: a covariance needs at least 2"
    ):
        metrics.frechet_distance(row, row, ddof=1)
    assert metrics.frechet_distance(row, row) == 0


def test_dead_features_do_not_disturb_the_distance():
    real, generated = rng.normal(size=(300, 16)), rng.normal(size=(400, 16)) * 1.3
    expected = metrics.frechet_distance(real, generated)
    dead = [np.concatenate([x, np.ones((len(x), 4))], axis=1) for x in (real, generated)]
    assert metrics.frechet_distance(*dead) == pytest.approx(expected, abs=1e-6)


def test_a_set_against_itself_gives_nothing():
    real = metric_reference.load("features_a")["real"]
    assert 0 <= metrics.frechet_distance(real, real) < 1e-9
    assert 0 <= metrics.frechet_distance(real, real[::-1]) < 1e-9


def test_known_gaussians_give_the_known_distance():
    """Axis-parallel covariances: the sum over axes of (σ_r − σ_g)² + (μ_r − μ_g)²."""
    real, generated = rng.normal(size=(500, 6)), rng.normal(size=(500, 6))
    for x in (real, generated):  # Exactly white.
        x -= x.mean(axis=0)
        x[:] = x @ np.linalg.inv(np.linalg.cholesky(x.T @ x / len(x))).T
    scales = np.array([1, 2, 0.5, 3, 1, 4])
    value = metrics.frechet_distance(real, generated * scales + 2)
    assert value == pytest.approx(np.square(scales - 1).sum() + 6 * 4, rel=1e-10)


def test_extrapolation_takes_the_bias_of_few_samples_away():
    real, generated = rng.normal(size=(20000, 24)), rng.normal(size=(3000, 24))
    biased = metrics.frechet_distance(real, generated)
    result = metrics.frechet_distance_at_infinity(real, generated)
    assert result.counts[0] == 300
    assert result.counts[-1] == 3000
    assert len(result.counts) == 15
    assert result.distances[-1] == pytest.approx(biased, rel=1e-9)
    assert result.distances[0] > result.distances[-1] > 0
    assert abs(result.value) < biased / 2  # The truth is about 0.
    assert result == metrics.frechet_distance_at_infinity(real, generated)


@pytest.mark.parametrize(
    ("real", "generated", "message"),
    [
        (np.zeros((0, 4)), np.zeros((9, 4)), r"real features have shape \(0, 4\)"),
        (np.zeros((9, 4)), np.zeros(4), r"generated features have shape \(4,\)"),
        (np.zeros((9, 4)), np.zeros((9, 5)), "real features have 4 values per image, gen.* 5"),
        (np.zeros((9, 2)), np.array([["a", "b"]] * 9), "must be numbers"),
    ],
)
def test_bad_features_are_named(real, generated, message):
    for metric in (
        metrics.frechet_distance,
        metrics.kernel_distance,
        metrics.kernel_distance_of_all,
        metrics.precision_recall,
        metrics.density_coverage,
        metrics.frechet_distance_at_infinity,
    ):
        with pytest.raises(InputError, match=message):
            metric(real, generated)


def test_features_that_are_not_finite_are_named_by_their_image():
    features = rng.normal(size=(5000, 3)).astype(np.float32)
    features[4500, 1] = np.nan
    with pytest.raises(InputError, match="generated features of image 4500 are not finite"):
        metrics.frechet_distance(features[:100], features)
    with pytest.raises(InputError, match="image 4500"):
        metrics.Moments(3).add(features)


def test_moments_of_other_widths_do_not_join():
    with pytest.raises(InputError, match="3 values per image"):
        metrics.Moments(2).add(np.zeros((4, 3)))
    with pytest.raises(InputError, match="do not join"):
        metrics.Moments(2).merge(metrics.Moments(3))
    with pytest.raises(InputError, match="needs at least 2 images"):
        metrics.Moments.of(np.zeros((1, 2))).covariance(ddof=1)
    with pytest.raises(InputError, match="real moments have 2 values"):
        metrics.frechet_distance_of_moments(metrics.Moments(2), metrics.Moments(3))

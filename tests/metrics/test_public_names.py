"""Names that other programs rely on, called as such a program would call them."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import rule_weights
from tf_sg2 import metrics

rng = np.random.default_rng(11)


def parameters(function):
    return [
        (p.name, p.default)
        for p in inspect.signature(function).parameters.values()
        if p.default is not inspect.Parameter.empty
    ]


def test_distances_are_plain_floats():
    real, generated = rng.normal(size=(60, 8)), rng.normal(size=(50, 8)).astype(np.float32)
    assert type(metrics.frechet_distance(real, generated, ddof=0)) is float
    assert parameters(metrics.frechet_distance)[0] == ("ddof", 0)
    value = metrics.kernel_distance(real, generated, subsets=100, subset_size=1000, seed=0)
    assert type(value) is float
    assert value == metrics.kernel_distance(real, generated)
    precision, recall = metrics.precision_recall(real, generated, k=3)
    assert type(precision) is type(recall) is float
    assert (precision, recall) == metrics.precision_recall(real, generated)


def test_scores_and_helpers_take_what_is_documented():
    mean, std = metrics.inception_score(np.full((20, 4), 0.25), splits=10)
    assert (mean, std) == pytest.approx((1, 0))
    a, b = rng.normal(size=(2, 5, 16))
    point = metrics.slerp(a, b, 0.5)
    np.testing.assert_allclose(np.linalg.norm(point, axis=1), 1)
    assert type(metrics.filtered_mean([1.0, 2.0, 3.0])) is float


@pytest.mark.stack
def test_networks_take_weights_by_torch_names():
    images = rng.integers(0, 256, [2, 20, 30, 3], np.uint8)
    values = metrics.features.Inception(rule_weights.inception())(images)
    widths = {"2048": 2048, "logits": 1008, "logits_unbiased": 1008, "64": 64, "192": 192}
    for name, width in (widths | {"768": 768}).items():
        assert np.asarray(values[name]).shape == (2, width)
    trunk_weights = rule_weights.trunk("vgg16.")
    a, b = (images[:, :, ::-1] / 127.5 - 1, images / 127.5 - 1)  # float64, as NumPy makes them
    distances = np.asarray(metrics.features.LPIPS("vgg16", trunk_weights)(a, b))
    assert distances.shape == (2,)
    assert (distances > 0).all()

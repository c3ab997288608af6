"""The named conventions: each gives what the official code of that name gives."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import metric_reference
from tf_sg2 import metrics
from tf_sg2.errors import InputError
from tf_sg2.metrics.conventions import CONVENTIONS, arguments


@pytest.mark.parametrize("name", ["features_a", "features_b", "features_2048"])
@pytest.mark.parametrize(("convention", "ddof"), [("pytorch", 0), ("tensorflow1", 1)])
def test_frechet_distance_follows_the_convention(name, convention, ddof):
    z = metric_reference.load(name)
    chosen = arguments(convention, "frechet_distance")
    value = metrics.frechet_distance(z["real"], z["gen"], **chosen)
    assert value == pytest.approx(float(z[f"fid_eig_ddof{ddof}"]), rel=1e-9)


@pytest.mark.parametrize("name", ["features_a", "features_b", "features_2048"])
def test_precision_recall_follows_the_official_rounding(name):
    z = metric_reference.load(name)
    chosen = arguments("pytorch", "precision_recall")
    result = metrics.precision_recall(z["real"], z["gen"], **chosen)
    np.testing.assert_allclose(result, z["pr_official_float16"], atol=1e-7)


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_names_arguments_that_exist(convention):
    assert CONVENTIONS[convention].keys() == CONVENTIONS["pytorch"].keys()
    for function, chosen in CONVENTIONS[convention].items():
        assert chosen.keys() <= inspect.signature(getattr(metrics, function)).parameters.keys()
    assert arguments(convention, "kernel_distance") == {}


def test_an_unknown_convention_is_named():
    with pytest.raises(
        InputError, match=r"^there is no convention 'jax'; take one of pytorch, tensorflow1$"
    ):
        arguments("jax", "frechet_distance")

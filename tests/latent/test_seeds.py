"""Seeds, their lists, and labels as a user types them."""

from __future__ import annotations

import numpy as np
import pytest

from tf_sg2.errors import InputError
from tf_sg2.latent.labels import parse_label
from tf_sg2.latent.seeds import latents, noise_seeds, parse_numbers


def test_a_latent_depends_only_on_its_seed():
    whole = np.asarray(latents(range(70), 16))
    assert whole.shape == (70, 16)
    assert whole.dtype == np.float32
    np.testing.assert_array_equal(latents([69, 3, 3], 16), whole[[69, 3, 3]])
    assert len(np.unique(whole[:, 0])) == 70
    assert np.asarray(latents([], 16)).shape == (0, 16)


def test_latents_never_change():
    # Written down once: a seed must name the same picture in every release and on both stacks.
    z = np.asarray(latents([0, 1, 2**62], 3))
    expected = [
        [0.6845042, -1.1488962, 1.7006819],
        [0.08337967, 0.4792863, 1.3563397],
        [0.4361014, -0.28098094, 0.1300477],
    ]
    np.testing.assert_allclose(z, expected, rtol=1e-5)


def test_latents_are_standard_normal():
    z = np.asarray(latents(range(200), 512), np.float64)
    assert abs(z.mean()) < 0.01
    assert abs(z.std() - 1) < 0.01
    assert abs(np.corrcoef(z[0], z[1])[0, 1]) < 0.2


def test_noise_seeds_are_other_than_the_latents_own():
    pairs = np.asarray(noise_seeds([0, 5]))
    assert pairs.dtype == np.int64
    assert pairs.shape == (2, 2)
    assert pairs[:, 0].tolist() == [0, 5]
    assert (pairs[:, 1] < 0).all()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("7", [7]), ("0-3", [0, 1, 2, 3]), (" 0 - 2, 9,5-5 ", [0, 1, 2, 9, 5]), ("3,3", [3, 3])],
)
def test_lists_are_read_in_order(text, expected):
    assert parse_numbers(text, "--seeds") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no list of whole numbers"),
        ("1,", "no list of whole numbers"),
        ("-1", "no list of whole numbers"),
        ("1-", "no list of whole numbers"),
        ("1-2-3", "no list of whole numbers"),
        ("1.5", "no list of whole numbers"),
        ("a", "no list of whole numbers of 0 or more, such as 0-15,20,33"),
        ("٣", "no list of whole numbers"),
        ("5-2", "the range 5-2 runs backwards"),
        ("9223372036854775808", "9223372036854775808 is larger than 9223372036854775807"),
        ("0-999999999", "more than 10000000 numbers"),
    ],
)
def test_unusable_lists_are_refused(text, message):
    with pytest.raises(InputError, match=f"--seeds .*{message}"):
        parse_numbers(text, "--seeds")


def test_labels_are_classes_or_vectors():
    assert parse_label(None, 0) is None
    assert parse_label("2", 3).tolist() == [0, 0, 1]
    assert parse_label(" 0.5, -1,0 ", 3).tolist() == [0.5, -1, 0]
    assert parse_label("0", 1).dtype == np.float32


@pytest.mark.parametrize("text", ["3", "-1", "a", "1,0", "1,0,0,0", "nan,0,0", "0.5", "", "1,,0"])
def test_labels_that_do_not_fit_are_refused(text):
    with pytest.raises(InputError, match=r"a class number of 0\.\.\.2, or 3 numbers separated"):
        parse_label(text, 3)


def test_missing_and_unwanted_labels_are_refused():
    with pytest.raises(InputError, match="this model is conditional: give --labels, a class"):
        parse_label(None, 3)
    with pytest.raises(InputError, match="--labels=0 was given, but this model has no labels"):
        parse_label("0", 0)

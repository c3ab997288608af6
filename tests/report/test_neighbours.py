"""Nearest neighbours: against all pairs, and that copies are found."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist

from tf_sg2.cards import CardSource
from tf_sg2.report.neighbours import features, nearest, neighbours, spread

RNG = np.random.default_rng(0)
TRAINING, HELDOUT = RNG.normal(size=(900, 8)), RNG.normal(size=(300, 8))
INDICES = (range(900), range(300))


def found(generated):
    seeds = range(len(generated))
    return neighbours(generated, seeds, (INDICES[0], TRAINING), (INDICES[1], HELDOUT))


def test_nearest_is_that_of_all_pairs():
    queries = RNG.normal(size=(600, 8))
    all_pairs = cdist(queries, TRAINING)
    at, distances = nearest(queries, TRAINING)
    np.testing.assert_array_equal(at, all_pairs.argmin(axis=1))
    np.testing.assert_allclose(distances, all_pairs.min(axis=1), rtol=1e-12)
    own = cdist(HELDOUT, HELDOUT)
    np.fill_diagonal(own, np.inf)
    at, distances = nearest(HELDOUT, HELDOUT, same_set=True)
    np.testing.assert_array_equal(at, own.argmin(axis=1))
    np.testing.assert_allclose(distances, own.min(axis=1), rtol=1e-12)


def test_new_images_have_the_expected_ratio_and_copies_a_smaller_one():
    new = found(RNG.normal(size=(300, 8)))
    assert new.expected < 1  # There are more training images, so the nearest one is nearer.
    assert abs(new.median - new.expected) < 0.05
    copies = found(TRAINING[:300] + 0.05 * RNG.normal(size=(300, 8)))
    assert copies.expected == new.expected
    assert copies.median < 0.2 * copies.expected


def test_the_most_suspicious_come_first_with_indices_of_their_set():
    generated = np.concatenate([RNG.normal(size=(20, 8)), TRAINING[[7]]])
    seeds = range(100, 121)
    result = neighbours(generated, seeds, (range(5000, 5900), TRAINING), (INDICES[1], HELDOUT))
    first = result.found[0]
    assert (first.seed, first.training, first.training_distance) == (120, 5007, 0.0)
    ratios = [row.ratio for row in result.found]
    assert ratios == sorted(ratios)
    assert result.counts == (900, 300)


def test_without_a_holdout_distances_are_sorted_and_there_is_no_ratio():
    result = neighbours(RNG.normal(size=(20, 8)), range(20), (INDICES[0], TRAINING), None)
    distances = [row.training_distance for row in result.found]
    assert distances == sorted(distances)
    assert result.median is result.expected is None


def test_one_held_out_image_expects_nothing():
    one = (range(1), HELDOUT[:1])
    assert neighbours(HELDOUT[:3], range(3), (INDICES[0], TRAINING), one).expected is None


def test_the_eye_sees_all_images_in_order_without_transparency():
    images = RNG.integers(0, 256, (70, 4, 5, 4), dtype=np.uint8)
    steps = []
    rows = features(lambda x: x.reshape(len(x), -1), iter(images), lambda: steps.append(1))
    np.testing.assert_array_equal(rows, images[..., :3].reshape(70, -1))
    assert len(steps) == 70


def test_images_are_spread_over_the_whole_set():
    source = CardSource(count=100, image_size=(32, 56))
    assert spread(source, 1000) == list(range(100))
    assert spread(source, 3) == [0, 50, 99]

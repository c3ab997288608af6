"""The numbers of a sample depend only on its own seed, not on its batch."""

import numpy as np
import pytest
import tensorflow as tf

from tf_sg2.networks import randomness

# Drawn for the seeds (1, 2) and (-3, 4).
NORMAL = [[0.54411012, 0.20738031], [1.51440787, -0.24119920]]
UNIFORM = [[0.84406042, 0.19204533], [0.30857074, 0.27513743]]


def seeds(count):
    return tf.constant(np.random.default_rng(8).integers(0, 2**31, (count, 2)), tf.int32)


@pytest.mark.parametrize("draw", [randomness.normal, randomness.uniform])
@pytest.mark.parametrize("count", [1, 5, 64, 65])
def test_samples_do_not_depend_on_the_batch(draw, count):
    batch = seeds(count)
    together = draw(batch, [3, 4])
    assert together.shape == (count, 3, 4)
    assert together.dtype == tf.float32
    for n in {0, count // 2, count - 1}:
        np.testing.assert_array_equal(draw(batch[n : n + 1], [3, 4])[0], together[n])
    order = np.random.default_rng(1).permutation(count)
    np.testing.assert_array_equal(draw(tf.gather(batch, order), [3, 4]), together.numpy()[order])


@pytest.mark.parametrize("draw", [randomness.normal, randomness.uniform])
def test_graph_with_unknown_batch_draws_the_same(draw):
    run = tf.function(
        lambda batch: draw(batch, [7]), input_signature=[tf.TensorSpec([None, 2], tf.int32)]
    )
    for count in (0, 1, 6):
        np.testing.assert_array_equal(run(seeds(count)), draw(seeds(count), [7]))


def test_seeds_of_64_bits_are_taken():
    batch = tf.constant([[2**40, 3], [1, 2**50]], tf.int64)
    assert not np.allclose(*randomness.normal(batch, [8]))


def test_moments_are_those_of_the_distributions():
    normal = randomness.normal(seeds(32), [4096]).numpy()
    assert abs(normal.mean()) < 0.01
    assert abs(normal.std() - 1) < 0.01
    uniform = randomness.uniform(seeds(32), [4096]).numpy()
    assert uniform.min() >= 0
    assert uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.005
    assert abs(uniform.std() - 12**-0.5) < 0.005
    assert abs(np.corrcoef(normal)[np.triu_indices(32, 1)]).max() < 0.1


def test_values_are_the_same_on_every_stack():
    """A run may be resumed under another TensorFlow, so these numbers must not change."""
    batch = tf.constant([[1, 2], [-3, 4]], tf.int32)
    np.testing.assert_allclose(randomness.normal(batch, [2]), NORMAL, rtol=1e-5)
    np.testing.assert_allclose(randomness.uniform(batch, [2]), UNIFORM, rtol=1e-6)


def test_fresh_seeds_follow_the_global_seed():
    tf.random.set_seed(4)
    first, second = randomness.fresh_seeds(3), randomness.fresh_seeds(tf.constant(3))
    assert first.shape == (3, 2)
    assert first.dtype == tf.int32
    assert not np.array_equal(first, second)
    tf.random.set_seed(4)
    np.testing.assert_array_equal(randomness.fresh_seeds(3), first)


def test_draws_equal_tensorflows_own_stateless_ones():
    seeds = tf.constant([[3, -4], [2**40, 7], [0, 0]], tf.int64)
    for ours, theirs in (
        (randomness.normal, tf.random.stateless_normal),
        (randomness.uniform, tf.random.stateless_uniform),
    ):
        drawn = ours(seeds, [5, 2])
        for row, seed in zip(drawn, seeds, strict=True):
            np.testing.assert_array_equal(row, theirs([5, 2], seed, alg="philox"))

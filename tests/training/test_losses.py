"""Losses and regularisers against NumPy in float64, written from the paper's formulas."""

import math

import numpy as np
import pytest
import tensorflow as tf

from tf_sg2.training import losses, regularizers

RNG = np.random.default_rng(1)
SCORES = np.concatenate([RNG.normal(size=5) * 3, [0.0, 40.0, -40.0]])[:, None]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        # -log sigmoid(s) = log(1 + e^-s), -log(1 - sigmoid(s)) = log(1 + e^s)
        (losses.generator_loss, lambda s: np.log1p(np.exp(-s))),
        (losses.discriminator_loss_real, lambda s: np.log1p(np.exp(-s))),
        (losses.discriminator_loss_fake, lambda s: np.log1p(np.exp(s))),
    ],
)
def test_loss_equals_the_logistic_formula(loss, expected):
    found = loss(tf.constant(SCORES, tf.float64))
    assert found.shape == [len(SCORES)]
    np.testing.assert_allclose(found, expected(SCORES)[:, 0], rtol=1e-12)


def test_loss_gradients_push_scores_the_right_way():
    scores = tf.constant(SCORES, tf.float64)
    for loss, direction in (
        (losses.generator_loss, 1),
        (losses.discriminator_loss_real, 1),
        (losses.discriminator_loss_fake, -1),
    ):
        with tf.GradientTape() as tape:
            tape.watch(scores)
            total = tf.reduce_sum(loss(scores))
        gradient = tape.gradient(total, scores).numpy()
        np.testing.assert_allclose(gradient, -direction * sigmoid(-direction * SCORES), rtol=1e-9)


def test_r1_penalty_equals_the_norm_of_the_gradient():
    """D(x) = sum tanh(a x), whose gradient is a (1 - tanh^2)."""
    x = RNG.normal(size=(3, 4, 5, 2))
    a = RNG.normal(size=(4, 5, 2))
    penalties, scores = regularizers.r1_penalties(
        lambda x: tf.reduce_sum(tf.tanh(x * a), axis=[1, 2, 3])[:, None], tf.constant(x)
    )
    gradient = a * (1 - np.tanh(x * a) ** 2)
    np.testing.assert_allclose(penalties, (gradient**2).sum(axis=(1, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(scores[:, 0], np.tanh(x * a).sum(axis=(1, 2, 3)), rtol=1e-12)


def linear_generator(matrix, shape):
    """Images that depend linearly on w: the Jacobian is `matrix`, [pixels, num_ws, w_dim]."""
    return lambda w: tf.reshape(tf.einsum("pkd,nkd->np", matrix, w), [-1, *shape])


def test_path_length_equals_the_norm_of_the_jacobians_product():
    shape, num_ws, w_dim, count = (4, 6, 3), 5, 7, 3
    matrix = RNG.normal(size=(math.prod(shape), num_ws, w_dim))
    w, y = RNG.normal(size=(count, num_ws, w_dim)), RNG.normal(size=(count, *shape))
    lengths = regularizers.path_lengths(
        linear_generator(tf.constant(matrix), shape), tf.constant(w), tf.constant(y)
    )
    product = np.einsum("pkd,np->nkd", matrix, y.reshape(count, -1)) / math.sqrt(4 * 6)
    expected = np.sqrt((product**2).sum(axis=2).mean(axis=1))
    np.testing.assert_allclose(lengths, expected, rtol=1e-12)


@pytest.mark.parametrize("connected", [True, False])
def test_path_length_of_an_image_without_w_has_a_finite_gradient(connected):
    """Also in the gradient of the whole penalty by the generator's weight."""
    weight = tf.Variable(0.0)
    w, y = tf.random.normal([2, 3, 4]), tf.random.normal([2, 4, 4, 3])

    def synthesize(w):
        if not connected:
            return tf.ones([2, 4, 4, 3]) * weight
        return tf.ones([2, 4, 4, 3]) * weight * tf.reduce_sum(w, axis=[1, 2])[:, None, None, None]

    with tf.GradientTape() as tape:
        lengths = regularizers.path_lengths(synthesize, w, y)
        loss, penalty = regularizers.path_length_loss(
            lengths, tf.reduce_mean(lengths), tf.constant(0.3), 0.01, 2
        )
    np.testing.assert_array_equal(lengths, [0, 0])
    gradient = tape.gradient(loss, weight, unconnected_gradients="zero")
    assert np.isfinite(float(gradient))
    assert np.isfinite(float(penalty))


def test_path_length_loss_has_the_gradient_of_the_penalty():
    """In two shares, against (l - a')^2 differentiated by hand with a' = a + decay (m - a)."""
    lengths, average, decay = RNG.uniform(0.1, 2, size=6), 0.7, 0.05
    mean = lengths.mean()
    target = average + decay * (mean - average)
    gradient = 2 / 6 * ((lengths - target) - decay * (lengths - target).mean())
    step, numeric = 1e-6, []
    for i in range(6):
        sides = []
        for sign in (-1, 1):
            moved = lengths.copy()
            moved[i] += sign * step
            goal = average + decay * (moved.mean() - average)
            sides.append(((moved - goal) ** 2).mean())
        numeric.append((sides[1] - sides[0]) / (2 * step))
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)
    total = 0.0
    for part in (slice(0, 4), slice(4, 6)):
        share = tf.constant(lengths[part])
        with tf.GradientTape() as tape:
            tape.watch(share)
            loss, penalty = regularizers.path_length_loss(
                share, tf.constant(mean), tf.constant(average, tf.float64), decay, 6
            )
        np.testing.assert_allclose(tape.gradient(loss, share), gradient[part], rtol=1e-9)
        total += float(penalty)
    assert total == pytest.approx(((lengths - target) ** 2).mean(), rel=1e-12)

"""The generator's moving average: half-life, ramp-up, and what is averaged."""

import numpy as np
import pytest
import tensorflow as tf

from tf_sg2.config import TrainingConfig
from tf_sg2.networks.generator import Generator
from tf_sg2.training.ema import copy_weights, ema_decay, update_ema
from tiny_config import tiny_config


@pytest.mark.parametrize("batch", [8, 32, 100])
def test_half_of_a_weight_is_forgotten_after_ema_kimg(batch):
    config = TrainingConfig(batch_size=batch, ema_kimg=1.6)
    decay = float(ema_decay(config, tf.constant(0, tf.int64)))
    assert decay ** (1600 / batch) == pytest.approx(0.5, rel=1e-4)
    assert decay == pytest.approx(0.5 ** (batch / 1600), rel=1e-6)


@pytest.mark.parametrize("seen", [32, 1000, 200_000, 10_000_000])
def test_ramp_up_shortens_the_half_life_to_a_share_of_the_images(seen):
    config = TrainingConfig(batch_size=32, ema_kimg=10, ema_rampup=0.05)
    half_life = min(10_000, 0.05 * seen)
    found = float(ema_decay(config, tf.constant(seen, tf.int64)))
    assert found == pytest.approx(0.5 ** (32 / half_life), rel=1e-5, abs=1e-7)


def test_update_moves_trained_weights_by_the_decay_and_copies_the_others():
    settings = tiny_config().generator
    current, average = Generator(settings), Generator(settings)
    for weight in current.weights:
        weight.assign(tf.random.normal(weight.shape))
    before = [np.asarray(weight) for weight in average.trainable_variables]
    decay = 0.8
    update_ema(tf.distribute.get_strategy(), current, average, tf.constant(decay))
    for old, new, target in zip(
        before, average.trainable_variables, current.trainable_variables, strict=True
    ):
        expected = decay * old + (1 - decay) * np.asarray(target)
        np.testing.assert_allclose(new, expected, rtol=1e-5, atol=1e-6)
    for new, target in zip(
        average.non_trainable_variables, current.non_trainable_variables, strict=True
    ):
        np.testing.assert_array_equal(new, target)
    copy_weights(current, average)
    for new, target in zip(average.weights, current.weights, strict=True):
        np.testing.assert_array_equal(new, target)

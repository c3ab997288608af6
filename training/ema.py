"""The exponential moving average of the generator, which makes the final images."""

from __future__ import annotations

import tensorflow as tf

from tf_sg2.compat import raw_variable
from tf_sg2.config import TrainingConfig
from tf_sg2.networks.generator import Generator


def copy_weights(source: Generator, target: Generator) -> None:
    """Copies every weight of `source` to `target`, trained or not."""
    for ours, theirs in zip(target.weights, source.weights, strict=True):
        ours.assign(tf.convert_to_tensor(theirs))


def ema_decay(config: TrainingConfig, images_seen: tf.Tensor) -> tf.Tensor:
    """Returns the decay of one iteration, float32, for a half-life of `ema_kimg`.

    With `ema_rampup`, the half-life is at most this share of the images seen until now.

    Source: Karras et al. 2017, section 4 (EMA); the half-life form of the official code.
    """
    half_life = tf.constant(config.ema_kimg * 1000.0)
    if config.ema_rampup is not None:
        half_life = tf.minimum(half_life, tf.cast(images_seen, tf.float32) * config.ema_rampup)
    return tf.pow(0.5, config.batch_size / tf.maximum(half_life, 1e-8))


def update_ema(
    strategy: tf.distribute.Strategy,
    generator: Generator,
    average: Generator,
    decay: tf.Tensor,
) -> None:
    """Moves `average` towards `generator` on every replica of `strategy`.

    Weights that are not trained are copied. Call it in cross-replica context.
    """

    def move(variable, current, decay):
        variable.assign(current + (variable - current) * decay)

    def copy(variable, current):
        variable.assign(current)

    for ours, theirs in zip(
        average.trainable_variables, generator.trainable_variables, strict=True
    ):
        strategy.extended.update(raw_variable(ours), move, args=(raw_variable(theirs), decay))
    for ours, theirs in zip(
        average.non_trainable_variables, generator.non_trainable_variables, strict=True
    ):
        strategy.extended.update(raw_variable(ours), copy, args=(raw_variable(theirs),))

"""Everything that training changes, as one object that one checkpoint holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tf_sg2.config import Config
from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator
from tf_sg2.training.ema import copy_weights
from tf_sg2.training.optimizers import build_optimizer, build_slots


@dataclass(frozen=True)
class TrainState:
    """The whole state of a run; two runs with equal states go on equally.

    `iteration` counts optimiser iterations, `images_seen` the real images shown,
    `path_length_mean` is the running mean of path lengths (paper equation 4's a).
    `generator_skips` and `discriminator_skips` count updates that were skipped because a gradient
    was not finite: (all, those in a row until now).
    """

    generator: Generator
    discriminator: Discriminator
    generator_ema: Generator
    generator_optimizer: Any
    discriminator_optimizer: Any
    path_length_mean: tf.Variable
    images_seen: tf.Variable
    iteration: tf.Variable
    generator_skips: tf.Variable
    discriminator_skips: tf.Variable

    def trackables(self) -> dict[str, Any]:
        """Returns the parts by name, as a checkpoint of the run holds them."""
        return dict(vars(self))

    def variables(self) -> dict[str, tf.Variable]:
        """Returns every variable of the state by a name that is the same in every process."""
        found: dict[str, Any] = {}
        for name, part in self.trackables().items():
            if isinstance(part, tf.Variable):
                found[name] = part
                continue
            members = part.variables() if callable(part.variables) else part.variables
            found.update({f"{name}/{i:04d}": variable for i, variable in enumerate(members)})
        return found


def create_state(config: Config, strategy: tf.distribute.Strategy) -> TrainState:
    """Builds the state of a new run under `strategy`; weights follow from `training.seed`."""
    training = config.training
    with strategy.scope():
        keras.utils.set_random_seed(training.seed)
        generator = Generator(config.generator, name="generator")
        discriminator = Discriminator(config.discriminator, name="discriminator")
        generator_ema = Generator(config.generator, name="generator_ema")
        copy_weights(generator, generator_ema)
        optimizers = []
        for network, optimizer, interval in (
            (generator, config.generator_optimizer, training.path_length_interval),
            (discriminator, config.discriminator_optimizer, training.r1_interval),
        ):
            optimizers.append(build_optimizer(optimizer, interval))
            build_slots(optimizers[-1], network.trainable_variables)
        return TrainState(
            generator=generator,
            discriminator=discriminator,
            generator_ema=generator_ema,
            generator_optimizer=optimizers[0],
            discriminator_optimizer=optimizers[1],
            path_length_mean=tf.Variable(0.0, trainable=False, name="path_length_mean"),
            images_seen=_counter("images_seen", 0),
            iteration=_counter("iteration", 0),
            generator_skips=_counter("generator_skips", [0, 0]),
            discriminator_skips=_counter("discriminator_skips", [0, 0]),
        )


def _counter(name: str, value: Any) -> tf.Variable:
    return tf.Variable(value, dtype=tf.int64, trainable=False, name=name)

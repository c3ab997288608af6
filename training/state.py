"""The state of training, one object that one checkpoint holds."""

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
    """The whole state of a run: two runs with equal states continue equally.

    Attributes:
        generator: the generator that is trained.
        discriminator: the discriminator.
        generator_ema: the average of the generator's weights.
        generator_optimizer: the generator's optimiser, with its slots.
        discriminator_optimizer: the discriminator's optimiser, with its slots.
        path_length_mean: the running mean of path lengths, a in the paper's equation 4.
        images_seen: the number of real images shown.
        iteration: the number of iterations.
        generator_skips: int64 [2], the number of updates that were skipped because a gradient was
            not finite: all, and in a row until now.
        discriminator_skips: the same for the discriminator.
        augment_probability: p of the augmentation.
        augment_signs: float32 [2], the sum and the number of the signs of D(real) since p changed.
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
    augment_probability: tf.Variable
    augment_signs: tf.Variable

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
    """Builds the state of a new run under `strategy`, with weights drawn from `training.seed`."""
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
            augment_probability=tf.Variable(
                config.augment.probability, trainable=False, name="augment_probability"
            ),
            augment_signs=tf.Variable([0.0, 0.0], trainable=False, name="augment_signs"),
        )


def _counter(name: str, value: Any) -> tf.Variable:
    return tf.Variable(value, dtype=tf.int64, trainable=False, name=name)

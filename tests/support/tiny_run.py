"""A run directory of tiny untrained networks, in the form that training writes."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf
from tensorflow import keras

from tf_sg2.compat import raw_variable
from tf_sg2.config import override
from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator
from tf_sg2.runs.checkpoints import CHECKPOINT_NAME, checkpoint_of
from tf_sg2.runs.directory import RunDirectory
from tiny_config import IMAGE_SIZE, tiny_config

ITERATION, IMAGES_SEEN = 6, 48


def tiny_state(config, seed: int = 0) -> dict[str, object]:
    """Returns the parts of a checkpoint. Every weight is random, so that a lost one is noticed."""
    keras.utils.set_random_seed(seed)
    networks = {
        "generator": Generator(config.generator),
        "discriminator": Discriminator(config.discriminator),
        "generator_ema": Generator(config.generator, name="generator_ema"),
    }
    generator = tf.random.Generator.from_seed(seed)
    for network in networks.values():
        for weight in network.weights:
            value = generator.normal(weight.shape, stddev=0.3)
            raw_variable(weight).assign_add(value)
    optimizers = {}
    for name in ("generator", "discriminator"):
        optimizer = keras.optimizers.Adam(0.002)
        optimizer.build(networks[name].trainable_variables)
        optimizers[f"{name}_optimizer"] = optimizer
    return {
        **networks,
        **optimizers,
        "path_length_mean": tf.Variable(1.5),
        "images_seen": tf.Variable(IMAGES_SEEN, dtype=tf.int64),
        "iteration": tf.Variable(ITERATION, dtype=tf.int64),
        "generator_skips": tf.Variable([0, 0], dtype=tf.int64),
        "discriminator_skips": tf.Variable([0, 0], dtype=tf.int64),
    }


def save_state(run: RunDirectory, state: dict[str, object], iteration: int = ITERATION) -> None:
    """Adds a checkpoint to a run."""
    manager = tf.train.CheckpointManager(
        checkpoint_of(state),
        str(run.checkpoints),
        max_to_keep=5,
        checkpoint_name=CHECKPOINT_NAME,
    )
    manager.save(checkpoint_number=iteration)


def make_tiny_run(
    path: str | Path,
    label_dim: int = 0,
    image_size: tuple[int, int] = IMAGE_SIZE,
    image_channels: int = 3,
    seed: int = 0,
) -> RunDirectory:
    """Writes a run of one checkpoint and returns its directory."""
    shared = {
        "image_size": list(image_size),
        "image_channels": image_channels,
        "label_dim": label_dim,
    }
    config = override(
        tiny_config(),
        {f"{part}.{k}": v for part in ("generator", "discriminator") for k, v in shared.items()},
    )
    run = RunDirectory(path)
    run.write_config(config)
    save_state(run, tiny_state(config, seed))
    return run

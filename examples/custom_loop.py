"""A training loop of your own around the networks, the losses and the data pipeline.

python examples/custom_loop.py cards:count=2000,seed=1,size=32x56 sheet.png

It leaves out what `tf-sg2 train` adds: path lengths, style mixing, averages, checkpoints, several
devices.
"""

from __future__ import annotations

import itertools
import sys

import tensorflow as tf
from tensorflow import keras

import tf_sg2
from tf_sg2.data.pipeline import batches, iterate
from tf_sg2.images import from_uint8, grid, save_png, to_uint8
from tf_sg2.training.losses import (
    discriminator_loss_fake,
    discriminator_loss_real,
    generator_loss,
)
from tf_sg2.training.regularizers import r1_penalties

BATCH, Z_DIM, CHANNELS = 8, 64, {"channel_base": 512, "channel_max": 32}
R1_GAMMA, R1_INTERVAL = 0.1, 16


def custom_loop(data: str, out: str, steps: int = 2000) -> None:
    """Trains small networks for some steps, and writes eight of the generator's images."""
    source = tf_sg2.data.open_source(data)
    shape = {"image_size": source.image_size, "image_channels": source.image_channels, **CHANNELS}
    generator = tf_sg2.Generator(
        tf_sg2.GeneratorConfig(z_dim=Z_DIM, w_dim=Z_DIM, mapping_layers=2, **shape)
    )
    discriminator = tf_sg2.Discriminator(tf_sg2.DiscriminatorConfig(**shape))
    optimizers = [keras.optimizers.Adam(0.0025, beta_1=0.0, beta_2=0.99) for _ in range(2)]

    def apply(optimizer, network, tape, loss):
        weights = network.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))

    @tf.function
    def train_generator():
        with tf.GradientTape() as tape:
            fakes = generator(tf.random.normal([BATCH, Z_DIM]))
            loss = tf.reduce_mean(generator_loss(discriminator(fakes)))
        apply(optimizers[0], generator, tape, loss)
        return loss

    @tf.function
    def train_discriminator(reals):
        fakes = generator(tf.random.normal([BATCH, Z_DIM]))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(discriminator_loss_real(discriminator(reals)))
            loss += tf.reduce_mean(discriminator_loss_fake(discriminator(fakes)))
        apply(optimizers[1], discriminator, tape, loss)
        return loss

    @tf.function
    def regularize_discriminator(reals):
        with tf.GradientTape() as tape:
            penalties, _ = r1_penalties(discriminator, reals)
            loss = R1_GAMMA / 2 * R1_INTERVAL * tf.reduce_mean(penalties)
        apply(optimizers[1], discriminator, tape, loss)

    stream = iterate(batches(source, BATCH, seed=0))
    for number, (images, _) in enumerate(itertools.islice(stream, steps)):
        reals = from_uint8(images)
        losses = train_generator(), train_discriminator(reals)
        if number % R1_INTERVAL == 0:  # Lazily: only in some iterations, with a larger weight.
            regularize_discriminator(reals)
        if number % 100 == 0:
            print(number, *(f"{float(loss):.3f}" for loss in losses), flush=True)
    samples = generator(tf.random.stateless_normal([8, Z_DIM], seed=[0, 0]), noise_mode="none")
    save_png(out, grid(to_uint8(samples.numpy()), rows=2, columns=4))


if __name__ == "__main__":
    custom_loop(*sys.argv[1:])

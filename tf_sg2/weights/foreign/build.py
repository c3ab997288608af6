"""Networks of this library with the weights of a foreign file."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator
from tf_sg2.weights.foreign.networks import Arrays
from tf_sg2.weights.foreign.read import State, unused_names
from tf_sg2.weights.torch_state import load_torch_state

W_AVG = "mapping.w_avg"
# Latents for the mean of w where a file holds none: as many as the official projector draws.
W_AVG_SAMPLES, W_AVG_SEED = 10_000, 123


class Built(NamedTuple):
    """The networks of a file, and what the file lacked, as sentences."""

    generator: Generator
    discriminator: Discriminator
    average: Generator
    notes: tuple[str, ...]


def build(state: State) -> Built:
    """Returns networks with the weights of `tf_sg2.weights.read`.

    Args:
        state: the result of `read`.

    Raises:
        InputError: if the arrays do not fit the configuration.
    """
    config = state["config"]
    notes: list[str] = []
    if state["G_ema"]:
        average = _generator(state, state["G_ema"], notes)
    else:
        average = _generator(state, state["G"], notes)
        notes.append("The file holds no averaged generator; the trained one takes its place.")
    if state["G"] and state["G_ema"]:
        generator = _generator(state, state["G"], [])
    else:
        generator = Generator(config.generator)
        generator.set_weights(average.get_weights())
    if state["G_ema"] and not state["G"]:
        notes.append("The file holds only the averaged generator; it is the trained one too.")
    discriminator = Discriminator(config.discriminator)
    if state["D"]:
        _load(None, discriminator, state, state["D"])
    else:
        notes.append("The file holds no discriminator; the one in this folder is untrained.")
    return Built(generator, discriminator, average, tuple(notes))


def _load(
    generator: Generator | None, discriminator: Discriminator | None, state: State, arrays: Arrays
) -> None:
    letter = "D" if generator is None else "G"
    unused = unused_names(state["config"], arrays)
    used = {f"{letter}/{name}": array for name, array in arrays.items() if name not in unused}
    load_torch_state(generator, discriminator, used)


def _generator(state: State, arrays: Arrays, notes: list[str]) -> Generator:
    generator = Generator(state["config"].generator, name="generator_ema")
    if W_AVG in arrays:
        _load(generator, None, state, arrays)
        return generator
    _load(generator, None, state, {**arrays, W_AVG: np.asarray(generator.mapping.w_avg)})
    rng = np.random.RandomState(W_AVG_SEED)
    z = rng.randn(W_AVG_SAMPLES, generator.config.z_dim).astype(np.float32)
    dim = generator.config.label_dim
    labels = tf.one_hot(np.arange(W_AVG_SAMPLES) % dim, dim) if dim else None
    w = generator.mapping.transform(tf.constant(z), labels)  # [N, w_dim]
    generator.mapping.w_avg.assign(tf.reduce_mean(w, axis=0))
    notes.append("The file holds no mean of w; it was measured over random latents.")
    return generator

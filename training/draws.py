"""The random draws of each sample of a step: latents, style mixing and noise.

A draw is a function of (run seed, purpose, position in the run's stream of samples). So it is the
same on one device and on many, in one batch and in parts of it, and after a restart.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

import tensorflow as tf

from tf_sg2.networks import randomness
from tf_sg2.networks.generator import Generator


class Phase(enum.IntEnum):
    """What draws in an iteration: the passes, and real images in two of them."""

    GENERATOR = 0
    PATH_LENGTH = 1
    DISCRIMINATOR = 2
    DISCRIMINATOR_REALS = 3
    R1 = 4


class _Draw(enum.IntEnum):
    LATENTS = 0
    SECOND_LATENTS = 1
    MIXING = 2
    NOISE = 3
    IMAGE_NOISE = 4
    AUGMENTATION_UNIFORM = 5
    AUGMENTATION_NORMAL = 6
    AUGMENTATION_NOISE = 7


# Places for the members of _Draw and Phase in a seed. More than needed, so that members can be
# added without changing the seeds of the others.
_DRAWS = 8
_PHASES = 8


def _seeds(run_seed: int, phase: Phase, draw: _Draw, positions: tf.Tensor) -> tf.Tensor:
    stream = (run_seed * _PHASES + phase) * _DRAWS + draw
    return tf.stack(
        [tf.fill(tf.shape(positions), tf.constant(stream, tf.int64)), positions], axis=1
    )


def sample_w(
    generator: Generator,
    labels: tf.Tensor | None,
    positions: tf.Tensor,
    run_seed: int,
    phase: Phase,
    mixing_probability: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws latents and maps them to w, with style mixing.

    Args:
        generator: the generator; its mapping network is used.
        labels: float32 [N, label_dim] or None.
        positions: int64 [N], the samples' positions in the run.
        run_seed: `training.seed`.
        phase: the pass of the iteration.
        mixing_probability: share of samples with style mixing. Their later layers take the w of a
            second latent, from a layer that is drawn uniformly.

    Returns:
        (w [N, num_ws, w_dim], the first latents' w before mixing [N, w_dim]).

    Source: Karras et al. 2018, section 3.1 (mixing regularisation).
    """
    config, mapping = generator.config, generator.mapping

    def latents(draw: _Draw) -> tf.Tensor:
        return randomness.normal(_seeds(run_seed, phase, draw, positions), [config.z_dim])

    first = mapping.transform(latents(_Draw.LATENTS), labels)
    w = tf.repeat(first[:, None], config.num_ws, axis=1)  # [N, num_ws, w_dim]
    if mixing_probability > 0:
        second = mapping.transform(latents(_Draw.SECOND_LATENTS), labels)
        coins = randomness.uniform(_seeds(run_seed, phase, _Draw.MIXING, positions), [2])
        crossover = 1 + tf.cast(coins[:, 1] * (config.num_ws - 1), tf.int32)
        crossover = tf.where(coins[:, 0] < mixing_probability, crossover, config.num_ws)
        later = tf.range(config.num_ws)[None, :] >= crossover[:, None]  # [N, num_ws]
        w = tf.where(later[:, :, None], second[:, None], w)
    return w, first


def noise_seeds(positions: tf.Tensor, run_seed: int, phase: Phase) -> tf.Tensor:
    """Returns the seeds for the synthesis network's noise, int64 [N, 2]."""
    return _seeds(run_seed, phase, _Draw.NOISE, positions)


def image_noise(
    generator: Generator, positions: tf.Tensor, run_seed: int, phase: Phase
) -> tf.Tensor:
    """Returns standard normal images, float32 [N, H, W, C], for path-length regularisation."""
    config = generator.config
    shape = [*config.image_size, config.image_channels]
    return randomness.normal(_seeds(run_seed, phase, _Draw.IMAGE_NOISE, positions), shape)


class AugmentationSeeds(NamedTuple):
    """Seeds of an augmentation's random numbers, int64 [N, 2] each."""

    uniform: tf.Tensor
    normal: tf.Tensor
    noise: tf.Tensor


def augmentation_seeds(positions: tf.Tensor, run_seed: int, phase: Phase) -> AugmentationSeeds:
    """Returns the seeds for augmenting the images at these positions."""
    return AugmentationSeeds(
        *(
            _seeds(run_seed, phase, draw, positions)
            for draw in (
                _Draw.AUGMENTATION_UNIFORM,
                _Draw.AUGMENTATION_NORMAL,
                _Draw.AUGMENTATION_NOISE,
            )
        )
    )

"""The augmentation of a run: what each pass does to images, and how its probability follows.

Source: Karras et al. 2020 (limited data), sections 3 and 3.1; Zhao et al. 2020 for `diffaugment`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from tf_sg2.config import AugmentConfig
from tf_sg2.training.augment.diffaugment import diffaugment
from tf_sg2.training.augment.parameters import STRENGTHS, draw_parameters
from tf_sg2.training.augment.pipeline import apply
from tf_sg2.training.draws import Phase, augmentation_seeds

Augmentation = Callable[[tf.Tensor, tf.Tensor, Phase], tf.Tensor]


def augmentation_of(config: AugmentConfig, run_seed: int, probability: tf.Variable) -> Augmentation:
    """Returns what a pass does to the images that enter the discriminator.

    Args:
        config: the run's augmentation.
        run_seed: `training.seed`.
        probability: p, in the run's state.

    Returns:
        A function of (images [N, H, W, C], positions int64 [N], the pass that draws) to images.
        An image depends only on its own position.
    """
    fields = {field.name.rpartition("_")[0]: field.name for field in dataclasses.fields(config)}
    strengths = {name: getattr(config, fields[name]) for name in STRENGTHS}

    def ada(images: tf.Tensor, positions: tf.Tensor, phase: Phase) -> tf.Tensor:
        seeds = augmentation_seeds(positions, run_seed, phase)
        shape = images.shape[1:]
        parameters = draw_parameters(config.pipe, probability, seeds, strengths, shape)
        return apply(images, parameters, share_margins=False)

    def differentiable(images: tf.Tensor, positions: tf.Tensor, phase: Phase) -> tf.Tensor:
        seeds = augmentation_seeds(positions, run_seed, phase)
        return diffaugment(images, seeds.uniform, config.policy)

    def none(images: tf.Tensor, positions: tf.Tensor, phase: Phase) -> tf.Tensor:
        return images

    return {"none": none, "ada": ada, "fixed": ada, "diffaugment": differentiable}[config.mode]


def next_probability(
    probability: tf.Tensor,
    signs: tf.Tensor,
    config: AugmentConfig,
    batch_size: int,
) -> tf.Tensor:
    """Returns p after an adjustment.

    The statistic is r_t = E[sign(D(real))] over all scores since the last adjustment. p moves up
    if it is above the target, down if below, by as much as would take it from 0 to 1 in
    `config.kimg` thousand images. It stays within 0 and 1; the official code has no upper bound,
    where p above 1 means the same as 1. Without a score, it stays.

    Args:
        probability: p.
        signs: [2], the sum of the signs and their number.
        config: the run's augmentation.
        batch_size: images per iteration.

    Source: Karras et al. 2020 (limited data), section 3.1, equation 1.
    """
    total, count = tf.unstack(tf.cast(signs, tf.float64))
    mean = tf.math.divide_no_nan(total, count)
    direction = tf.cast(tf.sign(mean - config.target), tf.float32)
    direction = tf.where(count > 0, direction, 0.0)
    change = batch_size * config.interval / (config.kimg * 1000)
    return tf.clip_by_value(probability + direction * change, 0.0, 1.0)

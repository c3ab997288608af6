"""The smallest configuration that has every part, for tests that train."""

from __future__ import annotations

from tf_sg2 import config
from tf_sg2.config import presets

IMAGE_SIZE = (16, 20)  # Base 4x5, doubled twice.


def tiny_config(label_dim: int = 0, **overrides: object) -> config.Config:
    """Returns the configuration; `overrides` are fields with two underscores for the dot."""
    values = {
        "generator.z_dim": 8,
        "generator.w_dim": 8,
        "generator.mapping_layers": 2,
        "generator.channel_base": 64,
        "generator.channel_max": 8,
        "discriminator.channel_base": 64,
        "discriminator.channel_max": 8,
        "discriminator.minibatch_stddev_group": 2,
        "data.source": f"cards:count=40,seed=3,size={IMAGE_SIZE[0]}x{IMAGE_SIZE[1]}",
        "training.batch_size": 8,
        "generator_optimizer.learning_rate": 0.0025,
        "discriminator_optimizer.learning_rate": 0.0025,
        "training.r1_gamma": 1.0,
        "training.ema_kimg": 2.0,
        "training.ema_rampup": 0.05,
        "training.path_length_weight": 2.0,
        "training.style_mixing_probability": 0.9,
        "training.r1_interval": 3,
        "training.path_length_interval": 2,
        "training.total_kimg": 0.096,  # 12 iterations
        "training.tick_kimg": 0.016,
        "training.checkpoint_kimg": 0.048,
        "training.sample_kimg": 0.048,
        "training.sample_rows": 1,
        "training.sample_columns": 2,
        "training.score_samples": 0,  # Each run would compile G and D once more.
    }
    values.update({name.replace("__", "."): value for name, value in overrides.items()})
    return config.override(presets.get("cards", IMAGE_SIZE, label_dim=label_dim), values)

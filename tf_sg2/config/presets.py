"""Named configurations: tables of numbers, each with its source.

A preset is data: no other code branches on its name. `get` returns a complete, frozen `Config`;
change its fields with `config.override`.
"""

from __future__ import annotations

from tf_sg2.config import Config, base_size, from_dict
from tf_sg2.errors import InputError

# One row per preset; a row holds the fields that differ from the defaults in `schema.py`.
# config-e, config-f: paper table 1 and appendix B. As in the PyTorch release, a level has
# channel_base / its square size channels: 32768 gives the large networks of config F, 16384 those
# of configs A to E.
# paper256 ... cifar: the configurations published with "Training Generative Adversarial Networks
# with Limited Data" (Karras et al. 2020), appendix C, without its augmentation and in float32.
# The clamp of 256 was made for half-precision layers; it is kept so that results are the same.
# config-a ... config-d: StyleGAN2's paper, table 1, and its official TensorFlow code; growing
# networks, which the trainer does not grow yet: it trains them at full size, with separate R1 steps
# and the logistic loss. pggan: Karras et al. 2017. config-e-gX-dY: architectures of table 2.
GROWING: dict[str, object] = {
    "channel_base": 16384,
    "architecture": "orig",
    "growing": True,
    "generator.label_input": "concat",
    "discriminator.label_output": "dot",
    "learning_rate": 0.001,
}
STYLEGAN: dict[str, object] = {
    **GROWING,
    "activation_gain": "weight",
    "resampling": "nearest",
    "resample_filter": (1.0, 2.0, 1.0),
    "generator.normalization": "adain",
}
# Rows A and B regularise D in every iteration, and A to C have no path-length regularisation.
EVERY_ITERATION: dict[str, object] = {
    "training.r1_interval": 1,
    "training.path_length_interval": 0,
    "training.path_length_weight": 0.0,
}
PRESETS: dict[str, dict[str, object]] = {
    "config-a": {**STYLEGAN, **EVERY_ITERATION},
    "config-b": {**GROWING, **EVERY_ITERATION},
    # The generator has no regulariser, but its learning rate is corrected as if it had one.
    "config-c": {**GROWING, "training.path_length_weight": 0.0},
    "config-d": GROWING,
    "pggan": {
        **STYLEGAN,
        **EVERY_ITERATION,
        "resample_filter": (0.0, 1.0, 0.0),
        "generator.normalization": "pixel",
        "generator.fused_scaling": "always",
        "generator.mapping_layers": 0,
        "training.style_mixing_probability": 0.0,
    },
    **{
        f"config-e-g{generator}-d{discriminator}": {
            "channel_base": 16384,
            "training.r1_gamma": 100.0,
            "generator.architecture": generator,
            "discriminator.architecture": discriminator,
        }
        for generator in ("orig", "skip", "resnet")
        for discriminator in ("orig", "skip", "resnet")
    },
    "config-e": {
        "channel_base": 16384,
        "training.r1_gamma": 100.0,
    },
    "config-f": {
        "channel_base": 32768,
    },
    "paper256": {
        "channel_base": 16384,
        "conv_clamp": 256.0,
        "discriminator.minibatch_stddev_group": 8,
        "learning_rate": 0.0025,
        "training.batch_size": 64,
        "training.r1_gamma": 1.0,
        "training.ema_kimg": 20.0,
    },
    "paper512": {
        "conv_clamp": 256.0,
        "discriminator.minibatch_stddev_group": 8,
        "learning_rate": 0.0025,
        "training.batch_size": 64,
        "training.r1_gamma": 0.5,
        "training.ema_kimg": 20.0,
    },
    "paper1024": {
        "conv_clamp": 256.0,
        "training.r1_gamma": 2.0,
    },
    "cifar": {
        "conv_clamp": 256.0,
        "generator.mapping_layers": 2,
        "discriminator.architecture": "orig",
        "discriminator.minibatch_stddev_group": 32,
        "learning_rate": 0.0025,
        "training.total_kimg": 100000.0,
        "training.batch_size": 64,
        "training.r1_gamma": 0.01,
        "training.path_length_weight": 0.0,
        "training.style_mixing_probability": 0.0,
        "training.ema_kimg": 500.0,
        "training.ema_rampup": 0.05,
    },
    # A small network for dummy business cards: `make demo` trains it on a CPU. The values were
    # chosen by trial for eight minutes on two cores. Few channels and small batches give many
    # iterations. The learning rate is 2.5 times the paper's, R1 is weak (as in `auto` for this size
    # and batch), and the average is short. Path-length regularisation and style mixing are off
    # because they help in longer runs only.
    "cards": {
        "generator.z_dim": 128,
        "generator.w_dim": 128,
        "generator.mapping_layers": 2,
        "channel_base": 1024,
        "channel_max": 64,
        "learning_rate": 0.005,
        "data.source": "cards:count=10000,seed=1,size=32x56",
        "training.total_kimg": 200.0,
        "training.batch_size": 8,
        "training.r1_gamma": 0.1,
        "training.path_length_weight": 0.0,
        "training.path_length_interval": 0,
        "training.style_mixing_probability": 0.0,
        "training.ema_kimg": 0.5,
        "training.tick_kimg": 0.5,
        "training.checkpoint_kimg": 10.0,
        "training.sample_kimg": 4.0,
    },
}

# The image size of a preset if `get` gets none.
IMAGE_SIZES: dict[str, tuple[int, int]] = {
    **dict.fromkeys(PRESETS, (1024, 1024)),
    "paper256": (256, 256),
    "paper512": (512, 512),
    "cifar": (32, 32),
    "auto": (256, 256),
    "cards": (32, 56),
}

# A key without a dot stands for these fields.
BOTH_NETWORKS = {
    "image_size": ("generator.image_size", "discriminator.image_size"),
    "image_channels": ("generator.image_channels", "discriminator.image_channels"),
    "label_dim": ("generator.label_dim", "discriminator.label_dim"),
    "channel_base": ("generator.channel_base", "discriminator.channel_base"),
    "channel_max": ("generator.channel_max", "discriminator.channel_max"),
    "conv_clamp": ("generator.conv_clamp", "discriminator.conv_clamp"),
    "architecture": ("generator.architecture", "discriminator.architecture"),
    "growing": ("generator.growing", "discriminator.growing"),
    "activation_gain": ("generator.activation_gain", "discriminator.activation_gain"),
    "resampling": ("generator.resampling", "discriminator.resampling"),
    "resample_filter": ("generator.resample_filter", "discriminator.resample_filter"),
    "learning_rate": (
        "generator_optimizer.learning_rate",
        "discriminator_optimizer.learning_rate",
    ),
}


def names() -> list[str]:
    """Returns the names of the presets."""
    return list(IMAGE_SIZES)


def get(
    name: str,
    image_size: tuple[int, int] | None = None,
    image_channels: int = 3,
    label_dim: int = 0,
    replicas: int = 1,
) -> Config:
    """Returns the preset `name` as a complete configuration.

    Args:
        name: one of `names()`.
        image_size: (height, width) in pixels; None for that of the preset.
        image_channels: 1, 3 or 4.
        label_dim: width of the label vectors, 0 without labels.
        replicas: number of devices that share a batch; only `auto` depends on it.

    Raises:
        InputError: for an unknown name or an unusable image size.
    """
    if name not in IMAGE_SIZES:
        raise InputError(f"there is no preset {name!r}; the presets are {', '.join(names())}")
    size = image_size or IMAGE_SIZES[name]
    row = _auto(size, replicas) if name == "auto" else PRESETS[name]
    values = {
        "image_size": size,
        "image_channels": image_channels,
        "label_dim": label_dim,
        **row,
    }
    nested: dict[str, dict[str, object]] = {"generator": {}, "discriminator": {}}
    for key, value in values.items():
        for path in BOTH_NETWORKS.get(key, (key,)):
            section, _, entry = path.partition(".")
            nested.setdefault(section, {})[entry] = value
    return from_dict(nested)


def _auto(image_size: tuple[int, int], replicas: int) -> dict[str, object]:
    """Returns the row of the preset `auto`, by the formulas published with the ADA paper.

    The batch and the weight of R1 depend on the resolution and the number of devices.
    """
    resolution = 4 << base_size(image_size)[1]
    batch = max(min(replicas * min(4096 // resolution, 32), 64), replicas)
    return {
        "channel_base": 32768 if resolution >= 512 else 16384,
        "conv_clamp": 256.0,
        "generator.mapping_layers": 2,
        "discriminator.minibatch_stddev_group": min(batch // replicas, 4),
        "learning_rate": 0.002 if resolution >= 1024 else 0.0025,
        "training.batch_size": batch,
        # A device with one image cannot use half of it.
        "training.path_length_batch_divisor": min(batch // replicas, 2),
        "training.r1_gamma": 0.0002 * resolution**2 / batch,
        "training.ema_kimg": batch * 10 / 32,
        "training.ema_rampup": 0.05,
    }

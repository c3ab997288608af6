"""The discriminator, in the architectures of paper figure 7, and growing as in StyleGAN."""

from __future__ import annotations

import math
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tf_sg2.config import DiscriminatorConfig, from_dict, to_dict
from tf_sg2.errors import InputError
from tf_sg2.networks import KERAS_PACKAGE
from tf_sg2.networks.equalized import EqualizedConv2D, EqualizedDense
from tf_sg2.networks.mapping import MappingNetwork, checked_labels
from tf_sg2.networks.resampling import downsample2d
from tf_sg2.networks.statistics import MinibatchStddev
from tf_sg2.networks.stylegan.growing import (
    checked_lod,
    fade_share,
    faded_input,
    halved,
    is_gone,
)


def _from_rgb(config: DiscriminatorConfig, channels: int) -> EqualizedConv2D:
    """Returns the layer that turns an image into activations."""
    return EqualizedConv2D(
        channels,
        1,
        "lrelu",
        clamp=config.conv_clamp,
        activation_gain=config.activation_gain,
        name="from_rgb",
    )


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class DiscriminatorBlock(keras.layers.Layer):
    """The layers of one resolution.

    `from_rgb` turns the image into activations, `conv0` keeps the size, and `conv1` halves it.

    Args:
        config: the discriminator's configuration.
        index: position of the resolution, 0 for the base.

    Call: (x, image, fade=1.0) -> (x, image). `x` is None for the first block. `image` is None after
    the last block that takes it. `fade` is the share of `from_rgb` in a growing network's input.

    Source: paper figure 7, right column (b: skip, c: residual); Karras et al. 2017, figure 2.
    """

    def __init__(self, config: DiscriminatorConfig, index: int, **kwargs):
        super().__init__(**kwargs)
        self.config, self.index = config, index
        level, below = config.levels[index], config.levels[index - 1]
        taps = config.resample_filter
        shared: dict[str, Any] = {
            "clamp": config.conv_clamp,
            "activation_gain": config.activation_gain,
        }
        residual = config.architecture == "resnet"
        gain = math.sqrt(0.5) if residual else 1.0
        self.from_rgb: EqualizedConv2D | None = None
        self.skip: EqualizedConv2D | None = None
        every = config.growing or config.architecture == "skip"
        if every or index == len(config.levels) - 1:
            self.from_rgb = _from_rgb(config, level.channels)
        self.conv0 = EqualizedConv2D(level.channels, 3, "lrelu", name="conv0", **shared)
        self.conv1 = EqualizedConv2D(
            below.channels,
            3,
            "lrelu",
            down=2,
            gain=gain,
            resample_filter=taps,
            resampling=config.resampling,
            name="conv1",
            **shared,
        )
        if residual:
            self.skip = EqualizedConv2D(
                below.channels,
                1,
                use_bias=False,
                down=2,
                gain=gain,
                resample_filter=taps,
                name="skip",
            )

    def build(self, input_shape: object = None) -> None:
        """Creates the weights; their shapes follow from the configuration."""
        level = self.config.levels[self.index]
        inside = (None, level.height, level.width, level.channels)
        if self.from_rgb is not None:
            self.from_rgb.build((*inside[:3], self.config.image_channels))
        for layer in (self.conv0, self.conv1, self.skip):
            if layer is not None:
                layer.build(inside)
        self.built = True

    def call(
        self, x: tf.Tensor | None, image: tf.Tensor | None, fade: float | tf.Tensor = 1.0
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns the activations and the image at half the size."""
        if self.config.growing and self.from_rgb is not None:
            x = faded_input(x, self.from_rgb, image, fade)  # [N, H, W, C]
            image = halved(image)
        elif self.from_rgb is not None:
            seen = self.from_rgb(image)  # [N, H, W, C]
            x = seen if x is None else x + seen
            skips = self.config.architecture == "skip"
            image = downsample2d(image, self.config.resample_filter) if skips else None
        shortcut = None if self.skip is None else self.skip(x)  # [N, H/2, W/2, C']
        x = self.conv0(x)  # [N, H, W, C]
        x = self.conv1(x)  # [N, H/2, W/2, C']
        return (x if shortcut is None else x + shortcut), image


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class DiscriminatorEpilogue(keras.layers.Layer):
    """The base resolution: minibatch stddev, a convolution, two dense layers.

    Args:
        config: the discriminator's configuration.
        units: width of the output.

    Call: (x float [N, h, w, C], image or None, fade=1.0) -> float [N, units]. `fade` is that of a
    `DiscriminatorBlock`.

    Source: paper figure 7; Karras et al. 2017, table 2 (last block).
    """

    def __init__(self, config: DiscriminatorConfig, units: int, **kwargs):
        super().__init__(**kwargs)
        self.config, self.units = config, units
        channels = config.levels[0].channels
        every = config.growing or config.architecture == "skip"
        self.from_rgb = _from_rgb(config, channels) if every else None
        group = config.minibatch_stddev_group
        self.minibatch_stddev = MinibatchStddev(group, name="minibatch_stddev") if group else None
        shared: dict[str, Any] = {"activation_gain": config.activation_gain}
        self.conv = EqualizedConv2D(
            channels, 3, "lrelu", clamp=config.conv_clamp, name="conv", **shared
        )
        self.fc = EqualizedDense(channels, "lrelu", name="fc", **shared)
        self.out = EqualizedDense(units, name="out")

    def build(self, input_shape: object = None) -> None:
        """Creates the weights; their shapes follow from the configuration."""
        level = self.config.levels[0]
        if self.from_rgb is not None:
            self.from_rgb.build((None, level.height, level.width, self.config.image_channels))
        statistic = 0 if self.minibatch_stddev is None else 1
        self.conv.build((None, level.height, level.width, level.channels + statistic))
        self.fc.build((None, level.height * level.width * level.channels))
        self.out.build((None, level.channels))
        self.built = True

    def call(
        self, x: tf.Tensor | None, image: tf.Tensor | None, fade: float | tf.Tensor = 1.0
    ) -> tf.Tensor:
        """Returns the features, or the score where `units` is 1."""
        if self.config.growing and self.from_rgb is not None:
            x = faded_input(x, self.from_rgb, image, fade)  # [N, h, w, C]
        elif self.from_rgb is not None:
            x = x + self.from_rgb(image)  # [N, h, w, C]
        if self.minibatch_stddev is not None:
            x = self.minibatch_stddev(x)  # [N, h, w, C + 1]
        x = self.conv(x)  # [N, h, w, C]
        x = self.fc(tf.reshape(x, [-1, math.prod(x.shape[1:])]))  # [N, C]
        return self.out(x)  # [N, units]


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class Discriminator(keras.Model):
    """The discriminator of StyleGAN2 or of a predecessor, as its configuration says.

    Its weights exist as soon as it is constructed.

    With labels, the score is the projection of the features onto the mapped label, divided by the
    square root of their width (Karras et al. 2020, ADA). If `label_output` is "dot", it is the sum
    of one output per class, weighted by the label (Karras et al. 2018).

    Args:
        config: its configuration.

    Call: (images float [N, H, W, image_channels], labels=None, lod=0.0) -> scores float32 [N, 1],
    larger for images that look real. `labels` are float32 [N, label_dim]. `lod` is the level of
    detail of a growing network, a number or a scalar tensor.

    Raises:
        InputError: for images of another size, labels that do not fit, or an unusable `lod`.

    Example: `tf_sg2.Discriminator(tf_sg2.DiscriminatorConfig(image_size=(64, 64)))(images)`.

    Source: paper figure 7; Miyato and Koyama 2018 (projection).
    """

    def __init__(self, config: DiscriminatorConfig, **kwargs):
        kwargs.setdefault("name", "discriminator")
        super().__init__(**kwargs)
        self.config = config
        self.blocks = [
            DiscriminatorBlock(config, i, name=f"b{config.levels[i].square}")
            for i in range(len(config.levels) - 1, 0, -1)
        ]
        base = config.levels[0]
        projects = bool(config.label_dim) and config.label_output == "projection"
        width = config.output_width or base.channels
        units = width if projects else config.label_dim or 1
        self.epilogue = DiscriminatorEpilogue(config, units, name=f"b{base.square}")
        self.mapping: MappingNetwork | None = None
        if projects:
            self.mapping = MappingNetwork(
                0,
                config.label_dim,
                width,
                layers=config.mapping_layers,
                lr_multiplier=config.mapping_lr_multiplier,
                w_avg_beta=None,
                label_width=config.label_width,
                width=config.mapping_width,
                name="mapping",
            )
        for part in (*self.blocks, self.epilogue, self.mapping):
            if part is not None:
                part.build()
        self.built = True

    def call(
        self,
        images: tf.Tensor,
        labels: tf.Tensor | None = None,
        lod: float | tf.Tensor = 0.0,
    ) -> tf.Tensor:
        """Returns the scores."""
        lod = checked_lod(lod, self.config)
        expected = (*self.config.image_size, self.config.image_channels)
        if images.shape.rank != 4 or tuple(images.shape[1:]) != expected:
            raise InputError(
                f"images have shape {images.shape}; this discriminator takes "
                f"[N, {expected[0]}, {expected[1]}, {expected[2]}]"
            )
        x, image = None, images
        # Level k is k doublings below the image. Its block fades out while lod is in k...k+1.
        for k, block in enumerate(self.blocks):
            if is_gone(fade_share(lod, k)):
                image = halved(image)  # The block has no effect.
            else:
                x, image = block(x, image, fade=fade_share(lod, k - 1))
        x = self.epilogue(x, image, fade=fade_share(lod, len(self.blocks) - 1))  # [N, units]
        labels = checked_labels(labels, self.config.label_dim)
        if labels is None:
            return x  # [N, 1]
        if self.mapping is None:
            return tf.reduce_sum(x * tf.cast(labels, x.dtype), axis=1, keepdims=True)  # [N, 1]
        w = self.mapping.transform(None, labels)  # [N, units]
        return tf.reduce_sum(x * w, axis=1, keepdims=True) / math.sqrt(x.shape[1])  # [N, 1]

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration as plain data, for Keras."""
        return {"config": to_dict(self.config), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Discriminator:
        """Returns a new discriminator of a configuration from `get_config`."""
        return cls(from_dict(config["config"], DiscriminatorConfig), name=config["name"])

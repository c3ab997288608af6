"""The synthesis network: w to an image, in the architectures of paper figure 7."""

from __future__ import annotations

import math

import tensorflow as tf
from tensorflow import keras

from tf_sg2.config import GeneratorConfig
from tf_sg2.errors import InputError
from tf_sg2.networks import randomness
from tf_sg2.networks.layers import EqualizedConv2D, StyledConv2D, ToRGB, at_least_float32, package
from tf_sg2.networks.resampling import upsample2d

NOISE_MODES = ("random", "const", "none")


@keras.utils.register_keras_serializable(package)
class SynthesisBlock(keras.layers.Layer):
    """The layers of one resolution: `conv0` doubles the size, `conv1` keeps it, `to_rgb` shows it.

    The first block has the learned constant `const` in place of `conv0`.

    Call: (x, image, ws, noises) -> (x, image); `ws` holds one w a layer, `noises` one entry a
    convolution.

    Source: paper figure 7, left column (b: skip, c: residual; orig is the chain of StyleGAN).
    """

    def __init__(self, config: GeneratorConfig, index: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        level = config.levels[index]
        shared = {"clamp": config.conv_clamp, "resample_filter": config.resample_filter}
        residual = config.architecture == "resnet" and index > 0
        size = (level.channels, level.height, level.width, config.w_dim)
        self.level, self.config, self.index = level, config, index
        self.conv0 = StyledConv2D(*size, up=2, name="conv0", **shared) if index else None
        self.conv1 = StyledConv2D(
            *size, gain=math.sqrt(0.5) if residual else 1.0, name="conv1", **shared
        )
        self.skip = (
            EqualizedConv2D(
                level.channels,
                1,
                use_bias=False,
                up=2,
                gain=math.sqrt(0.5),
                resample_filter=config.resample_filter,
                name="skip",
            )
            if residual
            else None
        )
        shown = config.architecture == "skip" or index == len(config.levels) - 1
        self.to_rgb = (
            ToRGB(config.image_channels, config.w_dim, config.conv_clamp, name="to_rgb")
            if shown
            else None
        )

    @property
    def convolutions(self) -> list[StyledConv2D]:
        """The styled convolutions in order of use."""
        return [self.conv1] if self.conv0 is None else [self.conv0, self.conv1]

    def build(self, input_shape=None) -> None:
        level, config = self.level, self.config
        inside = (None, level.height, level.width, level.channels)
        if self.conv0 is None:
            self.const = self.add_weight(
                name="const",
                shape=inside[1:],
                initializer=keras.initializers.RandomNormal(stddev=1.0),
            )
        else:
            below = config.levels[self.index - 1]
            before = (None, below.height, below.width, below.channels)
            self.conv0.build(before)
            if self.skip is not None:
                self.skip.build(before)
        self.conv1.build(inside)
        if self.to_rgb is not None:
            self.to_rgb.build(inside)
        self.built = True

    def call(self, x, image, ws, noises):
        w, noise = iter(ws), iter(noises)
        if self.conv0 is None:
            const = tf.cast(self.const, self.compute_dtype)
            x = tf.repeat(const[None], tf.shape(ws[0])[0], axis=0)  # [N, h, w, C]
            x = self.conv1(x, next(w), next(noise))
        else:
            shortcut = None if self.skip is None else self.skip(x)  # [N, 2h, 2w, C]
            x = self.conv0(x, next(w), next(noise))  # [N, 2h, 2w, C]
            x = self.conv1(x, next(w), next(noise))
            x = x if shortcut is None else x + shortcut
        if self.to_rgb is not None:
            shown = self.to_rgb(x, next(w))  # [N, 2h, 2w, image_channels]
            shown = tf.cast(shown, ws[0].dtype)  # The sum keeps the digits of w.
            image = (
                shown if image is None else upsample2d(image, self.config.resample_filter) + shown
            )
        return x, image


@keras.utils.register_keras_serializable(package)
class SynthesisNetwork(keras.layers.Layer):
    """w to an image, block by block from the base resolution.

    Args:
        config: the generator's configuration.

    Call: (w float [N, num_ws, w_dim], noise_mode="random", noise_seeds=None)
    -> float32 [N, H, W, image_channels], about -1 to 1.
    `noise_mode` is "random" (fresh noise from `noise_seeds`, int [N, 2], one a sample, else from
    TensorFlow's global generator), "const" (the stored noise images) or "none".

    Source: paper figure 2 (d) and figure 7; layer-to-w assignment as in the official networks:
    a block's ToRGB shares the w of the next block's first convolution.
    """

    def __init__(self, config: GeneratorConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config
        self.blocks = [
            SynthesisBlock(config, i, name=f"b{level.square}")
            for i, level in enumerate(config.levels)
        ]

    def get_config(self):
        raise NotImplementedError("save the Generator: its configuration holds this network's")

    def build(self, input_shape=None) -> None:
        for block in self.blocks:
            block.build()
        self.built = True

    def call(
        self, w: tf.Tensor, noise_mode: str = "random", noise_seeds: tf.Tensor | None = None
    ) -> tf.Tensor:
        return self.images(w, noise_mode, noise_seeds)[-1]

    def images(
        self, w: tf.Tensor, noise_mode: str = "random", noise_seeds: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """Returns the image after each block that shows one, smallest first.

        The last is what a call returns; the arguments are the call's.
        """
        w = tf.cast(w, at_least_float32(self.compute_dtype))
        expected = (self.config.num_ws, self.config.w_dim)
        if w.shape.rank != 3 or tuple(w.shape[1:]) != expected:
            raise InputError(f"w has shape {w.shape}; it must be [N, {expected[0]}, {expected[1]}]")
        noises = iter(self._noises(w, noise_mode, noise_seeds))
        x = image = None
        images, position = [], 0
        for block in self.blocks:
            count = len(block.convolutions)
            ws = [w[:, position + i] for i in range(count + 1)]
            x, image = block(x, image, ws, [next(noises) for _ in range(count)])
            position += count
            if image is not None:
                images.append(image)
        return images

    def _noises(self, w, noise_mode, noise_seeds) -> list[tf.Tensor | None]:
        if noise_mode not in NOISE_MODES:
            raise InputError(
                f"there is no noise mode {noise_mode!r}; take one of {', '.join(NOISE_MODES)}"
            )
        layers = [layer for block in self.blocks for layer in block.convolutions]
        if noise_mode == "none":
            return [None] * len(layers)
        if noise_mode == "const":
            return [layer.noise.const for layer in layers]
        if noise_seeds is None:
            noise_seeds = randomness.fresh_seeds(tf.shape(w)[0])
        noise_seeds = tf.convert_to_tensor(noise_seeds)
        if not noise_seeds.shape.is_compatible_with([w.shape[0], 2]):
            raise InputError(
                f"noise_seeds have shape {noise_seeds.shape}; they must be [{w.shape[0]}, 2]"
            )
        sizes = [layer.height * layer.width for layer in layers]
        flat = randomness.normal(noise_seeds, [sum(sizes)])  # [N, pixels of all layers]
        parts = tf.split(flat, sizes, axis=1)
        return [
            tf.reshape(part, [-1, layer.height, layer.width])
            for part, layer in zip(parts, layers, strict=True)
        ]


def to_rgb_outputs(images: list[tf.Tensor], config: GeneratorConfig) -> list[tf.Tensor]:
    """Returns what each level of a skip generator added to the image, at the level's own size.

    Args:
        images: what `SynthesisNetwork.images` returned.

    Source: paper section 4.2 and figure 8, which measure their standard deviations.
    """
    previous = [None, *images[:-1]]
    return [
        image if below is None else image - upsample2d(below, config.resample_filter)
        for image, below in zip(images, previous, strict=True)
    ]

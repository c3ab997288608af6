"""The synthesis network, which maps w to an image, in the architectures of paper figure 7."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tf_sg2.config import GeneratorConfig
from tf_sg2.errors import InputError
from tf_sg2.networks import KERAS_PACKAGE, randomness
from tf_sg2.networks.equalized import EqualizedConv2D
from tf_sg2.networks.modulated import StyledConv2D, ToRGB
from tf_sg2.networks.precision import at_least_float32
from tf_sg2.networks.resampling import upsample2d
from tf_sg2.networks.stylegan.adain import AdaINBlock
from tf_sg2.networks.stylegan.growing import (
    checked_lod,
    fade_share,
    faded_image,
    is_gone,
    repeated,
)
from tf_sg2.networks.stylegan.pixel_norm import PixelNormBlock

NOISE_MODES = ("random", "const", "none")


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class SynthesisBlock(keras.layers.Layer):
    """The layers of one resolution.

    `conv0` doubles the size, `conv1` keeps it, and `to_rgb` turns the result into an image. The
    first block has the learned constant `const` instead of `conv0`.

    Args:
        config: the generator's configuration.
        index: position of the block, 0 for the base resolution.

    Call: (x, image, ws, noises, fade=0.0) -> (x, image). `ws` holds one w per layer, and `noises`
    one entry per convolution. `x` and `image` are those of the block before, None for the first
    block. `fade` is the share of the smaller image in that of a growing network.

    Source: paper figure 7, left column (b: skip, c: residual; orig is the chain of StyleGAN).
    """

    def __init__(self, config: GeneratorConfig, index: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        level = config.levels[index]
        size = (level.channels, level.height, level.width, config.w_dim)
        clamp, taps = config.conv_clamp, config.resample_filter
        residual = config.architecture == "resnet" and index > 0
        gain = math.sqrt(0.5) if residual else 1.0
        self.level, self.config, self.index = level, config, index
        self.conv0: StyledConv2D | None = None
        self.const: Any = None
        self.skip: EqualizedConv2D | None = None
        self.to_rgb: ToRGB | None = None
        shared: dict[str, Any] = {
            "clamp": clamp,
            "resample_filter": taps,
            "use_noise": config.use_noise,
        }
        if index:
            self.conv0 = StyledConv2D(*size, up=2, name="conv0", **shared)
        self.conv1 = StyledConv2D(*size, gain=gain, name="conv1", **shared)
        if residual:
            self.skip = EqualizedConv2D(
                level.channels,
                1,
                use_bias=False,
                up=2,
                gain=gain,
                resample_filter=taps,
                name="skip",
            )
        every = config.growing or config.architecture == "skip"
        if every or index == len(config.levels) - 1:
            self.to_rgb = ToRGB(config.image_channels, config.w_dim, clamp, name="to_rgb")

    # A method: Keras 2.15 names saved weights by the last attribute that holds them.
    def main_layers(self) -> list[StyledConv2D]:
        """The layers between the block's input and its output, in order of use."""
        return self.convolutions

    @property
    def convolutions(self) -> list[StyledConv2D]:
        """The styled convolutions in order of use."""
        return [self.conv1] if self.conv0 is None else [self.conv0, self.conv1]

    def build(self, input_shape: object = None) -> None:
        """Creates the weights; their shapes follow from the configuration."""
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

    def call(
        self,
        x: tf.Tensor | None,
        image: tf.Tensor | None,
        ws: Sequence[tf.Tensor],
        noises: Sequence[tf.Tensor | None],
        fade: float | tf.Tensor = 0.0,
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns the activations and the image of this resolution."""
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
            shown = tf.cast(shown, ws[0].dtype)  # The sum of images has the precision of w.
            if self.config.growing:
                shown = faded_image(shown, image, fade)
            elif image is not None:
                shown = upsample2d(image, self.config.resample_filter) + shown
            image = shown
        return x, image


# Field `normalization` -> the class of the blocks.
BLOCKS: dict[str, type[SynthesisBlock | AdaINBlock | PixelNormBlock]] = {
    "demodulation": SynthesisBlock,
    "adain": AdaINBlock,
    "pixel": PixelNormBlock,
}


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class SynthesisNetwork(keras.layers.Layer):
    """Maps w to an image, block by block from the base resolution.

    Args:
        config: the generator's configuration.

    The blocks follow from `config.normalization`: those of StyleGAN2, of StyleGAN, or of the
    progressive GAN.

    Call: (w float [N, num_ws, w_dim], noise_mode="random", noise_seeds=None, lod=0.0)
    -> float32 [N, H, W, image_channels], about -1 to 1.
    `noise_mode` is "random" (fresh noise), "const" (the stored noise images) or "none". Fresh noise
    follows from `noise_seeds`, int [N, 2], one seed per sample. Without seeds it comes from
    TensorFlow's global generator. `lod` is the level of detail of a growing network, a number or a
    scalar tensor. If it is a number, blocks that have no effect are not computed.

    Raises:
        InputError: if w or `noise_seeds` do not fit, for an unknown noise mode, or an unusable
            `lod`.

    Source: paper figure 2 (d) and figure 7. As in the official networks, the ToRGB of a block
    shares its w with the first convolution of the next block.
    """

    def __init__(self, config: GeneratorConfig, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.config = config
        kind = BLOCKS[config.normalization]
        self.blocks = [
            kind(config, i, name=f"b{level.square}") for i, level in enumerate(config.levels)
        ]

    def get_config(self) -> dict[str, Any]:
        """Refuses, because only whole generators are saved."""
        raise NotImplementedError("save the Generator: its configuration holds this network's")

    def build(self, input_shape: object = None) -> None:
        """Creates the weights; their shapes follow from the configuration."""
        for block in self.blocks:
            block.build()
        self.built = True

    def call(
        self,
        w: tf.Tensor,
        noise_mode: str = "random",
        noise_seeds: tf.Tensor | None = None,
        lod: float | tf.Tensor = 0.0,
    ) -> tf.Tensor:
        """Returns the images."""
        image = self.images(w, noise_mode, noise_seeds, lod)[-1]
        return repeated(image, self.config.image_size[0] // image.shape[1])

    def images(
        self,
        w: tf.Tensor,
        noise_mode: str = "random",
        noise_seeds: tf.Tensor | None = None,
        lod: float | tf.Tensor = 0.0,
    ) -> list[tf.Tensor]:
        """Returns the image after each computed block that has a ToRGB, smallest first.

        The last one, repeated to full size, is the result of a call. The arguments are those of a
        call.
        """
        lod = checked_lod(lod, self.config)
        # Level k is k doublings below the image. Its block fades out while lod is in k...k+1.
        fades = [fade_share(lod, k) for k in reversed(range(len(self.blocks)))]
        blocks = [
            block for block, fade in zip(self.blocks, fades, strict=True) if not is_gone(fade)
        ]
        w = tf.cast(w, at_least_float32(self.compute_dtype))
        expected = (self.config.num_ws, self.config.w_dim)
        if w.shape.rank != 3 or tuple(w.shape[1:]) != expected:
            raise InputError(f"w has shape {w.shape}; it must be [N, {expected[0]}, {expected[1]}]")
        noises = iter(self._noises(w, noise_mode, noise_seeds, blocks))
        x = image = None
        images, position = [], 0
        for block, fade in zip(blocks, fades, strict=False):
            count = len(block.convolutions)
            read = range(position, min(position + count + 1, self.config.num_ws))
            ws = [w[:, i] for i in read]
            x, image = block(x, image, ws, [next(noises) for _ in range(count)], fade=fade)
            position += count
            if image is not None:
                images.append(image)
        return images

    def _noises(
        self,
        w: tf.Tensor,
        noise_mode: str,
        noise_seeds: tf.Tensor | None,
        blocks: Sequence[SynthesisBlock | AdaINBlock | PixelNormBlock] | None = None,
    ) -> list[tf.Tensor | None]:
        """Returns the noise of each convolution in `blocks`: [N, H, W], [H, W] or None.

        Without `blocks`, those of all. The first blocks get the same noise with or without the
        others, because a longer draw begins with the numbers of a shorter one.
        """
        blocks = self.blocks if blocks is None else blocks
        if noise_mode not in NOISE_MODES:
            raise InputError(
                f"there is no noise mode {noise_mode!r}; take one of {', '.join(NOISE_MODES)}"
            )
        layers = [layer for block in blocks for layer in block.convolutions]
        if noise_mode == "none" or not self.config.use_noise or not layers:
            return [None] * len(layers)
        if noise_mode == "const":
            return [layer.noise.const for layer in layers if layer.noise is not None]
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
    """Returns the summand that each level of a skip generator added, at the size of the level.

    Args:
        images: the result of `SynthesisNetwork.images`.
        config: the generator's configuration.

    Source: paper section 4.2 and figure 8, which measure their standard deviations.
    """
    previous = [None, *images[:-1]]
    return [
        image if below is None else image - upsample2d(below, config.resample_filter)
        for image, below in zip(images, previous, strict=True)
    ]

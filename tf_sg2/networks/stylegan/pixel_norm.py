"""The synthesis blocks of the progressive GAN: no styles, and normalisation of every pixel.

Source: Karras et al. 2017, section 4.2 and table 2.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf
from tensorflow import keras

from tf_sg2.config import GeneratorConfig
from tf_sg2.networks import KERAS_PACKAGE
from tf_sg2.networks.equalized import EqualizedConv2D, channels_of
from tf_sg2.networks.precision import at_least_float32
from tf_sg2.networks.stylegan.adain import AdaINLayer, turns_kernel
from tf_sg2.networks.stylegan.growing import faded_image
from tf_sg2.ops import bias_act

PIXEL_NORM_EPSILON = 1e-8


def pixel_norm(x: tf.Tensor) -> tf.Tensor:
    """Scales the channels of each pixel, [N, H, W, C], to a mean square of 1."""
    precise = tf.cast(x, at_least_float32(x.dtype.name))
    power = tf.reduce_mean(tf.square(precise), axis=3, keepdims=True)  # [N, H, W, 1]
    return tf.cast(precise * tf.math.rsqrt(power + PIXEL_NORM_EPSILON), x.dtype)


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class LatentImage(keras.layers.Layer):
    """A dense layer from the latent to the base resolution, with one bias per channel.

    Args:
        height, width, channels: size of the output.

    Call: x float [N, C] -> [N, height, width, channels].

    Example: `LatentImage(4, 4, 512)(z)`.

    Source: Karras et al. 2017, table 2: its first row is a 4x4 convolution of a 1x1 image.
    """

    def __init__(self, height: int, width: int, channels: int, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width, self.channels = height, width, channels

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for inputs of this shape."""
        area, fan_in = self.height * self.width, channels_of(input_shape, self)
        # The gain is that of a transposed convolution, whose outputs are not sums over the area.
        self.weight_gain = math.sqrt(2 / area / fan_in)
        self.weight = self.add_weight(
            name="weight",
            shape=(fan_in, area * self.channels),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )
        self.bias = self.add_weight(name="bias", shape=(self.channels,), initializer="zeros")
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns the activated feature maps."""
        x = tf.matmul(x, self.weight * self.weight_gain)  # [N, height * width * channels]
        x = tf.reshape(x, [-1, self.height, self.width, self.channels])
        return bias_act(x, self.bias, "lrelu", gain=1.0)


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class PixelNormBlock(keras.layers.Layer):
    """The layers of one resolution in the progressive GAN.

    `conv0` doubles the size, or is the dense layer from the latent in the first block. `conv1`
    keeps the size. Both are followed by normalisation of each pixel.

    Args:
        config: the generator's configuration.
        index: position of the block, 0 for the base resolution.

    Call: (x, image, ws, noises, fade=0.0) -> (x, image), as a `SynthesisBlock`. `ws` holds the
    normalised latent, and `noises` is empty.

    Source: Karras et al. 2017, table 2 and figure 2.
    """

    def __init__(self, config: GeneratorConfig, index: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        level = config.levels[index]
        self.level, self.config, self.index = level, config, index
        self.const = None
        self.skip = None
        policy = self.dtype_policy
        self.conv0: LatentImage | EqualizedConv2D
        if index:
            self.conv0 = EqualizedConv2D(
                level.channels,
                3,
                "lrelu",
                up=2,
                clamp=config.conv_clamp,
                resample_filter=config.resample_filter,
                resampling="nearest",
                activation_gain="weight",
                turned=turns_kernel(config, level.square),
                name="conv0",
                dtype=policy,
            )
        else:
            self.conv0 = LatentImage(
                level.height, level.width, level.channels, name="latent", dtype=policy
            )
        self.conv1 = EqualizedConv2D(
            level.channels,
            3,
            "lrelu",
            clamp=config.conv_clamp,
            activation_gain="weight",
            name="conv1",
            dtype=policy,
        )
        self.to_rgb: EqualizedConv2D | None = None
        if config.growing or index == len(config.levels) - 1:
            self.to_rgb = EqualizedConv2D(
                config.image_channels, 1, clamp=config.conv_clamp, name="to_rgb", dtype=policy
            )

    # A method: Keras 2.15 names saved weights by the last attribute that holds them.
    def main_layers(self) -> list[LatentImage | EqualizedConv2D]:
        """The layers between the block's input and its output, in order of use."""
        return [self.conv0, self.conv1]

    @property
    def convolutions(self) -> list[AdaINLayer]:
        """The layers that take a w and a noise image: none."""
        return []

    def build(self, input_shape: object = None) -> None:
        """Creates the weights; their shapes follow from the configuration."""
        level, before = self.level, self.config.levels[max(self.index - 1, 0)]
        inside = (None, level.height, level.width, level.channels)
        if self.index:
            self.conv0.build((None, before.height, before.width, before.channels))
        else:
            self.conv0.build((None, self.config.w_dim))
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
        x = pixel_norm(self.conv0(x if self.index else ws[0]))  # [N, H, W, C]
        x = pixel_norm(self.conv1(x))
        if self.to_rgb is None:
            return x, image
        shown = tf.cast(self.to_rgb(x), ws[0].dtype)  # [N, H, W, image_channels]
        return x, faded_image(shown, image, fade)

"""The synthesis blocks of StyleGAN, config A of the StyleGAN2 paper: AdaIN and noise per channel.

Source: Karras et al. 2018, section 2 and figure 1 (b); paper figure 2 (a, b).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf
from tensorflow import keras

from tf_sg2.config import GeneratorConfig
from tf_sg2.networks import KERAS_PACKAGE
from tf_sg2.networks.equalized import EqualizedConv2D, EqualizedDense, channels_of
from tf_sg2.networks.precision import at_least_float32
from tf_sg2.networks.stylegan.growing import faded_image
from tf_sg2.ops import bias_act

INSTANCE_NORM_EPSILON = 1e-8
FUSED_FROM = 128  # Square size from which the official layers fuse, with `fused_scaling` auto.


def turns_kernel(config: GeneratorConfig, square: int) -> bool:
    """Returns whether a doubling layer with outputs of this square size turns its kernel."""
    if config.fused_scaling == "auto":
        return square >= FUSED_FROM
    return config.fused_scaling == "always"


def instance_norm(x: tf.Tensor) -> tf.Tensor:
    """Scales each channel of each sample, [N, H, W, C], to mean 0 and a mean square of 1."""
    x = x - tf.reduce_mean(x, axis=[1, 2], keepdims=True)
    power = tf.reduce_mean(tf.square(x), axis=[1, 2], keepdims=True)  # [N, 1, 1, C]
    return x * tf.math.rsqrt(power + INSTANCE_NORM_EPSILON)


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class ChannelNoise(keras.layers.Layer):
    """Adds one noise image to all channels, with a learned strength per channel.

    The layer also holds the constant noise image of `noise_mode="const"`, which is not trained.

    Args:
        height, width: size of the activations in pixels.

    Call: (x float [N, H, W, C], noise float [N, H, W] or [H, W]) -> shape of x.

    Example: `ChannelNoise(8, 8)(x, tf.random.normal([4, 8, 8]))`.

    Source: Karras et al. 2018, figure 1 (b), B.
    """

    def __init__(self, height: int, width: int, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the strengths and the constant noise image."""
        self.const = self.add_weight(
            name="const",
            shape=(self.height, self.width),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            trainable=False,
        )
        self.strength = self.add_weight(
            name="strength", shape=(channels_of(input_shape, self),), initializer="zeros"
        )
        self.built = True

    def call(self, x: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        """Returns `x` with the scaled noise added."""
        noise = tf.cast(noise, x.dtype)[..., None]  # [N, H, W, 1] or [H, W, 1]
        return x + noise * tf.cast(self.strength, x.dtype)


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class AdaINLayer(keras.layers.Layer):
    """One layer of the synthesis network: convolution, noise, bias, leaky ReLU, AdaIN.

    Args:
        filters: channels of the output.
        height, width: size of the output in pixels.
        w_dim: width of w.
        convolve: whether there is a convolution; the layer after the learned constant has none.
        up: 1, or 2 where the input is half that size.
        clamp: largest absolute activation; None for no clamp.
        blur_filter: taps of the blur after `up`.
        turned: whether the kernel of `up` is turned by 180 degrees.
        use_noise: whether the layer has a noise image and its strengths.

    Call: (x float [N, h, w, C], w float [N, w_dim], noise=None) -> [N, height, width, filters];
    `noise` is [N, height, width] or [height, width]; None adds none.

    Example: `AdaINLayer(512, 8, 8, w_dim=512, up=2)(x, w, noise)`.

    Source: Karras et al. 2018, equation 1; paper figure 2 (b).
    """

    def __init__(
        self,
        filters: int,
        height: int,
        width: int,
        w_dim: int,
        convolve: bool = True,
        up: int = 1,
        clamp: float | None = None,
        blur_filter: Sequence[float] = (1, 2, 1),
        turned: bool = False,
        use_noise: bool = True,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.filters, self.height, self.width = filters, height, width
        self.w_dim, self.up, self.clamp = w_dim, up, clamp
        policy = self.dtype_policy
        self.conv: EqualizedConv2D | None = None
        if convolve:
            # The gain of leaky ReLU stands in the weights, so noise and bias do not get it.
            self.conv = EqualizedConv2D(
                filters,
                3,
                use_bias=False,
                up=up,
                gain=math.sqrt(2),
                resample_filter=blur_filter,
                resampling="nearest",
                turned=turned,
                name="conv",
                dtype=policy,
            )
        self.noise: ChannelNoise | None = None
        if use_noise:
            self.noise = ChannelNoise(height, width, name="noise", dtype=policy)
        self.affine = EqualizedDense(
            2 * filters, name="affine", dtype=at_least_float32(self.compute_dtype)
        )

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for inputs of this shape."""
        if self.conv is not None:
            self.conv.build(input_shape)
        if self.noise is not None:
            self.noise.build((None, self.height, self.width, self.filters))
        self.affine.build((None, self.w_dim))
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.built = True

    def call(self, x: tf.Tensor, w: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the normalised and styled feature maps."""
        if self.conv is not None:
            x = self.conv(x)  # [N, height, width, filters]
        if noise is not None and self.noise is not None:
            x = self.noise(x, noise)
        x = bias_act(x, tf.cast(self.bias, x.dtype), "lrelu", gain=1.0, clamp=self.clamp)
        style = self.affine(w)[:, None, None, :]  # [N, 1, 1, 2 * filters]
        scale, shift = tf.split(style, 2, axis=3)
        x = instance_norm(tf.cast(x, style.dtype)) * (scale + 1) + shift
        return tf.cast(x, self.compute_dtype)


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class AdaINBlock(keras.layers.Layer):
    """The layers of one resolution in StyleGAN.

    `conv0` doubles the size, or styles the learned constant `const` in the first block. `conv1`
    keeps the size, and `to_rgb` turns the result into an image without a style.

    Args:
        config: the generator's configuration.
        index: position of the block, 0 for the base resolution.

    Call: (x, image, ws, noises, fade=0.0) -> (x, image), as a `SynthesisBlock`.

    Source: Karras et al. 2018, figure 1 (b).
    """

    def __init__(self, config: GeneratorConfig, index: int, **kwargs):
        super().__init__(autocast=False, **kwargs)
        level = config.levels[index]
        self.level, self.config, self.index = level, config, index
        self.const: Any = None
        self.skip = None
        size = (level.channels, level.height, level.width, config.w_dim)
        clamp, noisy = config.conv_clamp, config.use_noise
        self.conv0 = AdaINLayer(
            *size,
            convolve=index > 0,
            up=2 if index else 1,
            clamp=clamp,
            blur_filter=config.resample_filter,
            turned=turns_kernel(config, level.square),
            use_noise=noisy,
            name="conv0" if index else "epilogue",
        )
        self.conv1 = AdaINLayer(*size, clamp=clamp, use_noise=noisy, name="conv1")
        self.to_rgb: EqualizedConv2D | None = None
        if config.growing or index == len(config.levels) - 1:
            self.to_rgb = EqualizedConv2D(config.image_channels, 1, clamp=clamp, name="to_rgb")

    # A method: Keras 2.15 names saved weights by the last attribute that holds them.
    def main_layers(self) -> list[AdaINLayer]:
        """The layers between the block's input and its output, in order of use."""
        return self.convolutions

    @property
    def convolutions(self) -> list[AdaINLayer]:
        """The layers that take a w and a noise image, in order of use."""
        return [self.conv0, self.conv1]

    def build(self, input_shape: object = None) -> None:
        """Creates the weights; their shapes follow from the configuration."""
        level, before = self.level, self.config.levels[max(self.index - 1, 0)]
        inside = (None, level.height, level.width, level.channels)
        if not self.index:
            self.const = self.add_weight(name="const", shape=inside[1:], initializer="ones")
        self.conv0.build((None, before.height, before.width, before.channels))
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
        if not self.index:
            const = tf.cast(self.const, self.compute_dtype)
            x = tf.repeat(const[None], tf.shape(ws[0])[0], axis=0)  # [N, h, w, C]
        x = self.conv0(x, ws[0], noises[0])  # [N, H, W, C]
        x = self.conv1(x, ws[1], noises[1])
        if self.to_rgb is None:
            return x, image
        shown = tf.cast(self.to_rgb(x), ws[0].dtype)  # [N, H, W, image_channels]
        return x, faded_image(shown, image, fade)

"""The layers of the synthesis network: convolutions that a style modulates, and their noise.

Weights are raw and activations NHWC, as in `tf_sg2.networks.equalized`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf
from tensorflow import keras

from tf_sg2.networks import KERAS_PACKAGE
from tf_sg2.networks.equalized import EqualizedDense, channels_of
from tf_sg2.networks.precision import at_least_float32
from tf_sg2.networks.resampling import resampled_conv2d
from tf_sg2.ops import ACTIVATIONS, bias_act

DEMODULATION_EPSILON = 1e-8


def style_of(channels: int, dtype: str) -> EqualizedDense:
    """Returns the layer A of paper figure 2, which maps w to a style of `channels` factors.

    Args:
        channels: width of the style.
        dtype: compute dtype of the convolution that the style modulates.
    """
    return EqualizedDense(channels, bias_initial=1.0, name="affine", dtype=at_least_float32(dtype))


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class ModulatedConv2D(keras.layers.Layer):
    """A convolution whose input channels are scaled by a style and whose output is normalised.

    The style s scales the activations instead of the weights: x * s, one convolution for the whole
    batch, then * d with d = 1 / sqrt(sum over inputs and taps of (weight * s)^2 + 1e-8). This is
    exact and needs no grouped convolution.

    Args:
        filters: channels of the output.
        kernel_size: 1 or 3.
        up: 1, or 2 to double the size.
        demodulate: whether the output is scaled by d.
        resample_filter: taps of the separable filter of `up`.

    Call: (x float [N, H, W, C], style float [N, C], gain=1.0) -> [N, H * up, W * up, filters];
    `gain` is a factor on the output. `convolve` leaves the last factor to the caller.

    Example: `ModulatedConv2D(512, 3, up=2)(x, style)`.

    Source: paper section 2.2, equations 1 to 3.
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        up: int = 1,
        demodulate: bool = True,
        resample_filter: Sequence[float] = (1, 3, 3, 1),
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.filters, self.kernel_size, self.up = filters, kernel_size, up
        self.demodulate, self.resample_filter = demodulate, tuple(resample_filter)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for inputs of this shape."""
        k = self.kernel_size
        self.weight = self.add_weight(
            name="weight",
            shape=(k, k, channels_of(input_shape, self), self.filters),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )
        self.built = True

    def convolve(
        self, x: tf.Tensor, style: tf.Tensor, gain: float = 1.0
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns the convolution, and the factors [N, filters] that the caller must scale it by.

        The factors are None without demodulation. The arguments are those of a call.
        """
        weight = tf.convert_to_tensor(self.weight)
        style = tf.cast(style, at_least_float32(self.compute_dtype))
        if not self.demodulate:
            style = style * gain
        x = tf.cast(x, self.compute_dtype)
        x = bias_act(x, scale=tf.cast(style, x.dtype))
        x = resampled_conv2d(
            x, tf.cast(weight, x.dtype), self.up, 1, self.resample_filter
        )  # [N, H * up, W * up, filters]
        if not self.demodulate:
            return x, None
        energy = tf.reduce_sum(tf.square(tf.cast(weight, style.dtype)), axis=[0, 1])  # [C, filters]
        d = tf.math.rsqrt(
            tf.matmul(tf.square(style), energy) + DEMODULATION_EPSILON
        )  # [N, filters]
        return x, tf.cast(d * gain, x.dtype)

    def call(self, x: tf.Tensor, style: tf.Tensor, gain: float = 1.0) -> tf.Tensor:
        """Returns the modulated convolution of `x`."""
        x, d = self.convolve(x, style, gain)
        return x if d is None else bias_act(x, scale=d)


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class NoiseInjection(keras.layers.Layer):
    """Adds one noise image to all channels, scaled by a learned strength.

    The layer also holds the constant noise image of `noise_mode="const"`, which is not trained.

    Args:
        height, width: size of the activations in pixels.

    Call: (x float [N, H, W, C], noise float [N, H, W] or [H, W], gain=1.0) -> shape of x.

    Example: `NoiseInjection(64, 64)(x, tf.random.normal([8, 64, 64]))`.

    Source: paper figure 2 (blocks B), appendix B: one scalar strength per layer.
    """

    def __init__(self, height: int, width: int, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the strength and the constant noise image."""
        self.const = self.add_weight(
            name="const",
            shape=(self.height, self.width),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            trainable=False,
        )
        self.strength = self.add_weight(name="strength", shape=(), initializer="zeros")
        self.built = True

    def scaled(self, noise: tf.Tensor, gain: float = 1.0) -> tf.Tensor:
        """Returns the summand of every channel: [N, H, W] or [1, H, W]."""
        noise = tf.cast(noise, self.compute_dtype)  # Keras 2.15 casts only the first argument.
        noise = noise * (tf.cast(self.strength, self.compute_dtype) * gain)
        return noise[None] if noise.shape.rank == 2 else noise

    def call(self, x: tf.Tensor, noise: tf.Tensor, gain: float = 1.0) -> tf.Tensor:
        """Returns `x` with the scaled noise added."""
        return bias_act(x, noise=self.scaled(noise, gain))


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class StyledConv2D(keras.layers.Layer):
    """One layer of the synthesis network: modulated convolution, noise, bias, leaky ReLU.

    Args:
        filters: channels of the output.
        height, width: size of the output in pixels.
        w_dim: width of w.
        up: 1, or 2 where the input is half that size.
        gain: factor on the output besides the activation's √2: √½ in residual blocks.
        clamp: largest absolute value of the output before `gain`; None for no clamp.
        resample_filter: taps of the separable filter of `up`.
        use_noise: whether the layer has a noise image and its strength.

    Call: (x float [N, h, w, C], w float [N, w_dim], noise=None) -> [N, height, width, filters];
    `noise` is [N, height, width] or [height, width]; None adds none.

    Example: `StyledConv2D(512, 8, 8, w_dim=512, up=2)(x, w, noise)`.

    Source: paper figure 2 (d).
    """

    def __init__(
        self,
        filters: int,
        height: int,
        width: int,
        w_dim: int,
        up: int = 1,
        gain: float = 1.0,
        clamp: float | None = None,
        resample_filter: Sequence[float] = (1, 3, 3, 1),
        use_noise: bool = True,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.filters, self.height, self.width = filters, height, width
        self.w_dim, self.up = w_dim, up
        self.output_gain = gain * ACTIVATIONS["lrelu"].default_gain
        self.clamp = None if clamp is None else clamp * gain
        self.conv = ModulatedConv2D(
            filters, 3, up, resample_filter=resample_filter, name="conv", dtype=self.dtype_policy
        )
        self.noise: NoiseInjection | None = None
        if use_noise:
            self.noise = NoiseInjection(height, width, name="noise", dtype=self.dtype_policy)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for inputs of this shape."""
        self.affine = style_of(channels_of(input_shape, self), self.compute_dtype)
        self.affine.build((None, self.w_dim))
        self.conv.build(input_shape)
        if self.noise is not None:
            self.noise.build((None, self.height, self.width, self.filters))
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.built = True

    def call(self, x: tf.Tensor, w: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        """Returns the activated feature maps."""
        # Leaky ReLU commutes with a positive gain, so the gain joins the smaller factors.
        gain = self.output_gain
        style = self.affine(w)  # [N, C]
        x, d = self.conv.convolve(x, style, gain=gain)  # [N, height, width, filters]
        if noise is not None and self.noise is not None:
            noise = self.noise.scaled(noise, gain=gain)
        bias = tf.cast(self.bias, x.dtype) * gain
        return bias_act(x, bias, "lrelu", gain=1.0, clamp=self.clamp, scale=d, noise=noise)


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class ToRGB(keras.layers.Layer):
    """Turns activations into an image: a modulated 1x1 convolution without demodulation.

    Args:
        channels: channels of the image.
        w_dim: width of w.
        clamp: largest absolute value of the output; None for no clamp.

    Call: (x float [N, H, W, C], w float [N, w_dim]) -> [N, H, W, channels].

    Example: `ToRGB(3, w_dim=512)(x, w)`.

    Source: paper figure 7 (tRGB), appendix B.
    """

    def __init__(self, channels: int, w_dim: int, clamp: float | None = None, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.channels, self.w_dim, self.clamp = channels, w_dim, clamp
        self.conv = ModulatedConv2D(
            channels, 1, demodulate=False, name="conv", dtype=self.dtype_policy
        )

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for inputs of this shape."""
        channels = channels_of(input_shape, self)
        self.weight_gain = 1 / math.sqrt(channels)
        self.affine = style_of(channels, self.compute_dtype)
        self.affine.build((None, self.w_dim))
        self.conv.build(input_shape)
        self.bias = self.add_weight(name="bias", shape=(self.channels,), initializer="zeros")
        self.built = True

    def call(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        """Returns the image that the activations show."""
        style = self.affine(w)  # [N, C]
        x = self.conv(x, style, gain=self.weight_gain)  # [N, H, W, channels]
        return bias_act(x, tf.cast(self.bias, x.dtype), clamp=self.clamp)

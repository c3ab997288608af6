"""The layers of both networks, with the equalised learning rate at run time.

Weights are stored raw, drawn from N(0, 1), and scaled when they are used (Karras et al. 2017,
section 4.1), so official checkpoints load by copy and reshape. Images and activations are NHWC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf
from tensorflow import keras

from tf_sg2.errors import InputError
from tf_sg2.networks.resampling import resampled_conv2d
from tf_sg2.ops import ACTIVATIONS, bias_act

DEMODULATION_EPSILON = 1e-8
package = "tf_sg2"


def _gain_of(activation: str) -> float:
    if activation not in ACTIVATIONS:
        raise InputError(
            f"there is no activation {activation!r}; take one of {', '.join(ACTIVATIONS)}"
        )
    return ACTIVATIONS[activation].default_gain


def _commutes(activation: str) -> bool:
    """Whether act(g * x) = g * act(x) for g > 0: the gain then costs no pass over memory."""
    return activation in ("linear", "relu", "lrelu")


def at_least_float32(dtype: str) -> str:
    """Returns the dtype of w, styles, demodulation and image sums where layers compute in `dtype`.

    An error in these reaches whole feature maps, and they take little time. So they stay in
    float32 where the layers compute in 16 bits. Layers that hold both switch `autocast` off.
    """
    return "float32" if tf.as_dtype(dtype).size < tf.float32.size else dtype


def normalize_second_moment(x: tf.Tensor) -> tf.Tensor:
    """Scales each row of `x`, [N, C], to a mean square of 1."""
    return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=1, keepdims=True) + 1e-8)


@keras.utils.register_keras_serializable(package)
class EqualizedDense(keras.layers.Layer):
    """A fully connected layer with equalised learning rate, bias and activation.

    Args:
        units: width of the output.
        activation: a key of `tf_sg2.ops.ACTIVATIONS`; its default gain applies.
        lr_multiplier: factor on the effective learning rate; 0.01 in the mapping network.
        bias_initial: value that the effective bias starts from.

    Call: x float [N, C] -> [N, units].

    Example: `EqualizedDense(512, activation="lrelu", lr_multiplier=0.01)(z)`.

    Source: Karras et al. 2017, section 4.1; Karras et al. 2018, appendix C.
    """

    def __init__(
        self,
        units: int,
        activation: str = "linear",
        lr_multiplier: float = 1.0,
        bias_initial: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units, self.activation = units, activation
        self.lr_multiplier, self.bias_initial = lr_multiplier, bias_initial
        _gain_of(activation)

    def build(self, input_shape: Sequence[int | None]) -> None:
        fan_in = input_shape[-1]
        self.weight_gain = self.lr_multiplier / math.sqrt(fan_in)
        self.weight = self.add_weight(
            name="weight",
            shape=(fan_in, self.units),
            initializer=keras.initializers.RandomNormal(stddev=1 / self.lr_multiplier),
        )
        self.bias = self.add_weight(
            name="bias",
            shape=(self.units,),
            initializer=keras.initializers.Constant(self.bias_initial / self.lr_multiplier),
        )
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        x = tf.matmul(x, self.weight * self.weight_gain)
        return bias_act(x, self.bias * self.lr_multiplier, self.activation)


@keras.utils.register_keras_serializable(package)
class EqualizedConv2D(keras.layers.Layer):
    """A convolution with equalised learning rate, optional resampling, bias and activation.

    Args:
        filters: channels of the output.
        kernel_size: 1 or 3.
        activation: a key of `tf_sg2.ops.ACTIVATIONS`.
        use_bias: whether a bias is added.
        up: 1, or 2 to double the size.
        down: 1, or 2 to halve the size.
        gain: factor on the output, beside the activation's own: √½ in residual blocks.
        clamp: largest absolute value of the output before `gain`; None for no clamp.
        resample_filter: taps of the separable filter of `up` and `down`.

    Call: x float [N, H, W, C] -> [N, H * up / down, W * up / down, filters].

    Example: `EqualizedConv2D(256, 3, activation="lrelu", down=2)(x)`.

    Source: paper figure 7; Karras et al. 2018, section 2 (filtered resampling).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int,
        activation: str = "linear",
        use_bias: bool = True,
        up: int = 1,
        down: int = 1,
        gain: float = 1.0,
        clamp: float | None = None,
        resample_filter: Sequence[float] = (1, 3, 3, 1),
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.kernel_size = filters, kernel_size
        self.activation, self.use_bias = activation, use_bias
        self.up, self.down = up, down
        self.output_gain = gain * _gain_of(activation)
        self.clamp = None if clamp is None else clamp * gain
        self.resample_filter = tuple(resample_filter)

    def build(self, input_shape: Sequence[int | None]) -> None:
        k, channels = self.kernel_size, input_shape[-1]
        self.weight_gain = 1 / math.sqrt(k * k * channels)
        self.weight = self.add_weight(
            name="weight",
            shape=(k, k, channels, self.filters),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )
        self.bias = (
            self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
            if self.use_bias
            else None
        )
        self.built = True

    def call(self, x: tf.Tensor) -> tf.Tensor:
        early = self.output_gain if _commutes(self.activation) else 1.0
        weight = self.weight * (self.weight_gain * early)
        x = resampled_conv2d(x, weight, self.up, self.down, self.resample_filter)
        return bias_act(
            x,
            None if self.bias is None else self.bias * early,
            self.activation,
            gain=self.output_gain / early,
            clamp=self.clamp,
        )


@keras.utils.register_keras_serializable(package)
class ModulatedConv2D(keras.layers.Layer):
    """A convolution whose input channels are scaled by a style, and its output normalised.

    The style scales the activations rather than the weights: x * s, one convolution shared by the
    batch, * d with d = 1 / sqrt(sum over inputs and taps of (weight * s)^2 + 1e-8). That is exact,
    and needs no convolution in groups.

    Args:
        filters: channels of the output.
        kernel_size: 1 or 3.
        up: 1, or 2 to double the size.
        demodulate: whether the output is scaled by d.
        resample_filter: taps of the separable filter of `up`.

    Call: (x float [N, H, W, C], style float [N, C], gain=1.0) -> [N, H * up, W * up, filters];
    `gain` is a factor on the output. `convolve` leaves the last factor to what follows.

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
        k = self.kernel_size
        self.weight = self.add_weight(
            name="weight",
            shape=(k, k, input_shape[-1], self.filters),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )
        self.built = True

    def convolve(
        self, x: tf.Tensor, style: tf.Tensor, gain: float = 1.0
    ) -> tuple[tf.Tensor, tf.Tensor | None]:
        """Returns the convolution, and the factors [N, filters] it is still to be scaled by.

        The factors are None without demodulation. Arguments are the call's.
        """
        weight = tf.convert_to_tensor(self.weight)
        style = tf.cast(style, at_least_float32(self.compute_dtype))
        if not self.demodulate:
            style = style * gain
        x = tf.cast(x, self.compute_dtype)
        x = bias_act(x, scale=tf.cast(style, x.dtype))
        x = resampled_conv2d(x, tf.cast(weight, x.dtype), self.up, 1, self.resample_filter)
        if not self.demodulate:
            return x, None
        energy = tf.reduce_sum(tf.square(tf.cast(weight, style.dtype)), axis=[0, 1])  # [C, filters]
        d = tf.math.rsqrt(tf.matmul(tf.square(style), energy) + DEMODULATION_EPSILON)
        return x, tf.cast(d * gain, x.dtype)

    def call(self, x: tf.Tensor, style: tf.Tensor, gain: float = 1.0) -> tf.Tensor:
        x, d = self.convolve(x, style, gain)
        return x if d is None else bias_act(x, scale=d)


@keras.utils.register_keras_serializable(package)
class NoiseInjection(keras.layers.Layer):
    """Adds one noise image to all channels, scaled by a learned strength.

    Holds the constant noise image that `noise_mode="const"` uses (weight `const`, not trained).

    Args:
        height, width: size of the activations in pixels.

    Call: (x float [N, H, W, C], noise float [N, H, W] or [H, W], gain=1.0) -> shape of x.

    Example: `NoiseInjection(64, 64)(x, tf.random.normal([8, 64, 64]))`.

    Source: paper figure 2 (blocks B), appendix B: one scalar strength a layer.
    """

    def __init__(self, height: int, width: int, **kwargs):
        super().__init__(**kwargs)
        self.height, self.width = height, width

    def build(self, input_shape: Sequence[int | None]) -> None:
        self.const = self.add_weight(
            name="const",
            shape=(self.height, self.width),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            trainable=False,
        )
        self.strength = self.add_weight(name="strength", shape=(), initializer="zeros")
        self.built = True

    def scaled(self, noise: tf.Tensor, gain: float = 1.0) -> tf.Tensor:
        """Returns what is added to every channel: [N, H, W] or [1, H, W]."""
        noise = tf.cast(noise, self.compute_dtype)  # Keras 2.15 casts the first argument alone.
        noise = noise * (tf.cast(self.strength, self.compute_dtype) * gain)
        return noise[None] if noise.shape.rank == 2 else noise

    def call(self, x: tf.Tensor, noise: tf.Tensor, gain: float = 1.0) -> tf.Tensor:
        return bias_act(x, noise=self.scaled(noise, gain))


@keras.utils.register_keras_serializable(package)
class StyledConv2D(keras.layers.Layer):
    """One layer of the synthesis network: modulated convolution, noise, bias, leaky ReLU.

    Args:
        filters: channels of the output.
        height, width: size of the output in pixels.
        w_dim: width of w.
        up: 1, or 2 where the input is half that size.
        gain: factor on the output, beside the activation's √2: √½ in residual blocks.
        clamp: largest absolute value of the output before `gain`; None for no clamp.
        resample_filter: taps of the separable filter of `up`.

    Call: (x float [N, h, w, C], w float [N, w_dim], noise=None) -> [N, height, width, filters];
    `noise` is [N, height, width] or [height, width], None adds none.

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
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.filters, self.height, self.width = filters, height, width
        self.w_dim, self.up = w_dim, up
        self.output_gain = gain * _gain_of("lrelu")
        self.clamp = None if clamp is None else clamp * gain
        self.conv = ModulatedConv2D(
            filters, 3, up, resample_filter=resample_filter, name="conv", dtype=self.dtype_policy
        )
        self.noise = NoiseInjection(height, width, name="noise", dtype=self.dtype_policy)

    def build(self, input_shape: Sequence[int | None]) -> None:
        dtype = at_least_float32(self.compute_dtype)
        self.affine = EqualizedDense(input_shape[-1], bias_initial=1.0, name="affine", dtype=dtype)
        self.affine.build((None, self.w_dim))
        self.conv.build(input_shape)
        self.noise.build((None, self.height, self.width, self.filters))
        self.bias = self.add_weight(name="bias", shape=(self.filters,), initializer="zeros")
        self.built = True

    def call(self, x: tf.Tensor, w: tf.Tensor, noise: tf.Tensor | None = None) -> tf.Tensor:
        # Leaky ReLU commutes with a positive gain, which thus joins factors that are small.
        gain = self.output_gain
        x, d = self.conv.convolve(x, self.affine(w), gain=gain)
        if noise is not None:
            noise = self.noise.scaled(noise, gain=gain)
        bias = tf.cast(self.bias, x.dtype) * gain
        return bias_act(x, bias, "lrelu", gain=1.0, clamp=self.clamp, scale=d, noise=noise)


@keras.utils.register_keras_serializable(package)
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
        self.weight_gain = 1 / math.sqrt(input_shape[-1])
        dtype = at_least_float32(self.compute_dtype)
        self.affine = EqualizedDense(input_shape[-1], bias_initial=1.0, name="affine", dtype=dtype)
        self.affine.build((None, self.w_dim))
        self.conv.build(input_shape)
        self.bias = self.add_weight(name="bias", shape=(self.channels,), initializer="zeros")
        self.built = True

    def call(self, x: tf.Tensor, w: tf.Tensor) -> tf.Tensor:
        x = self.conv(x, self.affine(w), gain=self.weight_gain)
        return bias_act(x, tf.cast(self.bias, x.dtype), clamp=self.clamp)


@keras.utils.register_keras_serializable(package)
class MinibatchStddev(keras.layers.Layer):
    """Appends one channel that tells how much the samples of a group differ.

    Sample n belongs to group n modulo (N / group size), so that samples dealt to replicas by
    stride form the groups that one device would form.

    Args:
        group: samples a group; a smaller batch is one group.

    Call: x float [N, H, W, C] -> [N, H, W, C + 1]; N must be a multiple of the group's size.

    Example: `MinibatchStddev(4)(x)`.

    Source: Karras et al. 2017, section 3; in groups as in the official implementation.
    """

    def __init__(self, group: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.group = group

    def call(self, x: tf.Tensor) -> tf.Tensor:
        n, height, width, channels = (
            tf.shape(x)[i] if size is None else size for i, size in enumerate(x.shape)
        )
        if isinstance(n, int):
            size = max(min(self.group, n), 1)
            if n % size:
                raise InputError(
                    f"a batch of {n} does not divide into minibatch-stddev groups of {size}; "
                    "change the batch size or discriminator.minibatch_stddev_group"
                )
            checks = []
        else:
            size = tf.maximum(tf.minimum(self.group, n), 1)
            checks = [
                tf.debugging.assert_equal(
                    n % size, 0, "the batch does not divide into minibatch-stddev groups"
                )
            ]
        with tf.control_dependencies(checks):
            grouped = tf.reshape(x, [size, -1, height, width, channels])  # [G, M, H, W, C]
        centered = grouped - tf.reduce_mean(grouped, axis=0, keepdims=True)
        stddev = tf.sqrt(tf.reduce_mean(tf.square(centered), axis=0) + 1e-8)  # [M, H, W, C]
        statistic = tf.reduce_mean(stddev, axis=[1, 2, 3], keepdims=True)  # [M, 1, 1, 1]
        statistic = tf.tile(statistic, [size, height, width, 1])  # [N, H, W, 1]
        return tf.concat([x, statistic], axis=3)

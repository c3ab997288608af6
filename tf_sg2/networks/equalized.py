"""Dense and convolution layers with the equalised learning rate, applied at run time.

Weights are stored raw, drawn from N(0, 1), and scaled when they are used (Karras et al. 2017,
section 4.1). So official checkpoints load by copy and reshape. Activations are NHWC.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import tensorflow as tf
from tensorflow import keras

from tf_sg2.errors import InputError
from tf_sg2.networks import KERAS_PACKAGE
from tf_sg2.networks.resampling import nearest_conv2d, resampled_conv2d
from tf_sg2.ops import bias_act
from tf_sg2.ops.activations import activation_named


def channels_of(input_shape: Sequence[int | None], layer: keras.layers.Layer) -> int:
    """Returns the last dimension of a layer's input.

    Raises:
        InputError: if it is unknown.
    """
    channels = input_shape[-1]
    if channels is None:
        raise InputError(
            f"layer {layer.name}: the input has shape {tuple(input_shape)}, but its last "
            "dimension, the channels, must be known; set it with tf.ensure_shape"
        )
    return channels


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class EqualizedDense(keras.layers.Layer):
    """A fully connected layer with equalised learning rate, bias and activation.

    Args:
        units: width of the output.
        activation: a key of `tf_sg2.ops.ACTIVATIONS`; its default gain applies.
        lr_multiplier: factor on the effective learning rate; 0.01 in the mapping network.
        bias_initial: initial value of the effective bias.
        activation_gain: "output" scales the activation; "weight" scales only the weights by the
            activation's default gain, and so not the bias.

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
        activation_gain: str = "output",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.units, self.activation = units, activation
        self.activation_gain = activation_gain
        self.lr_multiplier, self.bias_initial = lr_multiplier, bias_initial
        gain = activation_named(activation, "EqualizedDense").default_gain
        self.gain_in_weight = gain if activation_gain == "weight" else 1.0
        self.output_gain = gain / self.gain_in_weight

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for inputs of this shape."""
        fan_in = channels_of(input_shape, self)
        self.weight_gain = self.gain_in_weight * self.lr_multiplier / math.sqrt(fan_in)
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
        """Returns the activated outputs."""
        x = tf.matmul(x, self.weight * self.weight_gain)  # [N, units]
        bias = self.bias * self.lr_multiplier
        return bias_act(x, bias, self.activation, gain=self.output_gain)


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class EqualizedConv2D(keras.layers.Layer):
    """A convolution with equalised learning rate, optional resampling, bias and activation.

    Args:
        filters: channels of the output.
        kernel_size: 1 or 3.
        activation: a key of `tf_sg2.ops.ACTIVATIONS`.
        use_bias: whether a bias is added.
        up: 1, or 2 to double the size.
        down: 1, or 2 to halve the size.
        gain: factor on the output besides the activation's own: √½ in residual blocks.
        clamp: largest absolute value of the output before `gain`; None for no clamp.
        resample_filter: taps of the separable filter of `up` and `down`.
        resampling: "filter", or "nearest" for repeated pixels and means with a blur.
        activation_gain: "output" scales the activation; "weight" scales only the weights by the
            activation's default gain, and so not the bias.
        turned: whether the kernel of `up` with "nearest" is turned by 180 degrees.

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
        resampling: str = "filter",
        activation_gain: str = "output",
        turned: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.filters, self.kernel_size = filters, kernel_size
        self.activation, self.use_bias = activation, use_bias
        self.up, self.down = up, down
        known = activation_named(activation, "EqualizedConv2D")
        gain_in_weight = known.default_gain if activation_gain == "weight" else 1.0
        self.output_gain = gain * known.default_gain / gain_in_weight
        # The part of the gain that joins the weights, and so costs no pass over memory.
        self.bias_share = self.output_gain if known.commutes_with_gain else 1.0
        self.weight_share = self.bias_share * gain_in_weight
        self.resampling, self.activation_gain, self.turned = resampling, activation_gain, turned
        self.clamp = None if clamp is None else clamp * gain
        self.resample_filter = tuple(resample_filter)

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weights for inputs of this shape."""
        k, channels = self.kernel_size, channels_of(input_shape, self)
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
        """Returns the activated feature maps."""
        share, taps = self.bias_share, self.resample_filter
        weight = self.weight * (self.weight_gain * self.weight_share)
        bias = None if self.bias is None else self.bias * share
        if self.resampling == "nearest":
            x = nearest_conv2d(x, weight, self.up, self.down, taps, self.turned)
        else:
            x = resampled_conv2d(x, weight, self.up, self.down, taps)
        # [N, H * up / down, W * up / down, filters]
        return bias_act(x, bias, self.activation, gain=self.output_gain / share, clamp=self.clamp)

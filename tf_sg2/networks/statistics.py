"""Normalisation of latents, and the statistic of a batch that the discriminator sees."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

from tf_sg2.errors import InputError
from tf_sg2.networks import KERAS_PACKAGE


def normalize_second_moment(x: tf.Tensor) -> tf.Tensor:
    """Scales each row of `x`, [N, C], to a mean square of 1."""
    return x * tf.math.rsqrt(tf.reduce_mean(tf.square(x), axis=1, keepdims=True) + 1e-8)


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class MinibatchStddev(keras.layers.Layer):
    """Appends one channel with the mean standard deviation of the samples in a group.

    Sample n belongs to group n modulo (N / group size). Replicas receive samples by stride, so
    their groups are those of one device.

    Args:
        group: samples per group; a smaller batch is one group.

    Call: x float [N, H, W, C] -> [N, H, W, C + 1]; N must be a multiple of the group size.

    Raises:
        InputError: if the known N is no multiple of the group size.

    Example: `MinibatchStddev(4)(x)`.

    Source: Karras et al. 2017, section 3; in groups as in the official implementation.
    """

    def __init__(self, group: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.group = group

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Returns `x` with the channel appended."""
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

"""The Inception network of 2015 that FID, KID and Inception Score are defined by.

It is the graph `inception-2015-12-05` of TensorFlow 1, not torchvision's Inception v3: average
pools leave the padding out, the pool branch of the last block is a max pool, there are 1008
classes, and the resize is TensorFlow 1's. Source: torch-fidelity 0.4.0 (Apache-2.0), whose names
of layers this module uses.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import tensorflow as tf
from tensorflow import keras

from tf_sg2.errors import InputError
from tf_sg2.metrics.features.assignment import assign, without_prefix

SIZE = 299
CLASSES = 1008
ANCHOR = "Conv2d_1a_3x3.conv.weight"
IGNORED = ("num_batches_tracked", "AuxLogits.")


class Inception:
    """uint8 images to features of the 2015 Inception graph.

    Args:
        weights: PyTorch names -> arrays, as in `pt_inception-2015-12-05-6726825d.pth`; a common
            prefix such as `inception.` does not matter.

    Call: images uint8 [N, H, W, 3] of any size -> float32 tensors: "64", "192" and "768" (means
    over pixels after the two max pools and after Mixed_6e), "2048" (pool3), "logits_unbiased"
    and "logits" [N, 1008].

    Example:
        features = Inception(read_weights(path, "inception").arrays)(images)["2048"]

    Raises:
        InputError: for weights of another network, or images that are not uint8 RGB.
    """

    def __init__(self, weights: Mapping[str, np.ndarray]):
        arrays = without_prefix(weights, ANCHOR)
        self.model = build()
        bias = arrays.pop("fc.bias", np.zeros(0))
        if bias.shape != (CLASSES,):
            raise InputError(
                f"fc.bias has shape {bias.shape}, expected ({CLASSES},): FID needs the graph of "
                "2015 with 1008 classes, not torchvision's Inception v3"
            )
        self.bias = tf.constant(bias, tf.float32)
        assign(self.model, arrays, IGNORED)
        spec = tf.TensorSpec([None, None, None, 3], tf.uint8)
        self._features = tf.function(self._features_of, input_signature=[spec])

    def __call__(self, images: np.ndarray | tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the named features of uint8 images [N, H, W, 3]."""
        return self._features(checked_images(images))

    def _features_of(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        features = dict(self.model(network_input(images), training=False))
        features["logits"] = features["logits_unbiased"] + self.bias
        return features


def checked_images(images: np.ndarray | tf.Tensor) -> tf.Tensor:
    """Returns images as a uint8 tensor [N, H, W, 3].

    Raises:
        InputError: if they are of another type or shape, or empty.
    """
    images = tf.convert_to_tensor(images)
    if images.dtype != tf.uint8 or images.shape.rank != 4 or images.shape[3] != 3:
        raise InputError(
            f"images are {images.dtype.name} of shape {images.shape}; they must be uint8 "
            "[N, H, W, 3] (repeat a single channel)"
        )
    if 0 in images.shape:
        raise InputError(f"images have shape {images.shape}; give at least one")
    return images


def network_input(images: tf.Tensor) -> tf.Tensor:
    """Returns uint8 images resized to 299 × 299 and scaled, float32 [N, 299, 299, 3].

    TensorFlow 1's bilinear resize: pixel i of the output is position i · in/out of the input. It
    has no half-pixel offset and no antialiasing, also where it shrinks.
    """
    resized = tf.raw_ops.ResizeBilinear(
        images=images, size=[SIZE, SIZE], align_corners=False, half_pixel_centers=False
    )
    return (resized - 128) / 128


def build() -> keras.Model:
    """Returns the network: input [N, 299, 299, 3] -> its features by name, without the bias."""
    image = keras.Input([SIZE, SIZE, 3], name="image")
    x = conv(image, "Conv2d_1a_3x3", 32, 3, strides=2, padding="valid")  # [N, 149, 149, 32]
    x = conv(x, "Conv2d_2a_3x3", 32, 3, padding="valid")  # [N, 147, 147, 32]
    x = conv(x, "Conv2d_2b_3x3", 64, 3)  # [N, 147, 147, 64]
    x = first = max_pool(x)  # [N, 73, 73, 64]
    x = conv(x, "Conv2d_3b_1x1", 80, 1)  # [N, 73, 73, 80]
    x = conv(x, "Conv2d_4a_3x3", 192, 3, padding="valid")  # [N, 71, 71, 192]
    x = second = max_pool(x)  # [N, 35, 35, 192]
    for name, pooled in (("Mixed_5b", 32), ("Mixed_5c", 64), ("Mixed_5d", 64)):
        x = block_35(x, name, pooled)  # [N, 35, 35, 256], then 288
    x = reduction_17(x, "Mixed_6a")  # [N, 17, 17, 768]
    for name, inner in (("Mixed_6b", 128), ("Mixed_6c", 160), ("Mixed_6d", 160), ("Mixed_6e", 192)):
        x = block_17(x, name, inner)  # [N, 17, 17, 768]
    third = x
    x = reduction_8(x, "Mixed_7a")  # [N, 8, 8, 1280]
    x = block_8(x, "Mixed_7b", average_pool)  # [N, 8, 8, 2048]
    x = block_8(x, "Mixed_7c", same_max_pool)  # [N, 8, 8, 2048]
    pool3 = mean(x)  # [N, 2048]
    outputs = {
        "64": mean(first),
        "192": mean(second),
        "768": mean(third),
        "2048": pool3,
        "logits_unbiased": keras.layers.Dense(CLASSES, use_bias=False, name="fc")(pool3),
    }
    return keras.Model(image, outputs, name="inception")


def conv(x, name, filters, size, strides=1, padding="same"):
    """Convolution without bias, batch norm, ReLU."""
    convolution = keras.layers.Conv2D(
        filters,
        size,
        strides,
        padding,
        use_bias=False,
        kernel_initializer="zeros",  # Drawing values that are replaced would take longest.
        name=f"{name}.conv",
    )
    x = convolution(x)
    x = keras.layers.BatchNormalization(epsilon=1e-3, name=f"{name}.bn")(x)
    return keras.layers.ReLU(name=name)(x)


def max_pool(x):
    """Halves the size."""
    return keras.layers.MaxPooling2D(3, 2)(x)


def same_max_pool(x):
    """Keeps the size."""
    return keras.layers.MaxPooling2D(3, 1, "same")(x)


def average_pool(x):
    """Keeps the size; the padding does not count."""
    return keras.layers.AveragePooling2D(3, 1, "same")(x)


def mean(x):
    """Mean over the pixels."""
    return keras.layers.GlobalAveragePooling2D()(x)


def join(name, *branches):
    """Branches one behind the other, in channels."""
    return keras.layers.Concatenate(name=name)(list(branches))


def block_35(x, name, pooled):
    """5b to 5d, at 35 × 35."""
    one = conv(x, f"{name}.branch1x1", 64, 1)
    five = conv(x, f"{name}.branch5x5_1", 48, 1)
    five = conv(five, f"{name}.branch5x5_2", 64, 5)
    double = conv(x, f"{name}.branch3x3dbl_1", 64, 1)
    double = conv(double, f"{name}.branch3x3dbl_2", 96, 3)
    double = conv(double, f"{name}.branch3x3dbl_3", 96, 3)
    pool = conv(average_pool(x), f"{name}.branch_pool", pooled, 1)
    return join(name, one, five, double, pool)


def reduction_17(x, name):
    """6a, from 35 × 35 to 17 × 17."""
    three = conv(x, f"{name}.branch3x3", 384, 3, 2, "valid")
    double = conv(x, f"{name}.branch3x3dbl_1", 64, 1)
    double = conv(double, f"{name}.branch3x3dbl_2", 96, 3)
    double = conv(double, f"{name}.branch3x3dbl_3", 96, 3, 2, "valid")
    return join(name, three, double, max_pool(x))


def block_17(x, name, inner):
    """6b to 6e, at 17 × 17: 7 × 7 convolutions as rows and columns."""
    row, column = (1, 7), (7, 1)
    one = conv(x, f"{name}.branch1x1", 192, 1)
    seven = conv(x, f"{name}.branch7x7_1", inner, 1)
    seven = conv(seven, f"{name}.branch7x7_2", inner, row)
    seven = conv(seven, f"{name}.branch7x7_3", 192, column)
    double = conv(x, f"{name}.branch7x7dbl_1", inner, 1)
    double = conv(double, f"{name}.branch7x7dbl_2", inner, column)
    double = conv(double, f"{name}.branch7x7dbl_3", inner, row)
    double = conv(double, f"{name}.branch7x7dbl_4", inner, column)
    double = conv(double, f"{name}.branch7x7dbl_5", 192, row)
    pool = conv(average_pool(x), f"{name}.branch_pool", 192, 1)
    return join(name, one, seven, double, pool)


def reduction_8(x, name):
    """7a, from 17 × 17 to 8 × 8."""
    three = conv(x, f"{name}.branch3x3_1", 192, 1)
    three = conv(three, f"{name}.branch3x3_2", 320, 3, 2, "valid")
    seven = conv(x, f"{name}.branch7x7x3_1", 192, 1)
    seven = conv(seven, f"{name}.branch7x7x3_2", 192, (1, 7))
    seven = conv(seven, f"{name}.branch7x7x3_3", 192, (7, 1))
    seven = conv(seven, f"{name}.branch7x7x3_4", 192, 3, 2, "valid")
    return join(name, three, seven, max_pool(x))


def block_8(x, name, pool):
    """7b and 7c, at 8 × 8."""
    row, column = (1, 3), (3, 1)
    one = conv(x, f"{name}.branch1x1", 320, 1)
    three = conv(x, f"{name}.branch3x3_1", 384, 1)
    wide = conv(three, f"{name}.branch3x3_2a", 384, row)
    high = conv(three, f"{name}.branch3x3_2b", 384, column)
    double = conv(x, f"{name}.branch3x3dbl_1", 448, 1)
    double = conv(double, f"{name}.branch3x3dbl_2", 384, 3)
    double_wide = conv(double, f"{name}.branch3x3dbl_3a", 384, row)
    double_high = conv(double, f"{name}.branch3x3dbl_3b", 384, column)
    pooled = conv(pool(x), f"{name}.branch_pool", 192, 1)
    return join(name, one, wide, high, double_wide, double_high, pooled)

"""LPIPS, the learned perceptual distance (Zhang et al. 2018, arXiv 1801.03924), version 0.1.

The heads ship with the package (BSD-2-Clause, see `lpips_license.txt`); the trunks are
torchvision's VGG16 and AlexNet, whose weights people have.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras

from tf_sg2.errors import InputError
from tf_sg2.metrics.features.assignment import assign, without_prefix

SHIFT = (-0.030, -0.088, -0.188)
SCALE = (0.458, 0.448, 0.450)
HEADS = Path(__file__).with_name("lpips_heads.npz")
ANCHOR = "features.0.weight"
IGNORED = ("classifier.",)
TINY = 1e-10  # Keeps a pixel without any feature from dividing by zero.


class LPIPS:
    """The perceptual distance between images, differentiable.

    Args:
        trunk: "vgg16" or "alexnet".
        trunk_weights: PyTorch names -> arrays, as in torchvision's file; a common prefix does
            not matter, and the classifier is not needed.
        heads: True weighs channels as learned; False sums them (the "baseline" of the paper).

    Call: (a, b), float [-1, 1] [N, H, W, 3] -> distances float32 [N].

    Example:
        distance = LPIPS("vgg16", read_weights(path, "vgg16").arrays)
        distance(images, others)

    Raises:
        InputError: for an unknown trunk, weights of another network, or images that do not fit.
    """

    def __init__(self, trunk: str, trunk_weights: Mapping[str, np.ndarray], heads: bool = True):
        if trunk not in TRUNKS:
            raise InputError(f"there is no trunk {trunk!r}; take one of {', '.join(TRUNKS)}")
        self.model = TRUNKS[trunk]()
        assign(self.model, without_prefix(trunk_weights, ANCHOR, trunk), IGNORED)
        with np.load(HEADS) as archive:
            learned = [archive[f"{trunk}/lin{i}"] for i in range(5)]
        self.heads = [tf.constant(head if heads else np.ones_like(head)) for head in learned]

    def __call__(self, a: np.ndarray | tf.Tensor, b: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Returns the distance of each pair, [N]; images float [N, H, W, 3] in [-1, 1]."""
        return tf.reduce_sum(self.per_layer(a, b), axis=1)

    def of_pixels(self, a: np.ndarray | tf.Tensor, b: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Returns the distances of images with values from 0 to 255, as path lengths have them."""
        return self(a / 127.5 - 1, b / 127.5 - 1)

    def per_layer(self, a: np.ndarray | tf.Tensor, b: np.ndarray | tf.Tensor) -> tf.Tensor:
        """Returns each layer's share of the distance, [N, 5]."""
        a, b = _checked(a), _checked(b)
        if not a.shape.is_compatible_with(b.shape):
            raise InputError(f"images have shapes {a.shape} and {b.shape}; they must be equal")
        shares = []
        for x, y, head in zip(self.features(a), self.features(b), self.heads, strict=True):
            difference = tf.square(_normalized(x) - _normalized(y))  # [N, h, w, C]
            shares.append(tf.reduce_mean(tf.linalg.matvec(difference, head), axis=[1, 2]))
        return tf.stack(shares, axis=1)

    def features(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Returns the trunk's five feature maps of images in [-1, 1], before normalisation."""
        return self.model((images - SHIFT) / SCALE, training=False)


def _checked(images: np.ndarray | tf.Tensor) -> tf.Tensor:
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating or images.shape.rank != 4 or images.shape[3] != 3:
        raise InputError(
            f"images are {images.dtype.name} of shape {images.shape}; LPIPS takes floats from "
            "-1 to 1, [N, H, W, 3]"
        )
    return tf.cast(images, tf.float32)


def _normalized(features: tf.Tensor) -> tf.Tensor:
    """Returns features of unit length at each pixel; differentiable also where all are 0."""
    squares = tf.reduce_sum(tf.square(features), axis=-1, keepdims=True)
    positive = squares > 0
    length = tf.sqrt(tf.where(positive, squares, tf.ones_like(squares)))
    return features / (tf.where(positive, length, tf.zeros_like(length)) + TINY)


def vgg16(size: int | None = None) -> keras.Model:
    """Returns VGG16 up to its last convolution: images -> the last feature map of each block.

    Args:
        size: sides of square images; None for any.
    """
    x = image = keras.Input([size, size, 3], name="image")
    maps, index = [], 0  # The index is that of torchvision's `features`.
    for filters, count in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        if index:
            x = keras.layers.MaxPooling2D(2, 2)(x)
            index += 1
        for _ in range(count):
            x = _conv(x, index, filters, 3)
            index += 2  # The convolution and its ReLU.
        maps.append(x)
    return keras.Model(image, maps, name="vgg16")


def alexnet() -> keras.Model:
    """Returns AlexNet up to its last convolution: images -> the feature map of each."""
    image = keras.Input([None, None, 3], name="image")
    x = keras.layers.ZeroPadding2D(2)(image)
    x = first = _conv(x, 0, 64, 11, strides=4, padding="valid")
    x = keras.layers.MaxPooling2D(3, 2)(x)
    x = second = _conv(x, 3, 192, 5)
    x = keras.layers.MaxPooling2D(3, 2)(x)
    x = third = _conv(x, 6, 384, 3)
    x = fourth = _conv(x, 8, 256, 3)
    fifth = _conv(x, 10, 256, 3)
    return keras.Model(image, [first, second, third, fourth, fifth], name="alexnet")


def _conv(x, index, filters, size, strides=1, padding="same"):
    convolution = keras.layers.Conv2D(
        filters,
        size,
        strides,
        padding,
        activation="relu",
        kernel_initializer="zeros",  # Drawing values that are replaced would take longest.
        name=f"features.{index}",
    )
    return convolution(x)


TRUNKS = {"vgg16": vgg16, "alexnet": alexnet}

"""Eyes for the evaluator: a name, a recipe, and images to one row of features each.

An eye is any object with `name`, `recipe` and `eye(images uint8 [N, H, W, 3]) -> float32 [N, d]`.
`OnnxFeatures` and `PPOCR` are eyes already; this module makes eyes of Inception and VGG16.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from scipy.special import softmax
from tensorflow import keras

from tf_sg2.metrics.features import lpips
from tf_sg2.metrics.features.assignment import assign, without_prefix
from tf_sg2.metrics.features.inception import Inception, checked_images
from tf_sg2.metrics.features.onnx import IMAGENET
from tf_sg2.metrics.features.weight_files import read_weights


class Eye(Protocol):
    """What the evaluator asks of an eye."""

    name: str

    @property
    def recipe(self) -> dict[str, Any]:
        """Everything that a result's reader needs to compute the same features."""

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns float32 [N, d] for uint8 images [N, H, W, 3]."""


class InceptionEye:
    """The eye `inception`: pool3 of the 2015 graph, for which a distance is called FID.

    Args:
        path: the weight file, see `weight_files.SOURCES`.
        sha256: the hash that the file must have, in place of the published one.

    Call: images uint8 [N, H, W, 3] -> float32 [N, 2048].
    """

    name = "inception"

    def __init__(self, path: str | Path, sha256: str | None = None):
        file = read_weights(path, "inception", sha256)
        self.network = Inception(file.arrays)
        self.sha256 = file.sha256

    @property
    def recipe(self) -> dict[str, Any]:
        """The file's hash and the resize."""
        return {
            "eye": self.name,
            "sha256": self.sha256,
            "tensor": "pool3",
            "resize": "299x299 bilinear of TensorFlow 1",
        }

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns features [N, 2048] of uint8 images [N, H, W, 3]."""
        return self.network(images)["2048"].numpy()

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Returns class probabilities of features [N, 2048], without the output bias.

        The Inception Score takes these. They are a function of pool3, so cached features serve.
        """
        (kernel,) = self.network.model.get_layer("fc").get_weights()
        return softmax(features.astype(np.float64) @ kernel, axis=1).astype(np.float32)


class VGG16Eye:
    """The eye `vgg16`: the penultimate layer of torchvision's VGG16, for precision and recall.

    The official detector is a file of its own, whose resize is not documented. This one resizes
    to 224 × 224, bilinear with antialiasing, and says so in the recipe.

    Args:
        path: the weight file, see `weight_files.SOURCES`.
        sha256: the hash that the file must have, in place of the published one.

    Call: images uint8 [N, H, W, 3] -> float32 [N, 4096].
    """

    name = "vgg16"
    size = 224

    def __init__(self, path: str | Path, sha256: str | None = None):
        file = read_weights(path, "vgg16", sha256)
        self.sha256 = file.sha256
        trunk = lpips.vgg16(self.size)
        x = keras.layers.MaxPooling2D(2, 2)(trunk.outputs[-1])  # [N, 7, 7, 512]
        x = keras.layers.Permute((3, 1, 2))(x)  # PyTorch flattens channels first.
        x = keras.layers.Flatten()(x)
        for name in ("classifier.0", "classifier.3"):
            dense = keras.layers.Dense(
                4096, activation="relu", kernel_initializer="zeros", name=name
            )
            x = dense(x)
        self.model = keras.Model(trunk.inputs, x, name="vgg16_classifier")
        assign(self.model, without_prefix(file.arrays, lpips.ANCHOR), ("classifier.6.",))
        self._features = tf.function(self._features_of, reduce_retracing=True)

    @property
    def recipe(self) -> dict[str, Any]:
        """The file's hash and the resize."""
        return {
            "eye": self.name,
            "sha256": self.sha256,
            "tensor": "classifier.4",
            "resize": f"{self.size}x{self.size} bilinear, antialiased",
        }

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns features [N, 4096] of uint8 images [N, H, W, 3]."""
        return self._features(checked_images(images)).numpy()

    def _features_of(self, images: tf.Tensor) -> tf.Tensor:
        resized = tf.image.resize(images, [self.size, self.size], antialias=True)
        mean, std = IMAGENET
        return self.model((resized / 255 - mean) / std, training=False)

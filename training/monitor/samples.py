"""The sample pictures of a run: generated images of fixed latents, and real images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from tf_sg2 import images as image_values
from tf_sg2.config import Config
from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError
from tf_sg2.latent.seeds import latents, noise_seeds
from tf_sg2.networks.generator import Generator
from tf_sg2.networks.synthesis import to_rgb_outputs

# How many samples are generated at a time. So a grid needs no more memory than a step.
SAMPLE_BATCH = 16

MOST_CLASSES = 32  # A picture of more rows could not be looked at.


class SampleGrid:
    """Generates images of the same latents each time, so that pictures of a run are comparable.

    Args:
        generator: the EMA generator of the run.
        config: the run's configuration.
        labels: float32 [count, label_dim], or None for an unconditional model.
    """

    def __init__(self, generator: Generator, config: Config, labels: np.ndarray | None):
        self.generator, self.config = generator, config
        self.count = config.training.sample_rows * config.training.sample_columns
        seeds = list(range(self.count))
        self.z = latents(seeds, config.generator.z_dim)
        self.noise_seeds = noise_seeds(seeds)
        self.labels = labels
        self._generate = tf.function(self._images, reduce_retracing=True)

    def images(self, truncation_psi: float) -> np.ndarray:
        """Returns the samples, uint8 [count, H, W, C]."""
        return self._rendered(np.arange(self.count), self.labels, truncation_psi)

    def class_images(self, truncation_psi: float) -> np.ndarray:
        """Returns a row of samples per class, uint8 [classes * sample_columns, H, W, C].

        Every row shows the latents of the first row of `images`, so a column differs only in the
        class. Models with many classes show `MOST_CLASSES`, at equal distances.
        """
        label_dim, columns = self.config.generator.label_dim, self.config.training.sample_columns
        shown = np.linspace(0, label_dim - 1, min(label_dim, MOST_CLASSES)).round().astype(int)
        labels = np.eye(label_dim, dtype=np.float32)[np.repeat(shown, columns)]
        return self._rendered(np.tile(np.arange(columns), len(shown)), labels, truncation_psi)

    def _rendered(
        self, samples: np.ndarray, labels: np.ndarray | None, truncation_psi: float
    ) -> np.ndarray:
        parts = []
        for start in range(0, len(samples), SAMPLE_BATCH):
            rows = slice(start, start + SAMPLE_BATCH)
            images, _ = self._generate(
                tf.gather(self.z, samples[rows]),
                tf.gather(self.noise_seeds, samples[rows]),
                None if labels is None else tf.constant(labels[rows]),
                tf.constant(truncation_psi),
            )
            parts.append(image_values.to_uint8(images))
        return np.concatenate([np.asarray(part) for part in parts])

    def to_rgb_shares(self) -> dict[str, float]:
        """Returns each resolution's share of the output: paper section 4.2 and figure 8.

        A share is the standard deviation, over pixels and samples, of the output of the level's
        ToRGB, divided by the sum over levels. Architectures with one ToRGB have no shares.
        """
        rows = slice(0, SAMPLE_BATCH)
        labels = None if self.labels is None else tf.constant(self.labels[rows])
        _, deviations = self._generate(
            self.z[rows], self.noise_seeds[rows], labels, tf.constant(1.0)
        )
        deviations = np.asarray(deviations)
        if len(deviations) < 2:
            return {}
        squares = [level.square for level in self.config.generator.levels]
        shares = deviations / deviations.sum()
        return {
            f"to_rgb_share/{square:04d}": float(share)
            for square, share in zip(squares, shares, strict=True)
        }

    def _images(self, z, seeds, labels, psi):
        w = self.generator.mapping(z, labels, truncation_psi=psi)
        images = self.generator.synthesis.images(w, "random", seeds)
        added = to_rgb_outputs(images, self.config.generator)
        return images[-1], tf.stack([tf.math.reduce_std(image) for image in added])


def readable_images(
    source: ImageSource,
    count: int,
    on_bad_image: Callable[[int, InputError], None] | None,
    order: Iterable[int] = (),
) -> tuple[list[int], np.ndarray]:
    """Returns the first `count` images that can be read: their indices and their pixels.

    A source with fewer readable images gives them repeatedly.

    Args:
        source: the data set.
        count: how many images to return.
        on_bad_image: called for an image that cannot be read; None makes this an error.
        order: indices that come first. The others follow in the order of the source.

    Raises:
        InputError: if an image cannot be read and `on_bad_image` is None, or if none can be read.
    """
    indices: list[int] = []
    images = []
    for index in itertools.chain(map(int, order), range(len(source))):
        if len(indices) == count:
            break
        try:
            images.append(source.image(index))
        except InputError as error:
            if on_bad_image is None:
                raise
            on_bad_image(index, error)
        else:
            indices.append(index)
    if not indices:
        raise InputError(f"no image of {source.name} can be read; restore the data set")
    indices = [indices[i % len(indices)] for i in range(count)]
    return indices, np.stack([images[i % len(images)] for i in range(count)])

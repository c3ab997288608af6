"""What D says of training images, of held-out images and of fakes: the picture of overfitting.

A discriminator that knows its training images by heart scores them higher than held-out images.
So the two histograms drift apart, and the area under the ROC curve rises above one half.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tf_sg2 import images as image_values
from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError
from tf_sg2.latent.seeds import latents, noise_seeds
from tf_sg2.training.monitor.samples import SAMPLE_BATCH, readable_images
from tf_sg2.training.state import TrainState

BINS = 64

OnBadImage = Callable[[int, InputError], None] | None


class Scores(NamedTuple):
    """Scores of D, float32 [n] each; `heldout` is None if nothing is held out."""

    training: np.ndarray
    heldout: np.ndarray | None
    generated: np.ndarray

    def are_finite(self) -> bool:
        """Returns whether every score is a finite number."""
        return all(np.isfinite(some).all() for some in self if some is not None)

    def scalars(self) -> dict[str, float]:
        """Returns AUC and gap of training against held-out images; nothing without the latter."""
        if self.heldout is None:
            return {}
        gap = self.training.mean(dtype=np.float64) - self.heldout.mean(dtype=np.float64)
        auc = area_under_roc(self.training, self.heldout)
        return {"scores/auc": auc, "scores/gap": float(gap)}

    def line(self) -> dict[str, Any]:
        """Returns the histograms over common bins, as a line of `metrics/scores.jsonl` has them."""
        present = {name: some for name, some in self._asdict().items() if some is not None}
        every = np.concatenate(list(present.values())).astype(np.float64)
        edges = np.histogram_bin_edges(every, BINS)
        counts = {
            name: np.histogram(some.astype(np.float64), edges)[0].tolist()
            for name, some in present.items()
        }
        scalars = self.scalars()
        return {
            "edges": edges.tolist(),
            **{name: counts.get(name) for name in self._fields},
            "auc": scalars.get("scores/auc"),
            "gap": scalars.get("scores/gap"),
        }


class Scorer:
    """Scores the same images each time, so that the histograms of a run are comparable.

    The images are chosen at random, because a data set may be sorted. The choice is the same in
    every run, and nothing is drawn from the run's random streams. Fakes are those that D is trained
    against: of the trained generator, not of its average, without truncation and style mixing.

    Args:
        state: the state of the run.
        training: the images that the run trains on.
        heldout: images that it does not train on, or None.
        count: images of each kind; fewer if there are not so many.
        on_bad_image: see `readable_images`.
    """

    def __init__(
        self,
        state: TrainState,
        training: ImageSource,
        heldout: ImageSource | None,
        count: int,
        on_bad_image: OnBadImage = None,
    ):
        self.state, self.on_bad_image = state, on_bad_image
        sources = [training] if heldout is None else [training, heldout]
        self.sources = [(source, _choice(source, count)) for source in sources]
        self.count = count
        self._of_images = tf.function(self._score_images, reduce_retracing=True)
        self._of_latents = tf.function(self._score_latents, reduce_retracing=True)

    def scores(self) -> Scores:
        """Returns the scores of the current D.

        Raises:
            InputError: if an image cannot be read, unless `on_bad_image` takes such errors.
        """
        real = [self._of_source(*source) for source in self.sources]
        return Scores(real[0], real[1] if len(real) > 1 else None, self._of_fakes())

    def _of_source(self, source: ImageSource, indices: np.ndarray) -> np.ndarray:
        found = []
        for rows in self._batches(len(indices)):
            chosen, images = readable_images(
                source, rows.stop - rows.start, self.on_bad_image, indices[rows]
            )
            found.append(self._of_images(tf.constant(images), self._labels(source, chosen)))
        return _joined(found)

    def _of_fakes(self) -> np.ndarray:
        """Scores fakes with the labels of the chosen training images."""
        source, indices = self.sources[0]
        z_dim = self.state.generator.config.z_dim
        found = []
        for rows in self._batches(self.count):
            seeds = range(rows.start, rows.stop)
            chosen = [int(indices[seed % len(indices)]) for seed in seeds]
            labels = self._labels(source, chosen)
            found.append(self._of_latents(latents(seeds, z_dim), noise_seeds(seeds), labels))
        return _joined(found)

    def _labels(self, source: ImageSource, indices: list[int]) -> tf.Tensor | None:
        if not self.state.discriminator.config.label_dim:
            return None
        return tf.constant(np.stack([source.label(index) for index in indices]))

    def _batches(self, count: int) -> Iterator[slice]:
        """Yields rows in batches of whole minibatch-stddev groups; a rest below a group is left."""
        group = max(self.state.discriminator.config.minibatch_stddev_group, 1)
        batch = max(SAMPLE_BATCH // group, 1) * group
        whole = count // group * group or count
        for start in range(0, whole, batch):
            yield slice(start, min(start + batch, whole))

    def _score_images(self, images, labels):
        return self.state.discriminator(image_values.from_uint8(images), labels)[:, 0]

    def _score_latents(self, z, seeds, labels):
        w = self.state.generator.mapping(z, labels)
        images = self.state.generator.synthesis(w, noise_mode="random", noise_seeds=seeds)
        return self.state.discriminator(images, labels)[:, 0]


def area_under_roc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Returns the probability that a positive score is above a negative one; ties count half.

    Args:
        positive: scores [n].
        negative: scores [m].

    Source: Mann and Whitney 1947; the area under the ROC curve is U / (n m).
    """
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, "left").astype(np.float64)
    not_above = np.searchsorted(ordered, positive, "right").astype(np.float64)
    return float((below + not_above).mean() / 2 / len(negative))


def _choice(source: ImageSource, count: int) -> np.ndarray:
    total = len(source)
    return np.random.default_rng(0).choice(total, min(count, total), replace=False)


def _joined(parts: list[tf.Tensor]) -> np.ndarray:
    return np.concatenate([np.asarray(part) for part in parts])

"""Metrics of the averaged generator during training: those of `tf-sg2 evaluate`, on a live run.

Only the chief measures. Nothing is drawn from the run's random streams, so a run with metrics
trains as one without. Features of real images stay in memory, and end with the process.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_sg2.config import Config
from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError
from tf_sg2.evaluation.eyes import Eyes, open_eyes
from tf_sg2.evaluation.judged import Judged
from tf_sg2.evaluation.real import Real
from tf_sg2.evaluation.session import Options, Outcome, evaluate
from tf_sg2.metrics.evaluator import METRICS
from tf_sg2.metrics.extraction import Images, drawn_fingerprint, generated_images
from tf_sg2.metrics.feature_cache import FeatureCache
from tf_sg2.networks.generator import Generator
from tf_sg2.runs.checkpoints import CHECKPOINT_NAME
from tf_sg2.training.monitor.samples import SAMPLE_BATCH, readable_images
from tf_sg2.training.run.kept import BestMetric
from tf_sg2.weights.names import generator_entries

OnBadImage = Callable[[int, InputError], None] | None

# Ends of the results of each kind of metric that can be best, and whether a higher one is better.
_ENDS: Mapping[str, tuple[Sequence[str], bool]] = {
    "fd": (("",), False),
    "fd_infinity": (("",), False),
    "kd": (("",), False),
    "ppl": (("",), False),
    "pr": (("_precision", "_recall"), True),
    "dc": (("_density", "_coverage"), True),
    "is": (("_mean",), True),
}


@dataclasses.dataclass(frozen=True)
class MetricSettings:
    """What a run measures, with everything that is opened once per process.

    Attributes:
        options: the metrics and their counts.
        eyes: what looks at the images.
        best: what the best checkpoint is best by, or None.
        real: the features of real images.
    """

    options: Options
    eyes: Eyes
    best: BestMetric | None
    real: RealFeatures


def open_metrics(config: Config) -> MetricSettings | None:
    """Returns what `training.metrics` asks for, or None without any metric.

    Raises:
        InputError: for metrics, eyes, weights and a best metric that do not fit together.
    """
    training = config.training
    if not training.metrics:
        if training.best_metric:
            raise InputError(
                f"training.best_metric is {training.best_metric!r}, but training.metrics is "
                "empty; name the metric that gives it there"
            )
        return None
    if config.generator.image_channels not in (1, 3):
        raise InputError(
            f"training.metrics need images of 1 or 3 channels, and these have "
            f"{config.generator.image_channels}; leave training.metrics out"
        )
    for name in training.metrics:
        if name in METRICS and METRICS[name].eye is not None and training.metrics_samples:
            raise InputError(
                f"{name} means {METRICS[name].generated} samples; leave training.metrics_samples "
                "out, or take names that promise no count, such as fd"
            )
    eyes = open_eyes(training.metrics, training.metrics_features, training.metrics_weights)
    options = Options(
        training.metrics,
        samples=training.metrics_samples,
        pairs=training.metrics_samples,
        batch_size=SAMPLE_BATCH,
    )
    best = _best_metric(training.best_metric, training.metrics, eyes)
    return MetricSettings(options, eyes, best, RealFeatures())


def _best_metric(result: str, names: Sequence[str], eyes: Eyes) -> BestMetric | None:
    if not result:
        return None
    known = {}
    for name in names:
        metric = METRICS[name]
        eye = "lpips" if metric.kind == "ppl" else getattr(eyes.default, "name", "")
        label = name if metric.eye else f"{name}_{eye}"
        ends, higher_is_better = _ENDS[metric.kind]
        known.update({label + end: BestMetric(label + end, name, higher_is_better) for end in ends})
    if result not in known:
        raise InputError(
            f"training.best_metric is {result!r}, which training.metrics do not give; take one of "
            f"{', '.join(known)}"
        )
    return known[result]


class RealFeatures(FeatureCache):
    """Features of real images in memory, in place of files: none outlive the process."""

    def __init__(self) -> None:
        super().__init__("in-memory")  # The paths are only keys; nothing is written.
        self.chunks: dict[Path, np.ndarray] = {}
        self.fingerprint = ""

    def load(self, fingerprint, recipe, first, count):
        """Returns features of real images that are known, or None."""
        return self.chunks.get(self.path(fingerprint, recipe, first, count))

    def save(self, fingerprint, recipe, first, features):
        """Keeps features of real images; those of generated images change with every checkpoint."""
        if fingerprint == self.fingerprint:
            self.chunks[self.path(fingerprint, recipe, first, len(features))] = features


class GeneratorMetrics:
    """Measures the averaged generator of a run.

    Args:
        settings: from `open_metrics`.
        config: the configuration of the run.
        generator: the averaged generator.
        training: the images that the run trains on.
        heldout: images that it does not train on; they are compared with, if there are any.
        on_bad_image: called for an image that cannot be read, and the next one is taken. None
            makes this an error.
    """

    def __init__(
        self,
        settings: MetricSettings,
        config: Config,
        generator: Generator,
        training: ImageSource,
        heldout: ImageSource | None,
        on_bad_image: OnBadImage = None,
    ):
        self.settings, self.config, self.generator = settings, config, generator
        source = _Readable(training if heldout is None else heldout, on_bad_image)
        self.real = Real(
            source,
            "all" if heldout is None else "heldout",
            config.data.mirror and heldout is None,
        )
        settings.real.fingerprint = source.fingerprint()
        self._generated: Images | None = None

    def outcomes(
        self,
        names: Sequence[str],
        iteration: int,
        images_seen: int,
        progress: Callable[[str, int, int], None],
    ) -> Iterator[Outcome]:
        """Yields the outcome of each metric of `names` for the current weights.

        Args:
            names: some of the metrics of the settings.
            iteration: the iteration of the weights.
            images_seen: how many images the run has seen.
            progress: called with the unit, the number done and the number in all.

        Raises:
            InputError: if images cannot be read, or are too few for a metric.
        """
        network = self.config.generator
        weights = weights_sha256(self.generator)
        checkpoint = f"{CHECKPOINT_NAME}-{iteration}"
        judged = Judged(
            name="the averaged generator",
            image_size=network.image_size,
            image_channels=network.image_channels,
            label_dim=network.label_dim,
            images=lambda seed, labels: self._images(weights, seed, labels),
            about={
                "kind": "training",
                "checkpoint": {"name": checkpoint, "weights_sha256": weights},
                "truncation_psi": 1.0,
                "noise": "random",
            },
            fingerprint=weights,
            checkpoint=checkpoint,
            iteration=iteration,
            kimg=images_seen / 1000,
            generator=self.generator,
        )
        options = dataclasses.replace(self.settings.options, metrics=tuple(names))
        yield from evaluate(
            judged, self.real, self.settings.eyes, options, self.settings.real, progress
        )

    def _images(self, weights: str, seed: int, labels: np.ndarray | None) -> Images:
        """Returns the generated images; the compiled function is the same each time."""
        if self._generated is None:
            self._generated = generated_images(self.generator, weights, labels, seed)
        fingerprint = drawn_fingerprint(weights, labels, seed)
        return dataclasses.replace(self._generated, fingerprint=fingerprint)


def weights_sha256(generator: Generator) -> str:
    """Returns the SHA-256 of a generator's weights, in the order of their official names."""
    digest = hashlib.sha256()
    for entry in generator_entries(generator):
        digest.update(np.ascontiguousarray(tf.convert_to_tensor(entry.variable)).tobytes())
    return digest.hexdigest()


class _Readable:
    """A source whose unreadable images may be replaced by the ones after them."""

    def __init__(self, source: ImageSource, on_bad_image: OnBadImage):
        self.source, self.on_bad_image = source, on_bad_image
        self.name, self.label_dim = source.name, source.label_dim
        self.image_size, self.image_channels = source.image_size, source.image_channels
        self._fingerprint = source.fingerprint()  # It may read the whole set, so only once.

    def __len__(self) -> int:
        return len(self.source)

    def image(self, index: int) -> np.ndarray:
        order = range(index, len(self))
        return readable_images(self.source, 1, self.on_bad_image, order)[1][0]

    def label(self, index: int) -> np.ndarray:
        return self.source.label(index)

    def fingerprint(self) -> str:
        return self._fingerprint

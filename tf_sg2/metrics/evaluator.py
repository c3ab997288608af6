"""From images to named numbers: one pass over the images for all metrics, features cached.

A name promises its eye: `fid50k_full` is refused under any eye but Inception's. Distances under
another eye are asked for as `fd` and `kd`, and come out as `fd_EYE` and `kd_EYE`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.metrics.checks import blocks
from tf_sg2.metrics.feature_cache import FeatureCache
from tf_sg2.metrics.frechet import (
    frechet_distance,
    frechet_distance_at_infinity,
    frechet_distance_of_moments,
    require_samples,
)
from tf_sg2.metrics.inception_scores import inception_score
from tf_sg2.metrics.kernel import kernel_distance
from tf_sg2.metrics.moments import Moments
from tf_sg2.metrics.neighbours import density_coverage, precision_recall

CHUNK_ROWS = 4096  # Images per cached file: what a stopped evaluation loses at most.


@dataclass(frozen=True)
class Images:
    """Where images come from."""

    read: Callable[[int, int], np.ndarray]  # (first, count) -> uint8 [count, H, W, 1 or 3]
    count: int | None  # None: as many as are asked for
    fingerprint: str  # changes whenever any image would


class Metric(NamedTuple):
    """What a name stands for."""

    kind: str
    eye: str | None = None  # The eye that the name promises; None for any.
    most_real: int | None = None  # None for all.
    generated: int = 50_000
    k: int = 3


# The official names with their counts (stylegan2-ada-pytorch), then ours, for any eye.
METRICS = {
    "fid50k_full": Metric("fd", "inception"),
    "fid50k": Metric("fd", "inception", 50_000),
    "kid50k_full": Metric("kd", "inception", 1_000_000),
    "kid50k": Metric("kd", "inception", 50_000),
    "pr50k3_full": Metric("pr", "vgg16", 200_000),
    "pr50k3": Metric("pr", "vgg16", 50_000),
    "is50k": Metric("is", "inception", 0),
    "fd": Metric("fd"),
    "fd_infinity": Metric("fd_infinity"),
    "kd": Metric("kd"),
    "pr": Metric("pr", most_real=50_000),
    "dc": Metric("dc", most_real=50_000, k=5),
}


def evaluate(
    names: Sequence[str],
    eye: Any,
    real: Images,
    generated: Images,
    samples: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    cache: FeatureCache | None = None,
    allow_few_samples: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[str, float]]:
    """Yields (name, value): each metric's numbers, and a floor beside each distance.

    The floor `NAME_floor` is the same distance between two random halves of the real images. It
    is left out where the halves are too small for it.

    Args:
        names: keys of `METRICS`. Official names keep theirs (`pr50k3_full_precision`, …); ours
            end in the eye's name.
        eye: see `tf_sg2.metrics.features.eyes`.
        real: the real images.
        generated: the generated images.
        samples: generated images in place of the official 50,000; official names are then
            refused, because a name promises its count.
        batch_size: images given to the eye at a time.
        seed: of subsets and halves.
        cache: keeps features; None keeps none.
        allow_few_samples: accepts fewer images than feature values for Fréchet distances, which
            are then biased upwards. Say so beside the result.
        progress: called with (images done, images in all) after each batch.

    Raises:
        InputError: for an unknown name, another eye than a name promises, or images that cannot
            be used.
    """
    metrics = {name: _metric(name, eye, samples) for name in names}
    if not metrics:
        raise InputError(f"no metric was asked for; name some of {', '.join(METRICS)}")
    most_generated = max(metric.generated for metric in metrics.values())
    most_real = max(_real_count(metric, real) for metric in metrics.values())
    total = most_real + most_generated

    def step(offset: int) -> Callable[[int], None]:
        return lambda done: progress(offset + done, total) if progress else None

    real_rows = extract(eye, real, most_real, batch_size, cache, step(0))
    generated_rows = extract(eye, generated, most_generated, batch_size, cache, step(most_real))
    for name, metric in metrics.items():
        of_real = real_rows[: _real_count(metric, real)]
        of_generated = generated_rows[: metric.generated]
        label = name if metric.eye else f"{name}_{eye.name}"
        compute = KINDS[metric.kind]
        yield from compute(label, metric, eye, of_real, of_generated, seed, allow_few_samples)


def recipe(eye: Any, real: Images, generated: Images, **more: Any) -> dict[str, Any]:
    """Returns what a result must carry: eye, data, counts, seeds and versions.

    Args:
        eye: as in `evaluate`.
        real: as in `evaluate`.
        generated: as in `evaluate`.
        more: further entries, such as seed=0, samples=10_000, allow_few_samples=True.
    """
    import importlib.metadata as installed

    versions = {"numpy": np.__version__}
    for package in ("tf-sg2", "tensorflow", "onnxruntime"):
        try:
            versions[package] = installed.version(package)
        except installed.PackageNotFoundError:
            continue
    return {
        "eye": eye.recipe,
        "real": {"fingerprint": real.fingerprint, "count": real.count},
        "generated": {"fingerprint": generated.fingerprint},
        "versions": versions,
        **more,
    }


def extract(
    eye: Any,
    images: Images,
    count: int,
    batch_size: int = 64,
    cache: FeatureCache | None = None,
    step: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Returns features of the first `count` images, float32 [count, d].

    Args:
        eye: as in `evaluate`.
        images: as in `evaluate`.
        count: how many images.
        batch_size: as in `evaluate`.
        cache: as in `evaluate`.
        step: called with the count of images done after each batch.

    Raises:
        InputError: if images are missing, of different shapes, not uint8, or a cached chunk is
            damaged.
    """
    if images.count is not None and images.count < count:
        raise InputError(f"there are {images.count} images, and {count} are needed")
    rows = np.zeros((0, 0), np.float32)
    shape = None
    for first in range(0, count, CHUNK_ROWS):
        size = min(CHUNK_ROWS, count - first)
        chunk = cache.load(images.fingerprint, eye.recipe, first, size) if cache else None
        if chunk is None:
            batches = []
            for start in range(first, first + size, batch_size):
                batch = images.read(start, min(batch_size, first + size - start))
                batch = rgb(batch, start, shape)
                shape = batch.shape[1:]
                batches.append(np.asarray(eye(batch), np.float32))
                if step:
                    step(start + len(batch))
            chunk = np.concatenate(batches)
            if cache:
                cache.save(images.fingerprint, eye.recipe, first, chunk)
        elif step:
            step(first + size)
        if not first:
            rows = np.empty((count, chunk.shape[1]), np.float32)
        rows[first : first + size] = chunk
    return rows


def rgb(images: np.ndarray, first: int = 0, shape: tuple[int, ...] | None = None) -> np.ndarray:
    """Returns uint8 images [N, H, W, 3]; a single channel is repeated.

    Args:
        images: uint8 [N, H, W, 1 or 3].
        first: the number of the first one, for the message.
        shape: [H, W, 3] of those before, which these must have.

    Raises:
        InputError: if they are of another type or shape.
    """
    images = np.asarray(images)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise InputError(
            f"images from number {first} on are {images.dtype} of shape {list(images.shape)}; "
            "metrics take uint8 [N, H, W, 1 or 3]"
        )
    images = np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images
    if shape is not None and images.shape[1:] != shape:
        height, width = images.shape[1:3]
        raise InputError(
            f"images from number {first} on are {height}x{width}, those before "
            f"{shape[0]}x{shape[1]}; a metric needs one size"
        )
    return images


def generated_uint8(images: Any, first: int = 0) -> np.ndarray:
    """Returns generated images, about -1 to 1, as uint8 by the official rule.

    It is clamp(127.5 x + 128, 0, 255), then truncated: the same as rounding half up.

    Raises:
        InputError: if a value is not finite.
    """
    images = np.asarray(images, np.float32)
    finite = np.isfinite(images).reshape(len(images), -1).all(axis=1)
    if not finite.all():
        raise InputError(
            f"generated image {first + int(np.argmin(finite))} holds values that are not finite; "
            "the generator has diverged, take an earlier checkpoint"
        )
    return np.clip(images * np.float32(127.5) + np.float32(128), 0, 255).astype(np.uint8)


def generated_images(
    generator: Any, fingerprint: str, labels: np.ndarray | None = None, seed: int = 0
) -> Images:
    """Returns the images that the official metrics look at: no truncation, random noise.

    Image i is a function of the seed and i, not of the batches.

    Args:
        generator: a `tf_sg2.Generator`.
        fingerprint: of its weights.
        labels: of the training images, [M, label_dim]; one is drawn per image.
        seed: of all draws.
    """
    import tensorflow as tf  # The maths above does without.

    z_dim = generator.config.z_dim
    dealt = "" if labels is None else f" labels {hashlib.sha256(labels.tobytes()).hexdigest()}"

    @tf.function(reduce_retracing=True)
    def synthesize(z, given, noise_seeds):
        return generator(z, given, noise_seeds=noise_seeds)

    def read(first: int, count: int) -> np.ndarray:
        z = np.empty([count, z_dim], np.float32)
        noise_seeds = np.empty([count, 2], np.int32)
        chosen = np.empty(count, np.int64)
        for i in range(count):
            random = np.random.default_rng([seed, first + i])
            z[i] = random.standard_normal(z_dim, np.float32)
            noise_seeds[i] = random.integers(2**31 - 1, size=2)
            chosen[i] = random.integers(len(labels)) if labels is not None else 0
        given = None if labels is None else labels[chosen]
        return generated_uint8(synthesize(z, given, noise_seeds), first)

    return Images(read, None, f"{fingerprint} seed {seed}{dealt}")


def _metric(name: str, eye: Any, samples: int | None) -> Metric:
    metric = METRICS.get(name)
    if metric is None:
        raise InputError(f"there is no metric {name!r}; take some of {', '.join(METRICS)}")
    if metric.eye is not None and metric.eye != eye.name:
        ours = f"; ask for {metric.kind!r} under this eye" if metric.kind in METRICS else ""
        raise InputError(f"{name} means features of {metric.eye!r}, not of {eye.name!r}{ours}")
    if metric.kind == "is" and not hasattr(eye, "probabilities"):
        raise InputError(f"{name} needs class probabilities, which the eye {eye.name!r} lacks")
    if samples is None:
        return metric
    if metric.eye is not None:
        ours = f"; ask for {metric.kind!r}" if metric.kind in METRICS else ""
        raise InputError(f"{name} means {metric.generated} generated images, not {samples}{ours}")
    return metric._replace(generated=samples)


def _real_count(metric: Metric, real: Images) -> int:
    counts = [count for count in (metric.most_real, real.count) if count is not None]
    if not counts:
        raise InputError("the count of real images is not known; give real images a count")
    return min(counts)


def _halves(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the row numbers of two random halves."""
    order = np.random.RandomState(seed).permutation(count)
    return order[: count // 2], order[count // 2 :]


def _moments(rows: np.ndarray, chosen: np.ndarray) -> Moments:
    moments = Moments(rows.shape[1])
    for some in blocks(chosen):
        moments.add(rows[some])
    return moments


def _frechet(label, metric, eye, real, generated, seed, allow_few):
    least = 1 if allow_few else real.shape[1]
    require_samples("real", len(real), least)
    require_samples("generated", len(generated), least)
    yield label, frechet_distance(real, generated)
    halves = _halves(len(real), seed)
    if len(halves[0]) >= least:
        moments = [_moments(real, half) for half in halves]  # Half a copy is never whole.
        yield f"{label}_floor", frechet_distance_of_moments(*moments)


def _frechet_at_infinity(label, metric, eye, real, generated, seed, allow_few):
    result = frechet_distance_at_infinity(real, generated, seed=seed, allow_few_samples=allow_few)
    yield label, result.value


def _kernel(label, metric, eye, real, generated, seed, allow_few):
    yield label, kernel_distance(real, generated, seed=seed)
    first, second = _halves(len(real), seed)
    if len(first) >= 2:
        yield f"{label}_floor", kernel_distance(real[first], real[second], seed=seed)


def _precision_recall(label, metric, eye, real, generated, seed, allow_few):
    result = precision_recall(real, generated, metric.k)
    yield f"{label}_precision", result.precision
    yield f"{label}_recall", result.recall


def _density_coverage(label, metric, eye, real, generated, seed, allow_few):
    result = density_coverage(real, generated, metric.k)
    yield f"{label}_density", result.density
    yield f"{label}_coverage", result.coverage


def _inception_score(label, metric, eye, real, generated, seed, allow_few):
    mean, deviation = inception_score(eye.probabilities(generated))
    yield f"{label}_mean", mean
    yield f"{label}_std", deviation


KINDS: Mapping[str, Callable[..., Iterator[tuple[str, float]]]] = {
    "fd": _frechet,
    "fd_infinity": _frechet_at_infinity,
    "kd": _kernel,
    "pr": _precision_recall,
    "dc": _density_coverage,
    "is": _inception_score,
}

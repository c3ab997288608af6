"""From images to named numbers: what each metric's name stands for, and one pass for all.

A name promises its eye: `fid50k_full` is refused under any eye but Inception's. Distances under
another eye are asked for as `fd` and `kd`, and come out as `fd_EYE` and `kd_EYE`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.metrics import conventions
from tf_sg2.metrics.checks import blocks
from tf_sg2.metrics.extraction import Images, extract, extract_all, forget, generated_images
from tf_sg2.metrics.feature_cache import FeatureCache
from tf_sg2.metrics.frechet import (
    frechet_distance,
    frechet_distance_at_infinity,
    frechet_distance_of_moments,
    require_samples,
)
from tf_sg2.metrics.inception_scores import inception_score
from tf_sg2.metrics.kernel import kernel_distance_spread
from tf_sg2.metrics.moments import Moments
from tf_sg2.metrics.neighbours import density_coverage, precision_recall
from tf_sg2.metrics.path_length import PATHS

__all__ = ["METRICS", "Images", "extract", "generated_images", "measure", "recipe"]

OUR_SAMPLES = 10_000  # Generated images for names that promise no count.
OUR_REAL = 50_000
OUR_PAIRS = 5_000


class Metric(NamedTuple):
    """What a name stands for."""

    kind: str
    eye: str | None = None  # The eye that the name promises; None for any.
    most_real: int | None = None  # None for all.
    generated: int = 50_000  # Images, or pairs of latents for path lengths.
    k: int = 3
    mirrors: bool = False  # Real images are mirrored where training mirrors.


# The official names with their counts (stylegan2-ada-pytorch), then ours, for any eye and count.
METRICS = {
    "fid50k_full": Metric("fd", "inception"),
    "fid50k": Metric("fd", "inception", 50_000, mirrors=True),
    "kid50k_full": Metric("kd", "inception", 1_000_000),
    "kid50k": Metric("kd", "inception", 50_000, mirrors=True),
    "pr50k3_full": Metric("pr", "vgg16", 200_000),
    "pr50k3": Metric("pr", "vgg16", 50_000, mirrors=True),
    "is50k": Metric("is", "inception", 0),
    **{name: Metric("ppl", "lpips", 0) for name in PATHS},
    "fd": Metric("fd", None, OUR_REAL, OUR_SAMPLES),
    "fd_infinity": Metric("fd_infinity", None, OUR_REAL, OUR_SAMPLES),
    "kd": Metric("kd", None, OUR_REAL, OUR_SAMPLES),
    "pr": Metric("pr", None, OUR_REAL, OUR_SAMPLES),
    "dc": Metric("dc", None, OUR_REAL, OUR_SAMPLES, k=5),
    "ppl": Metric("ppl", None, 0, OUR_PAIRS),
}


class Measured(NamedTuple):
    """The results of one metric by name, and the seconds that they took.

    The seconds are those of the shared pass over the images and of the metric's own computation.
    """

    metric: str
    results: dict[str, float]
    seconds: float


def measure(
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
    more_eyes: Mapping[str, Any] | None = None,
    convention: str | None = None,
) -> Iterator[Measured]:
    """Yields each metric's numbers, and a floor beside each distance.

    Images are made once, whatever the number of metrics and eyes. The floor `NAME_floor` is the
    same distance between two random halves of the real images. It is left out where the halves
    are too small for it.

    Args:
        names: keys of `METRICS` other than path lengths, for which see
            `tf_sg2.metrics.perceptual_path_length`. Official names keep theirs
            (`pr50k3_full_precision`, …); ours end in the eye's name.
        eye: of the metrics whose names promise none; see `tf_sg2.metrics.features.eyes`. None
            where there are no such metrics.
        real: the real images.
        generated: the generated images.
        samples: generated images for names that promise no count; None takes `OUR_SAMPLES`, or
            all where there are fewer. Official names are then refused, because a name promises
            its count.
        batch_size: images given to the eye at a time.
        seed: of subsets and halves.
        cache: keeps features; None keeps none.
        allow_few_samples: accepts fewer images than feature values for Fréchet distances, which
            are then biased upwards. Say so beside the result.
        progress: called with (images done, images in all) after each batch.
        more_eyes: further eyes by name, for metrics whose names promise them.
        convention: a key of `metrics.conventions.CONVENTIONS`; None computes what the functions
            of `tf_sg2.metrics` compute by default.

    Raises:
        InputError: for an unknown name, another eye than a name promises, or images that cannot
            be used.
    """

    def known(function: str) -> dict[str, Any]:
        return {} if convention is None else conventions.arguments(convention, function)

    if convention is not None:
        conventions.check(convention)
    eyes = _eyes(eye, more_eyes)
    metrics = _metrics(names, eye, eyes, samples, generated)
    generated_wanted = _generated_wanted(metrics, eye, eyes)
    real_wanted = [
        (own, max(real_count(metric, real) for metric in _users(own, metrics, eye, eyes)))
        for own, _ in generated_wanted
    ]
    most_real, most_generated = (
        max(count for _, count in wanted) for wanted in (real_wanted, generated_wanted)
    )
    total = most_real + most_generated

    def step(offset: int) -> Callable[[int], None]:
        return lambda done: progress(offset + done, total) if progress else None

    began = time.monotonic()
    real_rows = extract_all(real_wanted, real, batch_size, cache, step(0))
    generated_rows = extract_all(generated_wanted, generated, batch_size, cache, step(most_real))
    shared = time.monotonic() - began
    order = [own.name for own, _ in real_wanted]
    for name, metric in metrics.items():
        began = time.monotonic()
        own = eye_of(metric, eye, eyes)
        index = order.index(own.name)
        sets = Sets(
            real_rows[index][: real_count(metric, real)],
            generated_rows[index][: metric.generated],
            real_rows[index][: real.count],  # Mirrored copies would lower the floor.
        )
        label = name if metric.eye else f"{name}_{own.name}"
        compute = KINDS[metric.kind]
        results = dict(compute(label, metric, own, sets, seed, allow_few_samples, known))
        yield Measured(name, results, shared + time.monotonic() - began)


def forget_generated(
    names: Sequence[str],
    eye: Any,
    generated: Images,
    samples: int | None,
    cache: FeatureCache,
    more_eyes: Mapping[str, Any] | None = None,
) -> None:
    """Deletes the cached features of generated images, which their seed can make again.

    The arguments are those of `measure`.
    """
    eyes = _eyes(eye, more_eyes)
    metrics = _metrics(names, eye, eyes, samples, generated)
    forget(_generated_wanted(metrics, eye, eyes), generated, cache)


class Sets(NamedTuple):
    """Features of the images that a metric compares, float32 [N, d] each."""

    real: np.ndarray
    generated: np.ndarray
    straight: np.ndarray  # Real images without mirrored copies, for the floor.


def eye_of(metric: Metric, eye: Any, eyes: Mapping[str, Any]) -> Any:
    """Returns the eye that a metric looks through."""
    return eye if metric.eye is None else eyes[metric.eye]


def _eyes(eye: Any, more_eyes: Mapping[str, Any] | None) -> dict[str, Any]:
    return {**({} if eye is None else {eye.name: eye}), **(more_eyes or {})}


def _users(
    own: Any, metrics: Mapping[str, Metric], eye: Any, eyes: Mapping[str, Any]
) -> list[Metric]:
    return [m for m in metrics.values() if eye_of(m, eye, eyes).name == own.name]


def _generated_wanted(
    metrics: Mapping[str, Metric], eye: Any, eyes: Mapping[str, Any]
) -> list[tuple[Any, int]]:
    """Returns the eyes that are needed, each once, and their counts of generated images."""
    needed: dict[str, Any] = {}
    for metric in metrics.values():
        own = eye_of(metric, eye, eyes)
        needed.setdefault(own.name, own)
    return [
        (own, max(metric.generated for metric in _users(own, metrics, eye, eyes)))
        for own in needed.values()
    ]


def _metrics(
    names: Sequence[str],
    eye: Any,
    eyes: Mapping[str, Any],
    samples: int | None,
    generated: Images,
) -> dict[str, Metric]:
    if not names:
        raise InputError(f"no metric was asked for; name some of {', '.join(METRICS)}")
    return {name: _metric(name, eye, eyes, samples, generated.count) for name in names}


def recipe(eye: Any, real: Images, generated: Images, **more: Any) -> dict[str, Any]:
    """Returns what a result must carry: eye, data, counts, seeds and versions.

    Args:
        eye: as in `measure`.
        real: as in `measure`.
        generated: as in `measure`.
        more: further entries, such as seed=0, samples=10_000, allow_few_samples=True.
    """
    return {
        "eye": eye.recipe,
        "real": {"fingerprint": real.fingerprint, "count": real.count},
        "generated": {"fingerprint": generated.fingerprint},
        "versions": versions(),
        **more,
    }


def versions() -> dict[str, str]:
    """Returns the versions of the packages that decide the last digits."""
    import importlib.metadata as installed

    found = {"numpy": np.__version__}
    for package in ("tf-sg2", "tensorflow", "onnxruntime"):
        try:
            found[package] = installed.version(package)
        except installed.PackageNotFoundError:
            continue
    return found


def _metric(
    name: str, eye: Any, eyes: Mapping[str, Any], samples: int | None, available: int | None
) -> Metric:
    metric = METRICS.get(name)
    if metric is None:
        raise InputError(f"there is no metric {name!r}; take some of {', '.join(METRICS)}")
    if metric.kind == "ppl":
        raise InputError(f"{name} is a path length, which needs latents instead of images")
    ours = f"; ask for {metric.kind!r}" if metric.kind in METRICS else ""
    if metric.eye is not None and metric.eye not in eyes:
        given = "none" if eye is None else repr(eye.name)
        under = f"{ours} under this eye" if ours and eye is not None else ""
        raise InputError(f"{name} means features of {metric.eye!r}, not of {given}{under}")
    if metric.eye is None and eye is None:
        raise InputError(f"{name} needs an eye; give one, such as metrics.features.PPOCR()")
    own = eye_of(metric, eye, eyes)
    if metric.kind == "is" and not hasattr(own, "probabilities"):
        raise InputError(f"{name} needs class probabilities, which the eye {own.name!r} lacks")
    if metric.eye is not None:
        if samples is not None:
            raise InputError(
                f"{name} means {metric.generated} generated images, not {samples}{ours}"
            )
        return metric
    if samples is None and available is not None:
        samples = min(metric.generated, available)
    return metric if samples is None else metric._replace(generated=samples)


def real_count(metric: Metric, real: Images) -> int:
    """Returns how many real images a metric takes; mirrored copies count.

    Raises:
        InputError: if their count is not known.
    """
    available = real.count
    if available is not None and metric.mirrors and real.mirrored:
        available *= 2
    counts = [count for count in (metric.most_real, available) if count is not None]
    if not counts or real.count is None:
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


def _frechet(label, metric, eye, sets, seed, allow_few, known):
    arguments = known("frechet_distance")
    least = 1 + arguments.get("ddof", 0) if allow_few else sets.real.shape[1]
    require_samples("real", len(sets.real), least)
    require_samples("generated", len(sets.generated), least)
    yield label, frechet_distance(sets.real, sets.generated, **arguments)
    halves = _halves(len(sets.straight), seed)
    if len(halves[0]) >= least:
        moments = [_moments(sets.straight, half) for half in halves]  # Half a copy is never whole.
        yield f"{label}_floor", frechet_distance_of_moments(*moments, **arguments)


def _frechet_at_infinity(label, metric, eye, sets, seed, allow_few, known):
    result = frechet_distance_at_infinity(
        sets.real,
        sets.generated,
        seed=seed,
        allow_few_samples=allow_few,
        **known("frechet_distance_at_infinity"),
    )
    yield label, result.value


def _kernel(label, metric, eye, sets, seed, allow_few, known):
    result = kernel_distance_spread(sets.real, sets.generated, seed=seed)
    yield label, result.mean
    yield f"{label}_std", result.std
    halves = [sets.straight[half] for half in _halves(len(sets.straight), seed)]
    if len(halves[0]) >= 2:
        yield f"{label}_floor", kernel_distance_spread(*halves, seed=seed).mean


def _precision_recall(label, metric, eye, sets, seed, allow_few, known):
    result = precision_recall(sets.real, sets.generated, metric.k, **known("precision_recall"))
    yield f"{label}_precision", result.precision
    yield f"{label}_recall", result.recall


def _density_coverage(label, metric, eye, sets, seed, allow_few, known):
    result = density_coverage(sets.real, sets.generated, metric.k)
    yield f"{label}_density", result.density
    yield f"{label}_coverage", result.coverage


def _inception_score(label, metric, eye, sets, seed, allow_few, known):
    mean, deviation = inception_score(eye.probabilities(sets.generated))
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

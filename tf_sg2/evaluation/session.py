"""One evaluation: all metrics of something against real images, repeated over seeds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.evaluation.eyes import Eyes
from tf_sg2.evaluation.judged import Judged, images_of, labels_of
from tf_sg2.evaluation.real import Real, require_labels
from tf_sg2.metrics.evaluator import (
    METRICS,
    OUR_REAL,
    forget_generated,
    measure,
    real_count,
    recipe,
    versions,
)
from tf_sg2.metrics.extraction import Images, drawn_fingerprint
from tf_sg2.metrics.feature_cache import FeatureCache
from tf_sg2.metrics.path_length import PATHS, PathSampler, filtered_mean
from tf_sg2.metrics.spread import spread_over_seeds

OUR_PATH = "ppl2_wend"  # What `ppl` measures.
CHUNK_PAIRS = 256  # Pairs per cached file: what a stopped evaluation loses at most.
SPREAD = "_spread"


@dataclass(frozen=True)
class Options:
    """What is asked of an evaluation.

    Attributes:
        metrics: keys of `METRICS`.
        samples: generated images for names that promise no count; None for the default.
        real_samples: real images for such names, chosen at random; None for the default.
        pairs: pairs of latents for `ppl`; None for the default.
        seed: of all draws.
        repeats: evaluations with the seeds from `seed` on; results are their means.
        batch_size: images at a time.
        allow_few_samples: see `measure`.
        convention: see `measure`.
    """

    metrics: Sequence[str]
    samples: int | None = None
    real_samples: int | None = None
    pairs: int | None = None
    seed: int = 0
    repeats: int = 1
    batch_size: int = 64
    allow_few_samples: bool = False
    convention: str | None = None


@dataclass(frozen=True)
class Outcome:
    """The result of one metric."""

    metric: str
    results: dict[str, float]
    seconds: float
    recipe: dict[str, Any]


Progress = Callable[[str, int, int], None]  # (unit, done, in all)


def needs_real(options: Options, judged: Judged) -> bool:
    """Returns whether real images are needed: for distances, or for their labels."""
    return bool(judged.label_dim) or any(METRICS[name].kind != "ppl" for name in options.metrics)


def evaluate(
    judged: Judged,
    real: Real | None,
    eyes: Eyes,
    options: Options,
    cache: FeatureCache | None = None,
    progress: Progress | None = None,
) -> Iterator[Outcome]:
    """Yields the result of each metric.

    With several repeats, a result is the mean over the seeds, and `NAME_spread` is the sample
    standard deviation.

    Args:
        judged: what is judged.
        real: what it is compared with; None where only path lengths are asked for.
        eyes: from `open_eyes`.
        options: what is asked.
        cache: keeps features, so that a stopped evaluation goes on where it was. Those of
            generated images are deleted at the end.
        progress: called with the unit, the number done and the number in all.

    Raises:
        InputError: if the images, the metrics and the eyes do not fit together.
    """
    paths = [name for name in options.metrics if METRICS[name].kind == "ppl"]
    compared = [name for name in options.metrics if METRICS[name].kind != "ppl"]
    if paths and judged.generator is None:
        raise InputError(
            f"{paths[0]} needs the weights of a generator; give a run instead of {judged.name}"
        )
    if options.pairs is not None:
        for name in paths:
            if METRICS[name].eye is not None:
                count = METRICS[name].generated
                raise InputError(f"{name} means {count} pairs, not {options.pairs}; ask for ppl")
    labels = None
    if judged.label_dim:
        if real is None:
            raise InputError(f"{judged.name} needs labels; give the data that hold them")
        require_labels(real, judged)
        labels = labels_of(real.source)
    if compared:
        if real is None:
            raise InputError(f"{compared[0]} needs real images; give --data")
        yield from _compared(judged, real, eyes, options, compared, labels, cache, progress)
    for name in paths:
        yield _path_length(judged, eyes, options, name, labels, cache, progress)


def _compared(
    judged: Judged,
    real: Real,
    eyes: Eyes,
    options: Options,
    names: Sequence[str],
    labels: np.ndarray | None,
    cache: FeatureCache | None,
    progress: Progress | None,
) -> Iterator[Outcome]:
    real_images = _real_images(real, options, names)
    seeds = range(options.seed, options.seed + options.repeats)
    sets = [judged.images(seed, labels) for seed in seeds]
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    seconds = dict.fromkeys(names, 0.0)

    def step(index: int) -> Callable[[int, int], None] | None:
        if progress is None:
            return None
        return lambda done, total: progress("image", index * total + done, len(sets) * total)

    for index, (seed, generated) in enumerate(zip(seeds, sets, strict=True)):
        for measured in measure(
            names,
            eyes.default,
            real_images,
            generated,
            options.samples,
            options.batch_size,
            seed,
            cache,
            options.allow_few_samples,
            step(index),
            eyes.more,
            options.convention,
        ):
            found[measured.metric].append(measured.results)
            seconds[measured.metric] += measured.seconds
    for name in names:
        own = METRICS[name].eye
        eye = eyes.default if own is None else eyes.more[own]
        made = recipe(
            eye,
            real_images,
            sets[0],
            samples=_samples(name, options, sets[0]),
            seed=options.seed,
            repeats=options.repeats,
            allow_few_samples=options.allow_few_samples,
            batch_size=options.batch_size,
            convention=options.convention,
        )
        made["real"] |= {"count": real_count(METRICS[name], real_images), **real.about}
        made["generated"] |= judged.about
        yield Outcome(name, merged(found[name]), seconds[name], made)
    if cache:
        for generated in sets:
            forget_generated(names, eyes.default, generated, options.samples, cache, eyes.more)


def _real_images(real: Real, options: Options, names: Sequence[str]) -> Images:
    official = [name for name in names if METRICS[name].eye is not None]
    if options.real_samples is not None and official:
        raise InputError(
            f"{official[0]} has its own count of real images; leave out --real_samples, or ask "
            f"for {METRICS[official[0]].kind!r}"
        )
    if official:
        return images_of(real.source, mirrored=real.mirrored)
    most = OUR_REAL if options.real_samples is None else options.real_samples
    # A random choice: a folder may be sorted by class.
    few = most < len(real.source)
    return images_of(real.source, most, 0 if few else None, mirrored=real.mirrored)


def _samples(name: str, options: Options, generated: Images) -> int:
    metric = METRICS[name]
    if metric.eye is not None or (options.samples is None and generated.count is None):
        return metric.generated
    if options.samples is None and generated.count is not None:
        return min(metric.generated, generated.count)
    return options.samples or metric.generated


def merged(results: Sequence[dict[str, float]]) -> dict[str, float]:
    """Returns the mean of each number, and its deviation where there are several results."""
    if len(results) == 1:
        return dict(results[0])
    found: dict[str, float] = {}
    for name in results[0]:
        values = [some[name] for some in results]
        spread = spread_over_seeds(values.__getitem__, range(len(values)))
        found |= {name: spread.mean, name + SPREAD: spread.std}
    return found


def _path_length(
    judged: Judged,
    eyes: Eyes,
    options: Options,
    name: str,
    labels: np.ndarray | None,
    cache: FeatureCache | None,
    progress: Progress | None,
) -> Outcome:
    official = METRICS[name].eye is not None
    path = name if official else OUR_PATH
    pairs = METRICS[name].generated if official or options.pairs is None else options.pairs
    label = name if official else f"{name}_lpips"
    began = time.monotonic()
    results = []
    for repeat in range(options.repeats):
        sampler = PathSampler(
            judged.generator,
            eyes.lpips,
            path,
            labels=labels,
            seed=options.seed + repeat,
            convention=options.convention or "pytorch",
        )
        eye = {
            "distance": "LPIPS 0.1 of VGG16",
            "sha256": eyes.lpips_sha256,
            "path": path,
            **PATHS[path]._asdict(),
            "epsilon": sampler.epsilon,
            "batch_size": sampler.batch_size,
            "convention": sampler.convention,
        }
        fingerprint = drawn_fingerprint(judged.fingerprint, labels, options.seed + repeat)
        lengths = _lengths(sampler, eye, fingerprint, pairs, cache, progress, repeat, options)
        results.append({label: filtered_mean(lengths)})
    made = {
        "eye": eye,
        "generated": {"fingerprint": fingerprint, **judged.about},
        "pairs": pairs,
        "seed": options.seed,
        "repeats": options.repeats,
        "versions": versions(),
    }
    if cache:
        for repeat in range(options.repeats):
            known = drawn_fingerprint(judged.fingerprint, labels, options.seed + repeat)
            for first in range(0, pairs, CHUNK_PAIRS):
                size = min(CHUNK_PAIRS, pairs - first)
                cache.path(known, eye, first, size).unlink(missing_ok=True)
    return Outcome(name, merged(results), time.monotonic() - began, made)


def _lengths(sampler, eye, fingerprint, pairs, cache, progress, repeat, options) -> np.ndarray:
    found = []
    total = pairs * options.repeats

    def step(done: int) -> None:
        if progress is not None:
            progress("pair", repeat * pairs + done, total)

    for first in range(0, pairs, CHUNK_PAIRS):
        size = min(CHUNK_PAIRS, pairs - first)
        chunk = cache.load(fingerprint, eye, first, size) if cache else None
        if chunk is None:
            chunk = sampler(first, size, step)[:, None]
            if cache:
                cache.save(fingerprint, eye, first, chunk)
        step(first + size)
        found.append(chunk[:, 0])
    return np.concatenate(found)

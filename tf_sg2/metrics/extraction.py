"""From images to features: one pass over the images for all eyes, in cached chunks."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.metrics.feature_cache import FeatureCache

CHUNK_ROWS = 1024  # Images per cached file: what a stopped evaluation loses at most.

Draws = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Images:
    """Where images come from."""

    read: Callable[[int, int], np.ndarray]  # (first, count) -> uint8 [count, H, W, 1 or 3]
    count: int | None  # None: as many as are asked for
    fingerprint: str  # changes whenever any image would
    mirrored: bool = False  # training mirrors them: image count + i is image i mirrored


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
        eye: see `tf_sg2.metrics.features.eyes`.
        images: the images.
        count: how many of them.
        batch_size: images given to the eye at a time.
        cache: keeps features; None keeps none.
        step: called with the count of images done after each batch.

    Raises:
        InputError: if images are missing, of different shapes, not uint8, or a cached chunk is
            damaged.
    """
    return extract_all([(eye, count)], images, batch_size, cache, step)[0]


def extract_all(
    wanted: Sequence[tuple[Any, int]],
    images: Images,
    batch_size: int = 64,
    cache: FeatureCache | None = None,
    step: Callable[[int], None] | None = None,
) -> list[np.ndarray]:
    """Returns features of the same images under several eyes; each image is made once.

    Args:
        wanted: (eye, count of images) each.
        images: as in `extract`.
        batch_size: as in `extract`.
        cache: as in `extract`.
        step: as in `extract`.

    Raises:
        InputError: as `extract`.
    """
    most = max((count for _, count in wanted), default=0)
    if images.count is not None and images.count * (1 + images.mirrored) < most:
        raise InputError(f"there are {images.count} images, and {most} are needed")
    rows: list[np.ndarray] = [np.zeros((0, 0), np.float32) for _ in wanted]
    for first, size, chunks in _chunks(wanted, images, most, batch_size, cache, step):
        for i, (chunk, (_, count)) in enumerate(zip(chunks, wanted, strict=True)):
            if chunk is None:
                continue
            if not first:
                rows[i] = np.empty((count, chunk.shape[1]), np.float32)
            rows[i][first : first + len(chunk)] = chunk
        if step:
            step(first + size)
    return rows


def forget(wanted: Sequence[tuple[Any, int]], images: Images, cache: FeatureCache) -> None:
    """Deletes what `extract_all` has cached of these images."""
    for eye, count in wanted:
        for first in range(0, count, CHUNK_ROWS):
            size = min(CHUNK_ROWS, count - first)
            cache.path(images.fingerprint, eye.recipe, first, size).unlink(missing_ok=True)


def _chunks(
    wanted, images, most, batch_size, cache, step
) -> Iterator[tuple[int, int, list[np.ndarray | None]]]:
    """Yields the first row of each chunk, its size, and its features under each eye."""
    shape: list[tuple[int, ...]] = []  # Of the first images that were read.
    with ThreadPoolExecutor(1) as reader:
        for first in range(0, most, CHUNK_ROWS):
            size = min(CHUNK_ROWS, most - first)
            sizes = [min(size, max(count - first, 0)) for _, count in wanted]
            chunks: list[np.ndarray | None] = []
            for (eye, _), own in zip(wanted, sizes, strict=True):
                known = cache.load(images.fingerprint, eye.recipe, first, own) if cache else None
                chunks.append(known if own else None)
            missing = [i for i, own in enumerate(sizes) if own and chunks[i] is None]
            if missing:
                last = first + max(sizes[i] for i in missing)
                parts: dict[int, list[np.ndarray]] = {i: [] for i in missing}
                for start, batch in _batches(reader, images, first, last, batch_size, shape):
                    for i in missing:
                        own_batch = batch[: max(first + sizes[i] - start, 0)]
                        if len(own_batch):
                            parts[i].append(np.asarray(wanted[i][0](own_batch), np.float32))
                    if step:
                        step(start + len(batch))
                for i in missing:
                    chunk = chunks[i] = np.concatenate(parts[i])
                    if cache:
                        cache.save(images.fingerprint, wanted[i][0].recipe, first, chunk)
            yield first, size, chunks


def _batches(
    reader: ThreadPoolExecutor,
    images: Images,
    first: int,
    last: int,
    batch_size: int,
    shape: list[tuple[int, ...]],
) -> Iterator[tuple[int, np.ndarray]]:
    """Yields checked RGB batches with their first number; the next one is read meanwhile."""
    starts = range(first, last, batch_size)

    def submit(start):
        return reader.submit(read_mirrored, images, start, min(batch_size, last - start))

    following = submit(first)
    for start in starts:
        batch = following.result()
        if start != starts[-1]:
            following = submit(start + batch_size)
        batch = rgb(batch, start, shape[0] if shape else None)
        shape[:] = [batch.shape[1:]]
        yield start, batch


def read_mirrored(images: Images, first: int, count: int) -> np.ndarray:
    """Returns images `first` to `first + count`; those after the last are mirrored ones."""
    if images.count is None or first + count <= images.count:
        return images.read(first, count)
    straight = max(images.count - first, 0)
    start = max(first - images.count, 0)
    flipped = images.read(start, count - straight)[:, :, ::-1]
    return np.concatenate([images.read(first, straight), flipped]) if straight else flipped


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


def draws(seed: int, first: int, count: int, z_dim: int, label_count: int = 0) -> Draws:
    """Returns what image i of a seed is made of; each is a function of the seed and i only.

    Args:
        seed: of all draws.
        first: the number of the first image.
        count: how many images.
        z_dim: width of the latent.
        label_count: how many labels there are to choose from; 0 without labels.

    Returns:
        Latents float32 [count, z_dim], seeds of the noise int32 [count, 2], and the numbers of
        the labels int64 [count].
    """
    z = np.empty([count, z_dim], np.float32)
    noise_seeds = np.empty([count, 2], np.int32)
    chosen = np.zeros(count, np.int64)
    for i in range(count):
        random = np.random.default_rng([seed, first + i])
        z[i] = random.standard_normal(z_dim, np.float32)
        noise_seeds[i] = random.integers(2**31 - 1, size=2)
        if label_count:
            chosen[i] = random.integers(label_count)
    return z, noise_seeds, chosen


def drawn_fingerprint(fingerprint: str, labels: np.ndarray | None, seed: int) -> str:
    """Returns the fingerprint of images that `draws` determines.

    Args:
        fingerprint: of the generator's weights.
        labels: what labels are drawn from, [M, label_dim], or None.
        seed: of the draws.
    """
    dealt = "" if labels is None else f" labels {hashlib.sha256(labels.tobytes()).hexdigest()}"
    return f"{fingerprint} seed {seed}{dealt}"


def generated_images(
    generator: Any,
    fingerprint: str,
    labels: np.ndarray | None = None,
    seed: int = 0,
    devices: Sequence[str] = (),
) -> Images:
    """Returns the images that the official metrics look at: no truncation, random noise.

    Image i is a function of the seed and i, not of the batches or the devices.

    Args:
        generator: a `tf_sg2.Generator`.
        fingerprint: of its weights.
        labels: of the training images, [M, label_dim]; one is drawn per image.
        seed: of all draws.
        devices: names of TensorFlow's devices that share each batch. With fewer than two, the
            generator's own device makes all images.
    """
    import tensorflow as tf  # The maths of metrics does without.

    config = generator.config
    synthesize = [_synthesis(generator)]
    if len(devices) > 1:
        synthesize = [_synthesis(_copy(generator, device), device) for device in devices]
    label_count = 0 if labels is None else len(labels)

    def read(first: int, count: int) -> np.ndarray:
        z, noise_seeds, chosen = draws(seed, first, count, config.z_dim, label_count)
        given = None if labels is None else labels[chosen]
        bounds = np.linspace(0, count, len(synthesize) + 1).astype(int)
        shares = [slice(a, b) for a, b in itertools.pairwise(bounds) if b > a]

        def part(function, share):
            own = None if given is None else given[share]
            return function(tf.constant(z[share]), own, tf.constant(noise_seeds[share]))

        if len(shares) == 1:
            return generated_uint8(part(synthesize[0], shares[0]), first)
        with ThreadPoolExecutor(len(shares)) as pool:
            parts = list(pool.map(part, synthesize, shares))
        return generated_uint8(np.concatenate([images.numpy() for images in parts]), first)

    return Images(read, None, drawn_fingerprint(fingerprint, labels, seed))


def _synthesis(generator: Any, device: str | None = None) -> Callable:
    import tensorflow as tf

    def synthesize(z, given, noise_seeds):
        with tf.device(device):
            return generator(z, given, noise_seeds=noise_seeds)

    return tf.function(synthesize, reduce_retracing=True)


def _copy(generator: Any, device: str) -> Any:
    """Returns a generator with the same weights on another device."""
    import tensorflow as tf

    with tf.device(device):
        copy = type(generator)(generator.config)
        copy.set_weights(generator.get_weights())
    return copy

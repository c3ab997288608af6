"""Perceptual path length (Karras et al. 2018, section 4.1; 2019, table 1).

How much an image changes for a small step between two latents, in a perceptual distance, over
the square of the step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.metrics import conventions

EPSILON = 1e-4  # The step in the official metrics.
DETECTOR_SIZE = 256  # Larger images are averaged down to about this before they are compared.
BATCH_PAIRS = 4  # As many as the TensorFlow metrics of StyleGAN2 take per GPU.


class Path(NamedTuple):
    """One of the official variants."""

    space: str  # "z" or "w": where the step is taken
    sampling: str  # "full": anywhere on the way; "end": at the first latent
    crop: bool  # compares only the middle, where a face is


PATHS = {
    "ppl_zfull": Path("z", "full", True),
    "ppl_wfull": Path("w", "full", True),
    "ppl_zend": Path("z", "end", True),
    "ppl_wend": Path("w", "end", True),
    "ppl2_wend": Path("w", "end", False),
}


def slerp(a: np.ndarray, b: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Returns the point at `t` on the great circle from a to b, of length 1.

    Args:
        a: vectors [..., d]; their lengths do not matter.
        b: vectors [..., d]; their lengths do not matter.
        t: 0 to 1, broadcast against [..., 1].

    Source: `slerp` of stylegan2-ada-pytorch. The result is not rescaled: the mapping network
    normalises it anyway.
    """
    a, b = _normalized(np.asarray(a)), _normalized(np.asarray(b))
    cosine = (a * b).sum(axis=-1, keepdims=True)
    # A product of two unit vectors may exceed 1 by rounding.
    angle = np.asarray(t, a.dtype) * np.arccos(np.clip(cosine, -1, 1))
    across = _normalized(b - cosine * a)
    return _normalized(a * np.cos(angle) + across * np.sin(angle))


def _normalized(x: np.ndarray) -> np.ndarray:
    length = np.sqrt(np.square(x).sum(axis=-1, keepdims=True))
    return x / np.where(length > 0, length, 1)


def filtered_mean(distances: np.ndarray) -> float:
    """Returns the mean of the distances from the 1st to the 99th percentile, both included.

    The lower percentile is rounded down to a value that occurs, the upper one up.

    Raises:
        InputError: if there is none, or one is not finite.

    Source: `compute_ppl` of stylegan2-ada-pytorch.
    """
    distances = np.asarray(distances).reshape(-1)
    if not distances.size or not np.isfinite(distances).all():
        raise InputError(
            f"path lengths must be finite and at least one; of {distances.size} "
            f"{int(np.isfinite(distances).sum())} are finite"
        )
    low, high = percentile_bounds(distances)
    kept = distances[(low <= distances) & (distances <= high)]
    return float(kept.mean(dtype=np.float64))


def percentile_bounds(distances: np.ndarray) -> tuple[np.floating, np.floating]:
    """Returns the values between which `filtered_mean` keeps distances, both included.

    Args:
        distances: float [N], at least one.
    """
    low = np.percentile(distances, 1, method="lower")
    return low, np.percentile(distances, 99, method="higher")


def detector_images(images: np.ndarray, crop: bool, convention: str = "pytorch") -> np.ndarray:
    """Returns generated images as the perceptual distance takes them: float32, 0 to 255, RGB.

    Cropping keeps rows 3/8 to 7/8 and columns 2/8 to 6/8. Then images are averaged down by
    size // 256, without rounding or clipping.

    Args:
        images: float [N, H, W, 1 or 3], about -1 to 1.
        crop: keeps only the middle.
        convention: "pytorch" takes the size of the whole image for the division. "tensorflow1"
            takes the size after the crop. The smaller side counts.

    Source: `PPLSampler` of stylegan2-ada-pytorch, `ppl` of StyleGAN2. They take square images;
    here each axis has its own eighths.
    """
    conventions.check(convention)
    images = np.asarray(images, np.float32)
    if images.ndim != 4 or images.shape[3] not in (1, 3):
        raise InputError(
            f"images have shape {list(images.shape)}; path lengths need [N, H, W, 1 or 3]"
        )
    size = min(images.shape[1:3])
    if crop:
        row, column = images.shape[1] // 8, images.shape[2] // 8
        images = images[:, 3 * row : 7 * row, 2 * column : 6 * column]
    if convention == "tensorflow1":
        size = min(images.shape[1:3])
    factor = size // DETECTOR_SIZE
    if factor > 1:
        height, width = images.shape[1] // factor, images.shape[2] // factor
        whole = images[:, : height * factor, : width * factor]  # An odd rest is cut.
        tiles = whole.reshape(len(images), height, factor, width, factor, -1)
        images = tiles.mean(axis=(2, 4))
    images = (images + 1) * np.float32(127.5)
    return np.repeat(images, 3, axis=3) if images.shape[3] == 1 else images


def path_lengths(
    mapping: Callable,
    synthesize: Callable,
    distance: Callable,
    z0: np.ndarray,
    z1: np.ndarray,
    t: np.ndarray,
    labels: np.ndarray | None = None,
    path: Path = PATHS["ppl2_wend"],
    epsilon: float = EPSILON,
    convention: str = "pytorch",
) -> np.ndarray:
    """Returns the path length of each pair of latents, float32 [N].

    Args:
        mapping: (z [N, z_dim], labels) -> w [N, num_ws, w_dim], without truncation.
        synthesize: w [2N, num_ws, w_dim] -> images; the same noise must serve all of them.
        distance: (a, b) -> [N] for float32 images [N, H, W, 3], 0 to 255.
        z0: normal draws, float32 [N, z_dim].
        z1: normal draws, float32 [N, z_dim].
        t: uniform draws from 0 to 1, float32 [N]; "end" paths multiply them by 0.
        labels: [N, label_dim]; the same for both ends.
        path: an entry of `PATHS`.
        epsilon: the step.
        convention: as in `detector_images`.

    Raises:
        InputError: for an unknown space or sampling.

    Source: `PPLSampler.forward` of stylegan2-ada-pytorch.
    """
    if path.space not in ("z", "w") or path.sampling not in ("full", "end"):
        raise InputError(f"there is no path {path}; take an entry of metrics.PATHS")
    t = np.asarray(t, np.float32)[:, None]
    t = t if path.sampling == "full" else t * 0
    step = np.float32(epsilon)
    doubled = None if labels is None else np.concatenate([labels, labels])
    if path.space == "w":
        w = np.asarray(mapping(np.concatenate([z0, z1]), doubled))  # [2N, num_ws, w_dim]
        w0, w1 = np.split(w, 2)
        ws = [w0 + (w1 - w0) * moved[..., None] for moved in (t, t + step)]
        w = np.concatenate(ws)
    else:
        z = np.concatenate([slerp(z0, z1, moved) for moved in (t, t + step)])
        w = np.asarray(mapping(z, doubled))
    images = detector_images(synthesize(w), path.crop, convention)
    first, second = np.split(images, 2)
    return np.asarray(distance(first, second)) / np.float32(epsilon) ** 2


class PathSampler:
    """Path lengths of the pairs of latents of a seed.

    Each batch has its own draws, a function of the seed and the batch's first pair. Per batch
    they are t, then both latents in one block, then the labels, then one noise for all images.

    Args:
        generator: a `tf_sg2.Generator`; its mapping and synthesis are called.
        distance: as in `path_lengths`; the official metric takes LPIPS of VGG16, which is
            `LPIPS("vgg16", weights).of_pixels`.
        name: a key of `PATHS`.
        batch_size: pairs per batch; images of a batch share their noise.
        labels: of the training images, [M, label_dim]; one is drawn per pair. None without
            labels.
        seed: of all draws.
        epsilon: the step.
        convention: "pytorch" takes the first half of the latents as starts. "tensorflow1" takes
            every other one, and differs in `detector_images`.

    Call: (first pair, a multiple of `batch_size`; count) -> float32 [count].

    Raises:
        InputError: for an unknown name or convention, or no pairs.
    """

    def __init__(
        self,
        generator: Any,
        distance: Callable,
        name: str = "ppl2_wend",
        batch_size: int = BATCH_PAIRS,
        labels: np.ndarray | None = None,
        seed: int = 0,
        epsilon: float = EPSILON,
        convention: str = "pytorch",
    ):
        conventions.check(convention)
        if name not in PATHS:
            raise InputError(f"there is no path length {name!r}; take one of {', '.join(PATHS)}")
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1")
        import tensorflow as tf  # The maths above does without.

        self.distance, self.name, self.batch_size = distance, name, batch_size
        self.labels, self.seed = labels, seed
        self.epsilon, self.convention = epsilon, convention
        self.z_dim = generator.config.z_dim
        self.mapping = tf.function(
            lambda z, given: generator.mapping(z, given), reduce_retracing=True
        )
        self.synthesis = tf.function(
            lambda w, seeds: generator.synthesis(w, noise_seeds=seeds), reduce_retracing=True
        )

    def __call__(
        self, first: int, count: int, step: Callable[[int], None] | None = None
    ) -> np.ndarray:
        """Returns the lengths of pairs `first` to `first + count`; calls `step` per batch."""
        lengths = []
        for start in range(first, first + count, self.batch_size):
            lengths.append(self._batch(start, min(self.batch_size, first + count - start)))
            if step:
                step(start + len(lengths[-1]))
        return np.concatenate(lengths)

    def _batch(self, start: int, count: int) -> np.ndarray:
        draws = _draw(self.z_dim, count, self.labels, [self.seed, start], self.convention)
        noise_seeds = np.tile(draws.noise_seed, (2 * count, 1))
        return path_lengths(
            self.mapping,
            lambda w: self.synthesis(w, noise_seeds),
            self.distance,
            draws.z0,
            draws.z1,
            draws.t,
            draws.labels,
            PATHS[self.name],
            self.epsilon,
            self.convention,
        )


def perceptual_path_length(
    generator: Any,
    distance: Callable,
    name: str = "ppl2_wend",
    pairs: int = 50_000,
    batch_size: int = BATCH_PAIRS,
    labels: np.ndarray | None = None,
    seed: int = 0,
    epsilon: float = EPSILON,
    convention: str = "pytorch",
) -> float:
    """Returns the filtered mean of the path lengths of many pairs of latents.

    Args:
        generator: as in `PathSampler`, like all other arguments.
        distance: see there.
        name: see there.
        pairs: 50,000 in the official metrics.
        batch_size: see there.
        labels: see there.
        seed: see there.
        epsilon: see there.
        convention: see there.

    Raises:
        InputError: for an unknown name or convention, or no pairs.
    """
    if pairs < 1 or batch_size < 1:
        raise InputError(f"pairs is {pairs} and batch_size {batch_size}; both must be at least 1")
    sampler = PathSampler(generator, distance, name, batch_size, labels, seed, epsilon, convention)
    return filtered_mean(sampler(0, pairs))


class _Draws(NamedTuple):
    t: np.ndarray  # [N]
    z0: np.ndarray  # [N, z_dim]
    z1: np.ndarray  # [N, z_dim]
    labels: np.ndarray | None  # [N, label_dim]
    noise_seed: np.ndarray  # [2]


def _draw(z_dim, count, labels, seed, convention) -> _Draws:
    random = np.random.default_rng(seed)
    t = random.random(count, np.float32)
    z = random.standard_normal([2 * count, z_dim], np.float32)
    z0, z1 = (z[0::2], z[1::2]) if convention == "tensorflow1" else (z[:count], z[count:])
    chosen = None if labels is None else labels[random.integers(len(labels), size=count)]
    noise_seed = random.integers(2**31 - 1, size=2, dtype=np.int32)
    return _Draws(t, z0, z1, chosen, noise_seed)

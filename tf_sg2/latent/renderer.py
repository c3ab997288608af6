"""Runs a generator on seeds, latents or w, always in batches of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from tf_sg2.errors import InputError
from tf_sg2.images import to_uint8
from tf_sg2.latent.seeds import latents_as, noise_seeds
from tf_sg2.networks.generator import Generator
from tf_sg2.networks.synthesis import NOISE_MODES

DEFAULT_BATCH_SIZE = 4


class Renderer:
    """Makes pictures with fixed settings; only the latent changes.

    Every batch has the same size: the last one is padded with copies. A convolution may sum in
    another order if the batch has another size. With one size, the picture of a seed does not
    depend on the other pictures of its batch.

    Args:
        generator: makes the pictures.
        label: float32 [label_dim] for all pictures; None for an unconditional model.
        truncation_psi: 1 for no truncation, 0 for the mean picture.
        truncation_cutoff: number of w, from the first, that are truncated; None for all.
        noise_mode: "const" (the stored noise), "none", or "random" (noise from the seed).
        batch_size: pictures per batch.
        seeds_as: how a seed becomes z, see `latents_as`.

    Raises:
        InputError: for an unusable value.
    """

    def __init__(
        self,
        generator: Generator,
        label: np.ndarray | None = None,
        truncation_psi: float = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "const",
        batch_size: int = DEFAULT_BATCH_SIZE,
        seeds_as: str = "philox",
    ):
        config = generator.config
        if noise_mode not in NOISE_MODES:
            raise InputError(
                f"there is no noise mode {noise_mode!r}; take one of {', '.join(NOISE_MODES)}"
            )
        if batch_size < 1:
            raise InputError(f"the batch size is {batch_size}; it must be at least 1")
        if not np.isfinite(truncation_psi):
            raise InputError(f"truncation_psi is {truncation_psi}; it must be a finite number")
        if truncation_cutoff is not None and not 0 <= truncation_cutoff <= config.num_ws:
            raise InputError(
                f"truncation_cutoff is {truncation_cutoff}; this model has layers "
                f"0...{config.num_ws - 1}, so it must be in 0...{config.num_ws}"
            )
        self.generator, self.label = generator, label
        self.truncation_psi, self.truncation_cutoff = float(truncation_psi), truncation_cutoff
        self.noise_mode, self.batch_size = noise_mode, batch_size
        self.seeds_as = seeds_as
        self._map = tf.function(self._map_batch)
        self._show = tf.function(self._show_batch)

    def map_seeds(self, seeds: Sequence[int]) -> np.ndarray:
        """Returns w of each seed, float32 [N, num_ws, w_dim], truncated."""
        return self.map_latents(self.latents(seeds))

    def latents(self, seeds: Sequence[int]) -> np.ndarray:
        """Returns z of each seed, float32 [N, z_dim]."""
        return latents_as(self.seeds_as, seeds, self.generator.config.z_dim)

    def map_latents(self, z: np.ndarray) -> np.ndarray:
        """Returns w of each z of [N, z_dim], float32 [N, num_ws, w_dim], truncated."""
        return np.concatenate(list(self._in_batches(self._map, np.asarray(z, np.float32))))

    def images(self, w: np.ndarray, seeds: Sequence[int] | None = None) -> Iterator[np.ndarray]:
        """Yields the picture of each w, uint8 [H, W, C].

        Args:
            w: [N, num_ws, w_dim].
            seeds: the noise of each picture; needed if `noise_mode` is "random".
        """
        w = np.asarray(w, np.float32)
        if self.noise_mode == "random" and seeds is None:
            raise InputError("noise_mode random needs seeds for the noise, but none were given")
        noise = np.asarray(noise_seeds(seeds if seeds is not None else [0] * len(w)))
        for batch in self._in_batches(self._show, w, noise):
            yield from batch

    def seed_images(self, seeds: Sequence[int]) -> Iterator[np.ndarray]:
        """Yields the picture of each seed, uint8 [H, W, C]; holds at most one batch in memory."""
        for start in range(0, len(seeds), self.batch_size):
            some = seeds[start : start + self.batch_size]
            yield from self.images(self.map_seeds(some), some)

    def _in_batches(self, function: Callable, *arrays: np.ndarray) -> Iterator[np.ndarray]:
        size = self.batch_size
        for start in range(0, len(arrays[0]), size):
            parts = [array[start : start + size] for array in arrays]
            count = len(parts[0])
            filled = (np.concatenate([p, np.repeat(p[-1:], size - count, axis=0)]) for p in parts)
            yield np.asarray(function(*map(tf.constant, filled)))[:count]

    def _map_batch(self, z: tf.Tensor) -> tf.Tensor:
        labels = None if self.label is None else tf.repeat(self.label[None], self.batch_size, 0)
        return self.generator.mapping(
            z,
            labels,
            truncation_psi=self.truncation_psi,
            truncation_cutoff=self.truncation_cutoff,
        )

    def _show_batch(self, w: tf.Tensor, noise: tf.Tensor) -> tf.Tensor:
        return to_uint8(self.generator.synthesis(w, noise_mode=self.noise_mode, noise_seeds=noise))

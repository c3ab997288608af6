"""The order of a data set's images in training, and which of them are mirrored.

Position p of the stream holds image `epoch_order(N, seed, p // N)[p % N]` of N images. A coin, a
pseudo-random bit that depends only on the seed and p, decides whether it is mirrored. Because
nothing depends on earlier reads, a resumed run continues at any position with the same images.
"""

from __future__ import annotations

import threading

import numpy as np

_ORDER, _COINS = 0, 1  # The two random streams of an epoch.


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns the order of `size` images in an epoch: a permutation, int64 [size].

    It sorts raw PCG64 output. NumPy promises that these bits never change, on any platform. It
    does not promise that for `Generator.permutation`.
    """
    return np.argsort(_random_bits(size, seed, epoch, _ORDER), kind="stable")


def epoch_coins(size: int, seed: int, epoch: int) -> np.ndarray:
    """Returns whether each position of an epoch is mirrored, bool [size]."""
    return _random_bits(size, seed, epoch, _COINS) >> np.uint64(63) == 1


def _random_bits(size: int, seed: int, epoch: int, stream: int) -> np.ndarray:
    generator = np.random.PCG64(np.random.SeedSequence([seed, epoch, stream]))
    return generator.random_raw(size)


class SampleOrder:
    """The image at each position of the stream, and whether it is mirrored; thread safe.

    Args:
        size: number of images.
        seed: seed of the run, 0 or more.
        mirror: whether a coin decides if an image is mirrored left to right. False mirrors none.
    """

    def __init__(self, size: int, seed: int, mirror: bool):
        self._size = size
        self._seed = seed
        self._mirror = mirror
        self._lock = threading.Lock()
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns image indices (int64 [n]) and coins (bool [n]) of `positions` (int64 [n])."""
        epochs, offsets = np.divmod(positions, self._size)
        indices = np.empty(len(positions), np.int64)
        coins = np.zeros(len(positions), bool)
        for epoch in np.unique(epochs):
            order, flips = self._epoch(int(epoch))
            inside = epochs == epoch
            indices[inside] = order[offsets[inside]]
            if self._mirror:
                coins[inside] = flips[offsets[inside]]
        return indices, coins

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            if epoch not in self._epochs:
                # Batches in flight may lie on both sides of an epoch's end: keep two epochs.
                for old in sorted(self._epochs)[:-1]:
                    del self._epochs[old]
                self._epochs[epoch] = (
                    epoch_order(self._size, self._seed, epoch),
                    epoch_coins(self._size, self._seed, epoch),
                )
            return self._epochs[epoch]

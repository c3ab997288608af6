"""Means and covariances that grow batch by batch, so that no set of features is kept."""

from __future__ import annotations

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.metrics.checks import blocks, checked_features


class Moments:
    """Count, mean and scatter matrix of feature rows, in float64.

    The mean and the scatter matrix are updated by the pairwise formula of Chan et al. (1979),
    which does not cancel. So the order of the batches changes the last digits only.

    Args:
        width: values per row.

    Example:
        moments = Moments(2048)
        for batch in batches:
            moments.add(features(batch))
        moments.mean, moments.covariance(ddof=0)
    """

    def __init__(self, width: int):
        self.count = 0
        self.mean = np.zeros(width)  # [d]
        self.scatter = np.zeros((width, width))  # [d, d], sum of centred outer products

    @classmethod
    def of(cls, features: np.ndarray) -> Moments:
        """Returns the moments of a whole set, float [N, d]."""
        features = checked_features(features, "the")
        moments = cls(features.shape[1])
        moments.add(features)
        return moments

    @property
    def width(self) -> int:
        """Values per row."""
        return len(self.mean)

    def add(self, features: np.ndarray) -> None:
        """Adds the rows of a batch, float [N, d].

        Raises:
            InputError: if they are empty, of another width, or not finite.
        """
        features = checked_features(features, "the")
        if features.shape[1] != self.width:
            raise InputError(
                f"features have {features.shape[1]} values per image; these moments hold "
                f"{self.width}"
            )
        for block in blocks(features):
            block = block.astype(np.float64)
            mean = block.mean(axis=0)
            centred = block - mean
            self._join(len(block), mean, centred.T @ centred)

    def merge(self, other: Moments) -> None:
        """Adds what another object has seen, such as another device's share.

        Raises:
            InputError: if it holds another width.
        """
        if other.width != self.width:
            raise InputError(f"moments of {other.width} and of {self.width} values do not join")
        if other.count:
            self._join(other.count, other.mean, other.scatter)

    def _join(self, count: int, mean: np.ndarray, scatter: np.ndarray) -> None:
        total = self.count + count
        step = mean - self.mean
        self.scatter += scatter + np.outer(step, step) * (self.count * count / total)
        self.mean = self.mean + step * (count / total)
        self.count = total

    def covariance(self, ddof: int = 0) -> np.ndarray:
        """Returns the covariance matrix [d, d]: the scatter matrix over `count - ddof`.

        Raises:
            InputError: if there are too few rows for the division.
        """
        if self.count <= ddof:
            raise InputError(
                f"a covariance with ddof {ddof} needs at least {ddof + 1} images; "
                f"there are {self.count}"
            )
        return self.scatter / (self.count - ddof)

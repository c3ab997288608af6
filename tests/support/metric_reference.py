"""Numbers of the official metrics: copies in the repository, so that a clone is enough."""

from __future__ import annotations

import numpy as np

import checkout

REFERENCE = checkout.REFERENCE / "metrics"


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(REFERENCE / f"{name}.npz") as archive:
        return dict(archive)


def groups(archive: dict[str, np.ndarray], prefix: str) -> dict[str, float]:
    """Returns the entries under a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in archive.items()
        if name.startswith(prefix)
    }

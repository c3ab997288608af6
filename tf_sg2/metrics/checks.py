"""What every metric asks of a set of features before it computes anything."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tf_sg2.errors import InputError

BLOCK_ROWS = 4096  # Rows that are converted to float64 at a time.


def blocks(rows: np.ndarray, size: int = BLOCK_ROWS) -> Iterator[np.ndarray]:
    """Yields consecutive views of at most `size` rows."""
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def checked_features(features: np.ndarray, name: str) -> np.ndarray:
    """Returns features as a floating array [N, d].

    Args:
        features: numbers [N, d]; float32 and float64 stay as they are.
        name: what the message calls them, such as "real".

    Raises:
        InputError: if they are no such array, are empty, or hold a value that is not finite.
    """
    array = np.asarray(features)
    if array.ndim != 2 or array.dtype.kind not in "fiub":
        raise InputError(
            f"{name} features have shape {array.shape} and type {array.dtype}; "
            "they must be numbers [N, d], one row per image"
        )
    if 0 in array.shape:
        raise InputError(f"{name} features have shape {array.shape}; give at least one image")
    if array.dtype not in (np.float32, np.float64):
        array = array.astype(np.float32 if array.dtype == np.float16 else np.float64)
    first = 0
    for block in blocks(array):
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = first + int(np.argmin(finite))
            raise InputError(
                f"{name} features of image {row} are not finite; look at that image and at the "
                "weights of the feature network"
            )
        first += len(block)
    return array


def checked_pair(real: np.ndarray, generated: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns both sets as floating arrays [N, d] and [M, d].

    Raises:
        InputError: as `checked_features`, or if the two widths differ.
    """
    real = checked_features(real, "real")
    generated = checked_features(generated, "generated")
    if real.shape[1] != generated.shape[1]:
        raise InputError(
            f"real features have {real.shape[1]} values per image, generated ones "
            f"{generated.shape[1]}; take both from the same feature network"
        )
    return real, generated

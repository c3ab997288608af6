"""Shares of a data set by thresholds on a hash of each image's key."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

import numpy as np

from tf_sg2.errors import InputError

# The set of all images that no share takes.
TRAINING = "training"
HOLDOUT = "holdout"
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_BITS = 53  # A float64 holds as many bits exactly.


def position(key: bytes) -> float:
    """Returns the place of a key in [0, 1): uniform over keys, and the same on every platform."""
    digest = hashlib.sha256(b"tf_sg2 split " + key).digest()
    return (int.from_bytes(digest[:8], "big") >> (64 - _BITS)) / 2**_BITS


def set_of(key: bytes, shares: Mapping[str, float]) -> str:
    """Returns the name of the set that a key belongs to.

    The shares lie side by side from 0, in their order. So a larger first share holds every key of
    a smaller one.

    Args:
        key: the key of an image or of a group.
        shares: share of each set besides training, by its name.
    """
    place, end = position(key), 0.0
    for name, share in shares.items():
        end += share
        if place < end:
            return name
    return TRAINING


def divide(keys: Iterable[bytes], shares: Mapping[str, float]) -> dict[str, np.ndarray]:
    """Returns the indices of the images of each set, ascending, int64 [n].

    Args:
        keys: key of each image.
        shares: share of each set besides training, by its name.
    """
    found: dict[str, list[int]] = {TRAINING: [], **{name: [] for name in shares}}
    for index, key in enumerate(keys):
        found[set_of(key, shares)].append(index)
    return {name: np.asarray(indices, np.int64) for name, indices in found.items()}


def parse_shares(text: str) -> dict[str, float]:
    """Reads "holdout:0.1,reference:0.1"; all other images are the set "training".

    Raises:
        InputError: for a part without a name and a share, a repeated or a bad name, a share that
            is not between 0 and 1, or shares that leave nothing for training.
    """
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, colon, number = part.strip().partition(":")
        try:
            share = float(number)
        except ValueError:
            share = -1.0
        if not colon or not 0 < share < 1:
            raise InputError(
                f"--split has the part {part!r}; give NAME:SHARE with a share between 0 and 1, "
                "such as holdout:0.1"
            )
        if not _NAME.fullmatch(name) or name == TRAINING:
            raise InputError(
                f"--split names a set {name!r}; a name has small letters, digits, - and _, and "
                f"{TRAINING} is the name of the images that remain"
            )
        if name in shares:
            raise InputError(f"--split names the set {name} twice; keep one")
        shares[name] = share
    if sum(shares.values()) >= 1:
        raise InputError(
            f"--split={text} leaves no images for training; give shares with a sum below 1"
        )
    return shares

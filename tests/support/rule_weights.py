"""Weights made by a rule, so that the reference and the tests need no trained ones."""

from __future__ import annotations

import functools
import zlib

import numpy as np

import checkout

NETS = checkout.REFERENCE / "nets"


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(NETS / f"{name}.npz") as archive:
        return dict(archive)


def names(file: str, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Returns full name -> shape, from a list of lines such as `fc.bias [1008]`."""
    entries = {}
    for line in (NETS / file).read_text(encoding="utf-8").splitlines():
        name, shape = line.split(" ", 1)
        entries[prefix + name] = tuple(int(n) for n in shape.strip("[]").split(",") if n.strip())
    return entries


def array(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The rule: drawn by the name's CRC-32, scaled by its last part."""
    part = name.rsplit(".", 1)[1]
    if part == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    z = np.random.RandomState(zlib.crc32(name.encode())).randn(*shape)
    if part == "weight":
        z = 1 + 0.1 * z if len(shape) == 1 else z * np.sqrt(2 / np.prod(shape[1:]))
    elif part in ("bias", "running_mean"):
        z = 0.1 * z
    else:
        z = np.exp(0.2 * z)
    return z.astype(np.float32)


@functools.cache
def inception() -> dict[str, np.ndarray]:
    shapes = names("inception_names.txt", "inception.")
    return {name: array(name, shape) for name, shape in shapes.items()}


@functools.cache
def trunk(prefix: str) -> dict[str, np.ndarray]:
    shapes = names("lpips_trunk_names.txt")
    return {name: array(name, shapes[name]) for name in shapes if name.startswith(prefix)}

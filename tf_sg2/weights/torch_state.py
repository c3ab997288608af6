"""Weights by the names and layouts of the official PyTorch release's state dictionaries."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator
from tf_sg2.ops import resample_kernel
from tf_sg2.weights.names import Entry, discriminator_entries, generator_entries

# Buffers of the official networks that hold the resampling kernel, which is configuration here.
FILTER_SUFFIX = ".resample_filter"


def load_torch_state(
    generator: Generator | None,
    discriminator: Discriminator | None,
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Fills networks from arrays named `G/<official name>` and `D/<official name>`.

    Either half may be missing. Nothing is changed unless everything fits. Keys of neither
    half are ignored, so that an archive may hold more.

    Args:
        generator: filled from `G/...`; None ignores that half.
        discriminator: filled from `D/...`; None ignores that half.
        arrays: name -> array, official layout (NCHW, kernels [out, in, k, k]).

    Raises:
        InputError: naming every array that is missing, left over or of another shape, or where
            the official resampling filter is not the configured one.
    """
    assignments: list[tuple[Entry, np.ndarray]] = []
    problems: list[str] = []
    for letter, network, entries in (
        ("G", generator, generator_entries),
        ("D", discriminator, discriminator_entries),
    ):
        half = {name[2:]: name for name in arrays if name.startswith(f"{letter}/")}
        if network is None or not half:
            continue
        kernel = resample_kernel(network.config.resample_filter)
        for name in [name for name in half if name.endswith(FILTER_SUFFIX)]:
            theirs = np.asarray(arrays[half.pop(name)])
            if theirs.shape != kernel.shape or not np.allclose(theirs, kernel, atol=1e-6):
                problems.append(f"{letter}/{name} is not the filter of the configuration")
        for entry in entries(network):
            if entry.name not in half:
                problems.append(f"{letter}/{entry.name} is missing")
                continue
            official = np.asarray(arrays[half.pop(entry.name)])
            ours = tuple(entry.variable.shape)
            expected = entry.to_official(np.empty(ours, np.bool_)).shape
            if official.shape != expected:
                problems.append(
                    f"{letter}/{entry.name} has shape {official.shape}, expected {expected}"
                )
                continue
            assignments.append((entry, entry.from_official(official)))
        problems.extend(f"{letter}/{name} is left over" for name in half)
    if problems:
        raise InputError("the weights do not fit the networks: " + "; ".join(problems))
    if not assignments:
        raise InputError("no array is named G/... or D/... for a network that was given")
    for entry, value in assignments:
        entry.variable.assign(value.astype(np.float32))


def export_torch_state(
    generator: Generator | None, discriminator: Discriminator | None
) -> dict[str, np.ndarray]:
    """Returns what `load_torch_state` reads: official names and layouts, without filter buffers."""
    halves = []
    if generator is not None:
        halves.append(("G", generator_entries(generator)))
    if discriminator is not None:
        halves.append(("D", discriminator_entries(discriminator)))
    return {
        f"{letter}/{entry.name}": entry.to_official(np.asarray(entry.variable)).copy()
        for letter, entries in halves
        for entry in entries
    }

"""Loading and exporting weights with the names and layouts of the official PyTorch release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator
from tf_sg2.ops import resample_kernel
from tf_sg2.weights.filling import Assignment, assign, matched
from tf_sg2.weights.names import Entry, discriminator_entries, generator_entries

# Official buffers with this suffix hold the resampling kernel. Here it is configuration.
FILTER_SUFFIX = ".resample_filter"


def load_torch_state(
    generator: Generator | None,
    discriminator: Discriminator | None,
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Fills networks from arrays named `G/<official name>` and `D/<official name>`.

    Either half may be missing. No weight changes unless all fit. Keys that begin with neither
    prefix are ignored, so an archive may hold other arrays.

    Args:
        generator: receives `G/...`; None ignores that half.
        discriminator: receives `D/...`; None ignores that half.
        arrays: name -> array, official layout (NCHW, kernels [out, in, k, k]).

    Raises:
        InputError: if an array is missing, left over or of another shape, or if the official
            resampling filter differs from the configured one. The message names every such array.
    """
    assignments: list[Assignment] = []
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
                problems.append(
                    f"{letter}/{name} is not the configured filter "
                    f"{tuple(network.config.resample_filter)}"
                )
        fitting, misfits = matched(letter, half, arrays, entries(network))
        assignments += fitting
        problems += misfits
    assign(assignments, problems)


def export_torch_state(
    generator: Generator | None, discriminator: Discriminator | None
) -> dict[str, np.ndarray]:
    """Returns arrays that `load_torch_state` reads: official names and layouts, no filters."""
    halves: list[tuple[str, Iterator[Entry]]] = []
    if generator is not None:
        halves.append(("G", generator_entries(generator)))
    if discriminator is not None:
        halves.append(("D", discriminator_entries(discriminator)))
    return {
        f"{letter}/{entry.name}": entry.to_official(np.asarray(entry.variable)).copy()
        for letter, entries in halves
        for entry in entries
    }

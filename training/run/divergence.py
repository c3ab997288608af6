"""Divergence: which values say that a run cannot go on."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tf_sg2.errors import InputError
from tf_sg2.training.cluster.failures import EveryWorkerError

# The run stops when this number of updates of a network in a row were skipped, because a gradient
# was not finite.
MOST_SKIPS_IN_A_ROW = 20


class DivergenceError(InputError, EveryWorkerError):
    """The run cannot go on; the message names what is not finite, the step and the checkpoint.

    A loss or a variable of the state became NaN or infinite. Or too many updates of a network in a
    row were skipped because a gradient was not finite.
    """


def fault_in(
    scalars: Mapping[str, float], skips_in_a_row: Mapping[str, int], iteration: int
) -> str | None:
    """Returns what diverged in an iteration, or None.

    Args:
        scalars: the iteration's scalars by name.
        skips_in_a_row: of each network, the number of skipped updates in a row.
        iteration: the number of the iteration.
    """
    for name, value in scalars.items():
        if not math.isfinite(value):
            return f"{name} became {value} in iteration {iteration}"
    for name, count in skips_in_a_row.items():
        if count >= MOST_SKIPS_IN_A_ROW:
            return (
                f"{count} updates of the {name} in a row were skipped, because a gradient was "
                f"not finite, until iteration {iteration}"
            )
    return None

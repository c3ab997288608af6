"""How long iterations take, how evenly, and which worker holds the others up.

Replicas of one process are started together and wait for each other in every all-reduce, so each
replica's own time cannot be seen from outside: its throughput is that of all divided by their
number. What can be seen is how iterations differ from each other, and, between workers, the
time that each spends on the host before it joins an iteration: waiting for data and dealing it out.
A slow GPU makes all workers equally slow; only a profile tells it (`all_reduce.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class StepTimes:
    """The iterations between two lines of the log."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.preparations: list[float] = []

    def add(self, step: float, preparation: float) -> None:
        """Notes one iteration: its seconds, and those of them before it was started."""
        self.steps.append(step)
        self.preparations.append(preparation)

    def means(self) -> tuple[float, float]:
        """Returns the mean seconds of an iteration, and of what precedes it on the host."""
        return float(np.mean(self.steps)), float(np.mean(self.preparations))

    def scalars(self, images: int, replicas: int) -> dict[str, float]:
        """Returns what this process sees, by the scalars' names.

        The throughput is that of the iterations alone, without samples and checkpoints.

        Args:
            images: shown in these iterations, by all replicas together.
            replicas: how many share them.
        """
        if not self.steps:
            return {}
        seconds = float(np.sum(self.steps))
        low, median, high = np.percentile(self.steps, (5, 50, 95))
        return {
            "timing/images_per_second_per_replica": images / seconds / replicas,
            "timing/step_seconds_median": float(median),
            "timing/step_seconds_p95": float(high),
            # Iterations with lazy terms take longer: a spread of their share is no straggling.
            "timing/step_seconds_spread": float((high - low) / median),
        }


def compare_workers(rows: Sequence[Sequence[float]]) -> dict[str, float]:
    """Returns how workers differ, from [mean step seconds, mean preparation seconds] of each.

    `timing/worker_step_spread` is (slowest - fastest) / mean of a step's seconds, near zero as
    long as all wait for each other; `timing/worker_preparation_max` the longest mean time on
    the host before a step, in seconds; `timing/worker_slowest` that worker's number. Nothing for
    one worker.
    """
    if len(rows) < 2:
        return {}
    steps, preparations = np.asarray(rows, np.float64).T
    return {
        "timing/worker_step_spread": float(np.ptp(steps) / steps.mean()),
        "timing/worker_preparation_max": float(preparations.max()),
        "timing/worker_slowest": int(preparations.argmax()),
    }

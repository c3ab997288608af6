"""How long iterations take, how evenly, and which worker delays the others.

Replicas of one process start together and wait for each other in every all-reduce. So a replica's
own time cannot be measured from outside, and its throughput is the mean over replicas. Two things
can be measured: how iterations differ from each other, and how long each worker prepares an
iteration on the host (waiting for data and distributing it). A slow GPU makes all workers equally
slow, and only a profile shows it (`all_reduce.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


class StepTimes:
    """The times of the iterations between two lines of the log."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.preparations: list[float] = []

    def add(self, step: float, preparation: float) -> None:
        """Adds one iteration: its seconds, and its seconds of preparation on the host."""
        self.steps.append(step)
        self.preparations.append(preparation)

    def means(self) -> tuple[float, float]:
        """Returns the mean seconds of an iteration, and of its preparation on the host."""
        return float(np.mean(self.steps)), float(np.mean(self.preparations))

    def scalars(self, images: int, replicas: int) -> dict[str, float]:
        """Returns the scalars of this process by name.

        The throughput covers only the iterations, not samples and checkpoints.

        Args:
            images: number of images of these iterations, over all replicas.
            replicas: number of replicas.
        """
        if not self.steps:
            return {}
        seconds = float(np.sum(self.steps))
        low, median, high = np.percentile(self.steps, (5, 50, 95))
        return {
            "timing/images_per_second_per_replica": images / seconds / replicas,
            "timing/step_seconds_median": float(median),
            "timing/step_seconds_p95": float(high),
            # Iterations with lazy terms take longer, so they make the spread large without a fault.
            "timing/step_seconds_spread": float((high - low) / median),
        }


def compare_workers(rows: Sequence[Sequence[float]] | np.ndarray) -> dict[str, float]:
    """Returns scalars that compare workers; none for one worker.

    `timing/worker_step_spread` is (slowest - fastest) / mean of a step's seconds. It is near zero
    if all workers wait for each other. `timing/worker_preparation_max` is the longest mean
    preparation in seconds, and `timing/worker_slowest` the number of its worker.

    Args:
        rows: `StepTimes.means` of each worker.
    """
    if len(rows) < 2:
        return {}
    steps, preparations = np.asarray(rows, np.float64).T
    return {
        "timing/worker_step_spread": float(np.ptp(steps) / steps.mean()),
        "timing/worker_preparation_max": float(preparations.max()),
        "timing/worker_slowest": int(preparations.argmax()),
    }

"""What is measured between two lines of the log."""

from __future__ import annotations

import resource
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field

import tensorflow as tf

from tf_sg2.training.monitor.step_times import StepTimes


@dataclass
class Tick:
    """The iterations since the last line of the log.

    Attributes:
        started: when the tick began.
        waited: seconds of waiting for data.
        images: images shown, over all workers.
        steps: the times of the iterations.
        sums: the sum of each scalar.
        counts: how many iterations have each scalar.
    """

    started: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    images: int = 0
    steps: StepTimes = field(default_factory=StepTimes)
    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, scalars: dict[str, float]) -> None:
        """Adds the scalars of one iteration."""
        for name, value in scalars.items():
            self.sums[name] += value
            self.counts[name] += 1

    def leave_out(self, seconds: float) -> None:
        """Leaves a pause of the training out of the speed."""
        self.started += seconds

    def scalars(self) -> dict[str, float]:
        """Returns the means over the tick, and its speed."""
        seconds = time.perf_counter() - self.started
        return {
            **{name: self.sums[name] / self.counts[name] for name in sorted(self.sums)},
            "timing/images_per_second": self.images / seconds,
            "timing/seconds_per_kimg": 1000 * seconds / max(self.images, 1),
            "timing/data_wait_share": self.waited / seconds,
        }


def memory_gib() -> dict[str, float]:
    """Returns the peak memory in GiB of the process and of each GPU in use."""
    scale = 2**30 if sys.platform == "darwin" else 2**20  # ru_maxrss: bytes there, KiB here.
    found = {"memory/process_peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale}
    for i, device in enumerate(tf.config.list_logical_devices("GPU")):
        info = tf.config.experimental.get_memory_info(device.name.removeprefix("/device:"))
        found[f"memory/gpu{i}_peak_gib"] = info["peak"] / 2**30
    return found

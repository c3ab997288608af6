"""What is summed up between two lines of the log."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

from tf_sg2.training.monitor.step_times import StepTimes


@dataclass
class Tick:
    """The iterations since the last line: their scalars, their images, their time."""

    started: float = field(default_factory=time.perf_counter)
    waited: float = 0.0
    images: int = 0
    steps: StepTimes = field(default_factory=StepTimes)
    sums: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, scalars: dict[str, float]) -> None:
        for name, value in scalars.items():
            self.sums[name] += value
            self.counts[name] += 1

    def scalars(self) -> dict[str, float]:
        """Means over the tick, and its speed."""
        seconds = time.perf_counter() - self.started
        return {
            **{name: self.sums[name] / self.counts[name] for name in sorted(self.sums)},
            "timing/images_per_second": self.images / seconds,
            "timing/seconds_per_kimg": 1000 * seconds / max(self.images, 1),
            "timing/data_wait_share": self.waited / seconds,
        }

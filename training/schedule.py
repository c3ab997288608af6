"""When the parts of a run are due, counted in iterations.

A configuration gives durations in kimg, thousands of real images shown. Only this module turns
them into iterations.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tf_sg2.config import TrainingConfig


def steps_for(kimg: float, batch_size: int) -> int:
    """Returns how many iterations show `kimg` thousand images: rounded up, and at least one."""
    return max(1, math.ceil(kimg * 1000 / batch_size))


def is_due(iteration: int, interval: int) -> bool:
    """Returns whether something with this interval is due; with interval 0 it never is."""
    return interval > 0 and iteration % interval == 0


class Schedule(NamedTuple):
    """The durations of a run in iterations."""

    total: int
    tick: int
    checkpoint: int
    sample: int


def schedule_of(training: TrainingConfig) -> Schedule:
    """Returns the schedule of a configuration."""
    return Schedule(
        total=steps_for(training.total_kimg, training.batch_size),
        tick=steps_for(training.tick_kimg, training.batch_size),
        checkpoint=steps_for(training.checkpoint_kimg, training.batch_size),
        sample=steps_for(training.sample_kimg, training.batch_size),
    )

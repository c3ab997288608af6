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
    metrics: int
    lasting: int  # Checkpoints that are kept for ever; 0 for no such ones.


def schedule_of(training: TrainingConfig) -> Schedule:
    """Returns the schedule of a configuration."""
    every = training.checkpoints_every_kimg
    return Schedule(
        total=steps_for(training.total_kimg, training.batch_size),
        tick=steps_for(training.tick_kimg, training.batch_size),
        checkpoint=steps_for(training.checkpoint_kimg, training.batch_size),
        sample=steps_for(training.sample_kimg, training.batch_size),
        metrics=steps_for(training.metrics_kimg or training.sample_kimg, training.batch_size),
        lasting=steps_for(every, training.batch_size) if every else 0,
    )


def is_lasting(iteration: int, schedule: Schedule) -> bool:
    """Returns whether the checkpoint of an iteration is kept for ever.

    It is the first checkpoint of the schedule at or after each multiple of `lasting`. A checkpoint
    beside the schedule, such as one after a signal, never lasts.
    """
    if not schedule.lasting or not is_due(iteration, schedule.checkpoint):
        return False
    before = iteration - schedule.checkpoint
    return iteration // schedule.lasting > before // schedule.lasting

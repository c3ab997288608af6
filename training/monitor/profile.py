"""TensorFlow's profiler: at most one recording per process, also if the run rolls back."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

# The recording starts after this number of iterations, when all passes are compiled.
AFTER = 10


class Profile:
    """A profile of some iterations, for TensorBoard's profile page.

    Args:
        path: the run directory.
        iterations: how many iterations it records; 0 for no profile.
    """

    def __init__(self, path: Path, iterations: int):
        self.path, self.iterations = path, iterations
        self.recorded = 0
        self.is_recording = False

    def before_iteration(self, done: int) -> bool:
        """Starts or ends the recording if that is due; returns whether it ended.

        Args:
            done: iterations since the process started, or since it rolled back.
        """
        if self.is_recording:
            self.recorded += 1
            return self.recorded == self.iterations and self.stop()
        if done == AFTER and self.iterations and not self.recorded:
            tf.profiler.experimental.start(str(self.path))
            self.is_recording = True
        return False

    def stop(self) -> bool:
        """Ends the recording; returns whether there was one."""
        was_recording, self.is_recording = self.is_recording, False
        if was_recording:
            tf.profiler.experimental.stop()
        return was_recording

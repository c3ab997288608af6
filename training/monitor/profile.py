"""The recording of TensorFlow's profiler: one a process, which outlives a rollback of the run."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

# Iterations before the recording starts: compilation is over, buffers are warm.
AFTER = 10


class Profile:
    """A profile of some iterations, for TensorBoard's profile page.

    Args:
        path: the run directory.
        iterations: how many it records; 0 for no profile.
    """

    def __init__(self, path: Path, iterations: int):
        self.path, self.iterations = path, iterations
        self.recorded = 0
        self.is_recording = False

    def before_iteration(self, done: int) -> bool:
        """Starts or ends the recording where that is due; returns whether it ended.

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
        """Ends a recording, as on an error; returns whether there was one."""
        was_recording, self.is_recording = self.is_recording, False
        if was_recording:
            tf.profiler.experimental.stop()
        return was_recording

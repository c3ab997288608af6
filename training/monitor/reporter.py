"""What the chief reports during a run: a line per tick, pictures, measurements, a profile."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tf_sg2.errors import InputError
from tf_sg2.training.monitor.all_reduce import profiled_all_reduce
from tf_sg2.training.monitor.measurements import Measurements
from tf_sg2.training.monitor.profile import Profile
from tf_sg2.training.monitor.run_log import RunLog
from tf_sg2.training.monitor.samples import SampleGrid, readable_images
from tf_sg2.training.monitor.step_times import compare_workers
from tf_sg2.training.monitor.tick import Tick, memory_gib
from tf_sg2.training.run.devices import local_replicas
from tf_sg2.training.run.start import TrainingRun


class Reporter:
    """Writes the scalars, pictures and profiles of a run to its log.

    Args:
        run: the chief's run.
        log: its log.
        profile_iterations: how many iterations the profiler records, after the tenth.
        on_bad_image: called for an image that cannot be read, and the next one is shown. None
            makes this an error.
    """

    def __init__(
        self,
        run: TrainingRun,
        log: RunLog,
        profile_iterations: int,
        on_bad_image: Callable[[int, InputError], None] | None = None,
    ):
        self.run, self.config, self.state, self.log = run, run.config, run.state, log
        self.strategy = run.workers.strategy
        training = self.config.training
        count = training.sample_rows * training.sample_columns
        indices, self.reals = readable_images(run.source, count, on_bad_image)
        labels = None
        if self.config.generator.label_dim:
            labels = np.stack([run.source.label(i) for i in indices])
        self.samples = SampleGrid(self.state.generator_ema, self.config, labels)
        self.measurements = Measurements(run, log, on_bad_image)
        if run.profile is None:
            run.profile = Profile(run.directory.path, profile_iterations)
        self.recording = run.profile

    def show_reals(self) -> None:
        """Writes the real images, for comparison with the samples."""
        self.log.picture("reals", self.reals, 0, self.config.training.sample_columns)

    def tick(self, tick: Tick, worker_times: np.ndarray, skipped_images: int) -> None:
        """Writes one line of the log.

        Args:
            tick: the iterations since the last line.
            worker_times: float [workers, 2], `StepTimes.means` of each worker.
            skipped_images: how many images were skipped, over all workers.
        """
        seen = int(self.state.images_seen.numpy())
        scalars = tick.scalars()
        scalars.update(tick.steps.scalars(tick.images, self.strategy.num_replicas_in_sync))
        scalars.update(compare_workers(worker_times))
        scalars["data/skipped_images"] = skipped_images
        for name in ("generator", "discriminator"):
            optimizer = getattr(self.state, f"{name}_optimizer")
            scalars[f"learning_rate/{name}"] = float(tf.convert_to_tensor(optimizer.learning_rate))
            skips = getattr(self.state, f"{name}_skips")
            scalars[f"skipped_steps/{name}"] = int(skips.numpy()[0])
        scalars.update(memory_gib())
        scalars["iteration"] = int(self.state.iteration.numpy())
        self.log.tick(seen, scalars)
        self.log.progress(
            seen,
            f"G {scalars['loss/generator']:.2f} D {scalars['loss/discriminator']:.2f} "
            f"{scalars['timing/images_per_second']:.0f} img/s",
        )

    def sample(self) -> None:
        """Writes samples of the EMA generator."""
        seen = int(self.state.images_seen.numpy())
        training = self.config.training
        for psi in dict.fromkeys((training.sample_truncation_psi, 1.0)):
            images = self.samples.images(psi)
            self.log.picture(f"fakes_psi{psi:g}", images, seen, training.sample_columns)
        if self.config.generator.label_dim:
            psi = training.sample_truncation_psi
            images = self.samples.class_images(psi)
            self.log.picture(f"classes_psi{psi:g}", images, seen, training.sample_columns)
        shares = self.samples.to_rgb_shares()
        if shares:
            self.log.tick(seen, shares)

    def measure(self, still_working: Callable[[], None]) -> None:
        """Measures the state, see `Measurements.measure`."""
        self.measurements.measure(still_working)

    def profile(self, done: int) -> None:
        """Starts or stops the profiler, `done` iterations after the start of the process."""
        if self.recording.before_iteration(done):
            self._report_all_reduce(self.recording.recorded)

    def stop_profile(self) -> None:
        """Ends the recording of a profile, if there is one."""
        if self.recording.stop():
            self._report_all_reduce(self.recording.recorded + 1)

    def _report_all_reduce(self, iterations: int) -> None:
        if self.strategy.num_replicas_in_sync < 2:
            return
        replicas = local_replicas(self.strategy)
        seconds = profiled_all_reduce(self.run.directory.path, iterations, replicas)
        if seconds is None:
            self.run.say("the profile shows no all-reduce, so the time in it is not known")
            return
        seen = int(self.state.images_seen.numpy())
        self.log.tick(seen, {"timing/all_reduce_seconds_per_step": seconds})

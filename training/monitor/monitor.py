"""What the chief tells while a run goes on: a line a tick, pictures, a profile."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError
from tf_sg2.training.monitor.all_reduce import profiled_all_reduce
from tf_sg2.training.monitor.profile import Profile
from tf_sg2.training.monitor.run_log import SampleGrid, memory_gib
from tf_sg2.training.monitor.step_times import compare_workers
from tf_sg2.training.monitor.tick import Tick
from tf_sg2.training.run.devices import local_replicas
from tf_sg2.training.run.start import Run


class Report:
    """Writes the scalars, pictures and profiles of a run to its log.

    Args:
        run: whose.
        profile_iterations: how many iterations the profiler records, after the tenth.
        on_bad_image: told of an image that cannot be read, for which the next one is shown; without
            it, such an image is an error.
    """

    def __init__(
        self,
        run: Run,
        profile_iterations: int,
        on_bad_image: Callable[[int, InputError], None] | None = None,
    ):
        self.run, self.config, self.state, self.log = run, run.config, run.state, run.log
        self.strategy = run.workers.strategy
        training = self.config.training
        count = training.sample_rows * training.sample_columns
        shown, self.reals = _readable(run.source, count, on_bad_image)
        labels = None
        if self.config.generator.label_dim:
            labels = np.stack([run.source.label(i) for i in shown])
        self.samples = SampleGrid(self.state.generator_ema, self.config, labels)
        if run.profile is None:
            run.profile = Profile(run.directory.path, profile_iterations)
        self.recording = run.profile

    def show_reals(self) -> None:
        """Writes the real images that stand beside the samples."""
        self.log.picture("reals", self.reals, 0, self.config.training.sample_columns)

    def tick(self, tick: Tick, times: Sequence[Sequence[float]], skipped: int) -> None:
        """Writes a line: the tick's means, each worker's `StepTimes.means`, images skipped."""
        seen = int(self.state.images_seen.numpy())
        scalars = tick.scalars()
        scalars.update(tick.steps.scalars(tick.images, self.strategy.num_replicas_in_sync))
        scalars.update(compare_workers(times))
        scalars["data/skipped_images"] = skipped
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
        """Writes the pictures of the EMA generator's samples."""
        seen = int(self.state.images_seen.numpy())
        training = self.config.training
        for psi in dict.fromkeys((training.sample_truncation_psi, 1.0)):
            images = self.samples.images(psi)
            self.log.picture(f"fakes_psi{psi:g}", images, seen, training.sample_columns)
        shares = self.samples.to_rgb_shares()
        if shares:
            self.log.tick(seen, shares)

    def profile(self, done: int) -> None:
        """Starts and stops the profiler, `done` iterations after the start of the process."""
        if self.recording.before_iteration(done):
            self._say_all_reduce(self.recording.recorded)

    def stop_profile(self) -> None:
        """Ends a profile that is being recorded."""
        if self.recording.stop():
            self._say_all_reduce(self.recording.recorded + 1)

    def _say_all_reduce(self, iterations: int) -> None:
        if self.strategy.num_replicas_in_sync < 2:
            return
        replicas = local_replicas(self.strategy)
        seconds = profiled_all_reduce(self.run.directory.path, iterations, replicas)
        if seconds is None:
            self.log.say("the profile shows no all-reduce: the time in it is not known")
            return
        self.log.tick(
            int(self.state.images_seen.numpy()), {"timing/all_reduce_seconds_per_step": seconds}
        )


def _readable(
    source: ImageSource, count: int, on_bad_image: Callable[[int, InputError], None] | None
) -> tuple[list[int], np.ndarray]:
    """Returns the first `count` images that can be read, over again if there are fewer."""
    shown: list[int] = []
    images = []
    for index in range(len(source)):
        if len(shown) == count:
            break
        try:
            images.append(source.image(index))
        except InputError as error:
            if on_bad_image is None:
                raise
            on_bad_image(index, error)
        else:
            shown.append(index)
    if not shown:
        raise InputError(f"no image of {source.name} can be read; restore the data set")
    shown = [shown[i % len(shown)] for i in range(count)]
    return shown, np.stack([images[i % len(images)] for i in range(count)])

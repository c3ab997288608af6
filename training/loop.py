"""The training loop: GAN iterations on a schedule, and the care of the run directory."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tf_sg2.config import Config, override
from tf_sg2.data.pipeline import batches, iterate
from tf_sg2.networks.precision import use_tf32
from tf_sg2.training.cluster.collectives import Workers
from tf_sg2.training.cluster.failures import worker_failures
from tf_sg2.training.cluster.tf_config import WORKER_TIMEOUT, read_cluster
from tf_sg2.training.cluster.watchdog import Watchdog
from tf_sg2.training.monitor.reporter import Reporter
from tf_sg2.training.monitor.skipped_images import SkippedImages
from tf_sg2.training.monitor.tick import Tick
from tf_sg2.training.run import kept, rollback
from tf_sg2.training.run.devices import choose_strategy, deal
from tf_sg2.training.run.divergence import DivergenceError, fault_in
from tf_sg2.training.run.signals import StoppedBySignalError, StopRequest, stop_on_signals
from tf_sg2.training.run.start import TrainingRun, begin
from tf_sg2.training.schedule import is_due, schedule_of
from tf_sg2.training.state import TrainState
from tf_sg2.training.step import TrainStep


def train(
    config: Config,
    run_path: str | Path,
    *,
    devices: str = "auto",
    init_from: str | Path | None = None,
    profile_iterations: int = 0,
    stop_after_minutes: float = math.inf,
    on_nan: str = "stop",
    on_bad_image: str = "stop",
    worker_timeout: float = WORKER_TIMEOUT,
    progress: bool = True,
) -> TrainState:
    """Trains a run until `training.total_kimg`; a run that exists is resumed.

    Args:
        config: the configuration. A resumed run must have the same one, except for the fields of
            `checkpoint.FREE_ON_RESUME`.
        run_path: the run directory; it is made if it does not exist.
        devices: see `choose_strategy`.
        init_from: run directory whose weights a new run starts from. The run then has no
            `training.ema_rampup`, also after a resume. A resume copies no weights.
        profile_iterations: how many iterations TensorBoard's profiler records, after the tenth.
        stop_after_minutes: wall-clock time after which to write a checkpoint and return, for jobs
            with a time limit. The run can be resumed.
        on_nan: what happens on a `DivergenceError`. "stop" raises it. "rollback" goes on from the
            last checkpoint with another random stream, at most `rollback.MOST` times per
            checkpoint. If the run diverges at once, the checkpoint before is used.
        on_bad_image: what happens with an image that can no longer be read. "stop" makes it an
            error. "skip" names it, counts it, and takes the next image instead.
        worker_timeout: seconds per iteration after which a worker counts as hung, and the other
            workers end; see `Watchdog`.
        progress: whether the terminal gets a progress line.

    Returns:
        The state at the end. The run directory holds it as a checkpoint.

    Raises:
        InputError: for a data set, configuration or run directory that cannot be used, or that
            another process is training in.
        DivergenceError: if a loss or a variable becomes NaN or infinite, or if too many updates in
            a row are skipped.
        StoppedBySignalError: after SIGTERM or SIGINT. The iteration ends and a checkpoint is
            written. Every worker raises it after the same iteration.
        LostWorkerError: if another worker is gone.
    """
    use_tf32(config.training.tf32)
    cluster = read_cluster()
    deadline = time.monotonic() + 60 * stop_after_minutes
    strategy = choose_strategy(devices, cluster, worker_timeout)
    with (
        stop_on_signals() as stop,
        Watchdog(cluster, worker_timeout) as watchdog,
        worker_failures(cluster),
        begin(config, run_path, Workers(strategy, cluster, watchdog), init_from, progress) as run,
    ):
        while True:
            loop = _Loop(run, profile_iterations, on_bad_image)
            try:
                loop.execute(deadline, stop)
                return run.state
            except DivergenceError as error:
                if on_nan == "stop":
                    raise
                _roll_back(run, error, loop.last_sound)


class _Loop:
    """A run in progress, in one worker."""

    def __init__(self, run: TrainingRun, profile_iterations: int, on_bad_image: str):
        self.run, self.workers = run, run.workers
        seed = rollback.stream_seed(run.config.training.seed, run.random_stream())
        self.config = override(run.config, {"training.seed": str(seed)})
        self.schedule = schedule_of(self.config.training)
        self.step = TrainStep(run.state, self.config, self.workers.strategy)
        self.skipped_images = SkippedImages(run.say)
        self.on_bad_image = self.skipped_images if on_bad_image == "skip" else None
        self.reporter = None
        if run.log is not None:  # In the chief.
            self.reporter = Reporter(run, run.log, profile_iterations, self.on_bad_image)
        self.tick = Tick()
        # The scalars of the previous iteration. Reading them does not wait for the current one.
        self.unchecked: tuple[int, dict[str, tf.Tensor]] | None = None
        # The last iteration that is known to have finite losses and no skipped update.
        self.last_sound = -1

    def execute(self, deadline: float, stop: StopRequest) -> None:
        """Trains until the end of the schedule, the deadline or a signal."""
        schedule, reporter = self.schedule, self.reporter
        first = done = int(self.run.state.iteration.numpy())
        if reporter and done == 0:
            reporter.show_reals()
            reporter.sample()
        is_last, is_stopped = done >= schedule.total, False
        if is_due(done, schedule.metrics) or is_last:
            self._measure(done)
        dataset = self._open_dataset(start_batch=done)
        self.tick = Tick()
        while not is_last:
            if reporter:
                reporter.profile(done - first)

            # One GAN iteration: generator, path length, discriminator, average, R1.
            started = time.perf_counter()
            inputs = self._next_inputs(dataset, done)
            prepared = time.perf_counter()
            scalars = self.step.run(done, inputs)
            self._check_scalars()
            self.tick.steps.add(time.perf_counter() - started, prepared - started)
            self.tick.images += self.config.training.batch_size
            self.unchecked = (done, scalars)
            done += 1

            is_overdue = time.monotonic() >= deadline
            is_overdue, is_stopped = self.workers.any_in_previous_call(
                (is_overdue, stop.signal_name is not None)
            )
            is_last = done >= schedule.total or is_overdue or is_stopped

            # Once in a while: write a line of the log, samples, a checkpoint, measurements.
            if is_due(done, schedule.tick) or is_last:
                self._write_line()
            # A stopped process has little time: it writes a checkpoint, but no samples.
            if reporter and not is_stopped and (is_due(done, schedule.sample) or is_last):
                reporter.sample()
            if is_due(done, schedule.checkpoint) or is_last:
                self._save(done)
            # After the checkpoint, so a process that is killed meanwhile measures when it resumes.
            if not is_stopped and (is_due(done, schedule.metrics) or done >= schedule.total):
                self._measure(done)
        self._leave()
        if done < schedule.total and is_stopped:
            raise StoppedBySignalError(
                f"{stop.signal_name or 'another worker was told to stop'}: stopped after iteration "
                f"{done}; the checkpoint is written, and the same command goes on from it"
            )

    def _open_dataset(self, start_batch: int) -> Iterator:
        training, cluster = self.config.training, self.workers.cluster
        return iterate(
            batches(
                self.run.source,
                training.batch_size,
                seed=training.seed,
                start_batch=start_batch,
                mirror=self.config.data.mirror,
                shard_index=cluster.index,
                shard_count=cluster.size,
                on_bad_image=self.on_bad_image,
            )
        )

    def _next_inputs(self, dataset: Iterator, iteration: int) -> tuple:
        """Returns positions, images and labels of this worker's replicas."""
        started = time.perf_counter()
        images, labels = next(dataset)
        self.tick.waited += time.perf_counter() - started
        batch, cluster = self.config.training.batch_size, self.workers.cluster
        positions = tf.range(
            iteration * batch + cluster.index,
            (iteration + 1) * batch,
            cluster.size,
            dtype=tf.int64,
        )
        inputs = deal(self.workers.strategy, (positions, images, labels))
        self.workers.watchdog.reached(f"iteration {iteration}")
        return inputs

    def _check_scalars(self) -> None:
        """Adds the previous iteration's scalars to the tick, or raises a `DivergenceError`.

        It is called before each checkpoint, so a state after a bad iteration is never saved.
        """
        if self.unchecked is None:
            return
        iteration, tensors = self.unchecked
        self.unchecked = None
        scalars = {name: float(value.numpy()) for name, value in tensors.items()}
        skips = {
            name: int(scalars.pop(f"skipped_in_a_row/{name}"))
            for name in ("generator", "discriminator")
        }
        fault = fault_in(scalars, skips, iteration)
        if fault:
            raise self._divergence(fault, iteration)
        if not any(skips.values()):
            self.last_sound = iteration
        self.tick.add(scalars)

    def _write_line(self) -> None:
        """Ends the tick: the chief writes its line of the log."""
        self._check_scalars()
        rows = self.workers.gather((*self.tick.steps.means(), self.skipped_images.count))
        if self.reporter:
            self.reporter.tick(self.tick, rows[:, :2], int(rows[:, 2].sum()))
        self.tick = Tick()

    def _save(self, iteration: int) -> None:
        """Writes a checkpoint, unless a value is not finite."""
        self._require_finite(iteration)
        self.run.save()

    def _measure(self, iteration: int) -> None:
        """Measures the state on the chief, while the other workers wait."""
        self._require_finite(iteration)
        started = time.perf_counter()
        measure = self.reporter.measure if self.reporter else lambda still_working: None
        self.workers.wait_for_chief("the measurements", measure)
        self.tick.leave_out(time.perf_counter() - started)

    def _require_finite(self, iteration: int) -> None:
        """Raises a `DivergenceError` if a loss or a variable is not finite."""
        self._check_scalars()
        names = self.step.not_finite()
        if names:
            raise self._divergence(
                f"{names[0]} ({len(names)} variables in all) became NaN or infinite before "
                f"iteration {iteration}",
                iteration,
            )

    def _divergence(self, what: str, iteration: int) -> DivergenceError:
        kimg = iteration * self.config.training.batch_size / 1000
        last = self.run.last_checkpoint()
        return DivergenceError(f"{what} ({kimg:.1f} kimg); the last good checkpoint is {last}")

    def _leave(self) -> None:
        """Ends the profile, and waits until the chief has written everything."""
        if self.reporter:
            self.reporter.stop_profile()
        # A worker that ends earlier looks like a dead one.
        self.workers.watchdog.reached("the end of training")
        self.workers.gather((0.0,))


def _roll_back(run: TrainingRun, error: DivergenceError, last_sound: int) -> None:
    """Restores the last checkpoint; the run goes on from it with a new random stream.

    If no iteration after that checkpoint was sound, the checkpoint before it is restored.

    Raises:
        DivergenceError: if there is no checkpoint, or too many rollbacks went to it.
    """
    if not run.restore():
        raise error
    run.broadcast_state()
    if last_sound < int(run.state.iteration.numpy()) and run.restore_before():
        run.broadcast_state()
    iteration = int(run.state.iteration.numpy())
    is_chief = run.workers.cluster.is_chief
    before = rollback.count_at(run.directory, iteration) if is_chief else 0
    before = int(run.workers.gather([before])[0, 0])
    if before >= rollback.MOST:
        raise DivergenceError(
            f"{error}; rolled back to it {before} times already, each time to another random stream"
        ) from error
    if run.log is not None:  # In the chief.
        rollback.note(run.directory, iteration, str(error))
        run.log.forget_after(int(run.state.images_seen.numpy()))
        kept.forget_after(run.directory, iteration)
    run.say(
        f"{error}; rolled back to iteration {iteration}, and on with another random stream "
        f"({before + 1} of at most {rollback.MOST} times)"
    )

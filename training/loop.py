"""The training loop: deals out images, runs iterations, and keeps the run directory."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tf_sg2.config import Config, override
from tf_sg2.data.pipeline import batches, iterate
from tf_sg2.errors import InputError
from tf_sg2.networks.precision import use_tf32
from tf_sg2.training.cluster.collectives import Workers
from tf_sg2.training.cluster.tf_config import (
    WORKER_TIMEOUT,
    MetByEveryWorker,
    Watch,
    named_losses,
    read_cluster,
)
from tf_sg2.training.monitor.monitor import Report
from tf_sg2.training.monitor.skipped_images import SkippedImages
from tf_sg2.training.monitor.tick import Tick
from tf_sg2.training.run import rollback
from tf_sg2.training.run.devices import choose_strategy, deal
from tf_sg2.training.run.signals import Interrupted, StopRequest, stop_on_signals
from tf_sg2.training.run.start import Run, begin
from tf_sg2.training.state import TrainState
from tf_sg2.training.step import TrainStep

# Updates of a network that may be skipped one after the other, because a gradient was not finite.
MOST_SKIPS_IN_A_ROW = 20


class DivergenceError(InputError, MetByEveryWorker):
    """The run cannot go on; the message names what is not finite, the step and the checkpoint.

    A loss became NaN or infinite, or a variable that a checkpoint would hold did, or too many
    updates of a network in a row were skipped because a gradient was not finite.
    """


def steps_for(kimg: float, batch_size: int) -> int:
    """Returns how many iterations show `kimg` thousand images, at least one.

    Every duration of a configuration becomes steps here.
    """
    return max(1, math.ceil(kimg * 1000 / batch_size))


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
    """Trains, from the start or from where the run stands, until `training.total_kimg`.

    Args:
        config: the run. A run that exists must have been started under the same one, but for
            the fields of `checkpoint.FREE_ON_RESUME`.
        run_path: the run directory, made if need be.
        devices: see `choose_strategy`.
        init_from: run directory whose weights a new run starts from. The run then has no
            `training.ema_rampup`, also when it is resumed; a resume copies no weights.
        profile_iterations: how many iterations TensorBoard's profiler records, after the tenth.
        stop_after_minutes: wall-clock time after which to checkpoint and return, for jobs with a
            time limit; the run can be resumed.
        on_nan: what a `DivergenceError` does: "stop", or "rollback" to go on from the last
            checkpoint with another random stream, `rollback.MOST` times at most from any one
            checkpoint. One from which the run diverges at once is set aside for the one before.
        on_bad_image: "stop", or "skip" to name and count images that cannot be read any more; the
            next one takes the place of each.
        worker_timeout: seconds from one iteration of a worker to the next, after which the others
            take it to hang and end; see `Watch`.
        progress: whether the terminal gets a progress line.

    Returns:
        The state at the end; the run directory holds it as a checkpoint.

    Raises:
        InputError: for a data set, configuration or run directory that cannot be used,
            or another process trains in.
        DivergenceError: when a loss or a variable becomes NaN or infinite, or too many updates in a
            row are skipped.
        Interrupted: after SIGTERM or SIGINT, which let the iteration end and write a checkpoint; in
            every worker, after the same iteration, whichever got the signal.
        LostWorkerError: if another worker is gone.
    """
    use_tf32(config.training.tf32)
    cluster = read_cluster()
    deadline = time.monotonic() + 60 * stop_after_minutes
    strategy = choose_strategy(devices, cluster, worker_timeout)
    with (
        stop_on_signals() as stop,
        Watch(cluster, worker_timeout) as watch,
        named_losses(cluster),
        begin(config, run_path, Workers(strategy, cluster, watch), init_from, progress) as run,
    ):
        while True:
            try:
                loop = _Loop(run, profile_iterations, on_bad_image)
                loop.execute(deadline, stop)
                return run.state
            except DivergenceError as error:
                if on_nan == "stop":
                    raise
                _roll_back(run, error, loop.last_sound)


def _roll_back(run: Run, error: DivergenceError, last_sound: int) -> None:
    """Gives the run the state of its last checkpoint, from which it draws a new random stream.

    If no iteration after that checkpoint was sound, it takes the one before.
    """
    if not run.restore():
        raise error
    run.hand_out()
    if last_sound < int(run.state.iteration.numpy()) and run.restore_before():
        run.hand_out()
    iteration, chief = int(run.state.iteration.numpy()), run.workers.cluster.is_chief
    before = rollback.count_at(run.directory, iteration) if chief else 0
    before = int(run.workers.gather([before])[0, 0])
    if before >= rollback.MOST:
        raise DivergenceError(
            f"{error}; rolled back to it {before} times already, each time to another random stream"
        ) from error
    if chief:
        rollback.note(run.directory, iteration, str(error))
        run.log.forget_after(int(run.state.images_seen.numpy()))
    run.log.say(
        f"{error}; rolled back to iteration {iteration}, and on with another random stream "
        f"({before + 1} of at most {rollback.MOST} times)"
    )


class _Loop:
    """A run in progress, in one worker."""

    def __init__(self, run: Run, profile_iterations: int, on_bad_image: str):
        self.run = run
        seed = rollback.stream_seed(run.config.training.seed, run.stream())
        self.config = override(run.config, {"training.seed": str(seed)})
        self.step = TrainStep(run.state, self.config, run.workers.strategy)
        self.skipped = SkippedImages(run.log.say)
        self.on_bad_image = self.skipped if on_bad_image == "skip" else None
        self.report = None
        if run.workers.cluster.is_chief:
            self.report = Report(run, profile_iterations, self.on_bad_image)
        # The scalars of the iteration before, unchecked: reading them does not wait for this one.
        self.pending: tuple[int, dict[str, tf.Tensor]] | None = None
        # The last iteration known to have finite losses and no skipped update.
        self.last_sound = -1

    def execute(self, deadline: float, stop: StopRequest) -> None:
        training, workers, report = self.config.training, self.run.workers, self.report
        batch, cluster = training.batch_size, workers.cluster
        every = {
            name: steps_for(getattr(training, f"{name}_kimg"), batch)
            for name in ("total", "tick", "checkpoint", "sample")
        }
        first = iteration = int(self.run.state.iteration.numpy())
        if report and first == 0:
            report.show_reals()
            report.sample()
        tick = Tick()
        dataset = self._dataset(first)
        last, stopped = iteration >= every["total"], False
        while not last:
            if report:
                report.profile(iteration - first)
            before = time.perf_counter()
            images, labels = next(dataset)
            tick.waited += time.perf_counter() - before
            positions = tf.range(
                iteration * batch + cluster.index,
                (iteration + 1) * batch,
                cluster.size,
                dtype=tf.int64,
            )
            inputs = deal(workers.strategy, (positions, images, labels))
            workers.watch.reached(f"iteration {iteration}")
            prepared = time.perf_counter()
            scalars = self.step.run(iteration, inputs)
            self._check_pending(tick)
            tick.steps.add(time.perf_counter() - before, prepared - before)
            self.pending = (iteration, scalars)
            iteration += 1
            tick.images += batch
            overdue = time.monotonic() >= deadline
            overdue, stopped = workers.any((overdue, stop.signal_name is not None))
            last = iteration >= every["total"] or overdue or stopped
            if iteration % every["tick"] == 0 or last:
                self._check_pending(tick)
                rows = workers.gather((*tick.steps.means(), self.skipped.count))
                if report:
                    report.tick(tick, rows[:, :2], int(rows[:, 2].sum()))
                tick = Tick()
            # Who was told to stop has little time: a checkpoint is due, pictures are not.
            if report and not stopped and (iteration % every["sample"] == 0 or last):
                report.sample()
            if iteration % every["checkpoint"] == 0 or last:
                self._check_pending(tick)
                self._check_state(iteration)
                self.run.save()
        if report:
            report.stop_profile()
        # Nobody leaves before the chief has written: a worker that has left looks like a dead one.
        workers.watch.reached("the end of training")
        workers.gather((0.0,))
        if iteration < every["total"] and stopped:
            raise Interrupted(
                f"{stop.signal_name or 'another worker was told to stop'}: stopped after iteration "
                f"{iteration}; the checkpoint is written, and the same command goes on from it"
            )

    def _dataset(self, start_batch: int) -> Iterator:
        training, cluster = self.config.training, self.run.workers.cluster
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

    def _check_pending(self, tick: Tick) -> None:
        """Reads the last iteration's scalars; a state that follows a bad one is never saved."""
        if self.pending is None:
            return
        iteration, tensors = self.pending
        self.pending = None
        scalars = {name: float(value.numpy()) for name, value in tensors.items()}
        skips = {
            name: int(scalars.pop(f"skipped_in_a_row/{name}"))
            for name in ("generator", "discriminator")
        }
        for name, value in scalars.items():
            if not math.isfinite(value):
                raise self._diverged(f"{name} became {value} in iteration {iteration}", iteration)
        for name, count in skips.items():
            if count >= MOST_SKIPS_IN_A_ROW:
                raise self._diverged(
                    f"{count} updates of the {name} in a row were skipped, because a gradient was "
                    f"not finite, until iteration {iteration}",
                    iteration,
                )
        if not any(skips.values()):
            self.last_sound = iteration
        tick.add(scalars)

    def _check_state(self, iteration: int) -> None:
        """Holds every variable that a checkpoint would hold to finite values."""
        names = self.step.not_finite()
        if names:
            raise self._diverged(
                f"{names[0]} ({len(names)} variables in all) became NaN or infinite before "
                f"iteration {iteration}",
                iteration,
            )

    def _diverged(self, what: str, iteration: int) -> DivergenceError:
        kimg = iteration * self.config.training.batch_size / 1000
        last = self.run.last_checkpoint()
        return DivergenceError(f"{what} ({kimg:.1f} kimg); the last good checkpoint is {last}")

"""The training loop: deals out images, runs iterations, and keeps the run directory."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_sg2.atomic import new_file
from tf_sg2.config import Config
from tf_sg2.data import open_source
from tf_sg2.data.pipeline import batches, iterate
from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError
from tf_sg2.run_directory import RunDirectory
from tf_sg2.training import checkpoint
from tf_sg2.training.all_reduce import profiled_all_reduce
from tf_sg2.training.distribute import choose_strategy, deal
from tf_sg2.training.interruption import Interrupted, StopRequest, sole_use_of, stop_on_signals
from tf_sg2.training.state import TrainState, create_state
from tf_sg2.training.step import TrainStep
from tf_sg2.training.step_times import StepTimes, WorkerTimes
from tf_sg2.training.summaries import RunLog, SampleGrid, memory_gib

# Iterations before a profile starts: compilation is over, buffers are warm.
PROFILE_AFTER = 10


class DivergenceError(InputError):
    """A loss became NaN or infinite; the message names it, the step and the last checkpoint."""


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
    progress: bool = True,
) -> TrainState:
    """Trains, from the start or from where the run stands, until `training.total_kimg`.

    Args:
        config: the run. A run that exists must have been started under the same one, but for
            the fields of `checkpoint.FREE_ON_RESUME`.
        run_path: the run directory, made if need be.
        devices: see `choose_strategy`.
        init_from: run directory whose weights a new run starts from; no effect on a resumed one.
        profile_iterations: how many iterations TensorBoard's profiler records, after the tenth.
        stop_after_minutes: wall-clock time after which to checkpoint and return, for jobs with a
            time limit; the run can be resumed.
        progress: whether the terminal gets a progress line.

    Returns:
        The state at the end; the run directory holds it as a checkpoint.

    Raises:
        InputError: for a data set, configuration or run directory that cannot be used,
            or another process trains in.
        DivergenceError: when a loss becomes NaN or infinite.
        Interrupted: after SIGTERM or SIGINT, which let the iteration end and write a checkpoint.
    """
    strategy = choose_strategy(devices)
    replicas = strategy.num_replicas_in_sync
    _check_batch(config, replicas)
    source = _open_data(config)
    run = RunDirectory(run_path)
    deadline = time.monotonic() + 60 * stop_after_minutes
    with sole_use_of(run.path), stop_on_signals() as stop:
        state, manager, log = _begin(config, run, source, strategy, init_from, progress)
        try:
            loop = _Loop(config, state, strategy, source, manager, log, profile_iterations)
            loop.run(deadline, stop)
        finally:
            log.close()
    return state


def _begin(config, run, source, strategy, init_from, progress) -> tuple:
    """The state, new or resumed, its checkpoints, and the log."""
    if run.config_path.exists():
        checkpoint.check_resumable(run.read_config(), config, run)
    _check_data(run, source)
    run.write_config(config)

    state = create_state(config, strategy)
    found: list[str] = []  # To be said when there is a log.
    checkpoint.set_damaged_aside(run, found.append)
    manager = checkpoint.checkpoint_manager(state, config, run)
    with strategy.scope():
        restored = checkpoint.restore(manager)
        transfer = None
        if init_from is not None and not restored:
            transfer = checkpoint.initialize_from(state, init_from)
    log = RunLog(run, config, int(state.images_seen.numpy()), progress)
    if restored:
        found.append(f"resuming {run.path} at {int(state.images_seen.numpy()) / 1000:.1f} kimg")
    if transfer is not None:
        found.append(
            f"from {init_from}: {len(transfer.copied)} weights copied, "
            f"{len(transfer.fresh)} fresh: {', '.join(transfer.fresh) or 'none'}"
        )
    for line in found:
        log.say(line)
    return state, manager, log


def _check_batch(config: Config, replicas: int) -> None:
    training = config.training
    shares = replicas * training.accumulation_steps
    if training.batch_size % shares:
        raise InputError(
            f"training.batch_size {training.batch_size} does not divide among {replicas} device(s) "
            f"times {training.accumulation_steps} accumulation step(s)"
        )
    share, group = training.batch_size // shares, config.discriminator.minibatch_stddev_group
    if group and share % min(group, share):
        raise InputError(
            f"{share} images at a time do not divide into minibatch-stddev groups of {group}; "
            "change training.batch_size or discriminator.minibatch_stddev_group"
        )


def _open_data(config: Config) -> ImageSource:
    if not config.data.source:
        raise InputError("no data set is given; say --data=PATH, or --data=cards:size=HxW")
    generator = config.generator
    source = open_source(config.data.source, generator.image_size, generator.image_channels)
    if generator.label_dim and source.label_dim != generator.label_dim:
        raise InputError(
            f"{source.name} has labels of width {source.label_dim}, but the configuration's "
            f"label_dim is {generator.label_dim}"
        )
    return source


def _check_data(run: RunDirectory, source: ImageSource) -> None:
    """Holds a resumed run to the data set that it was started with."""
    path = run.path / "data.json"
    ours = {
        "images": len(source),
        "image_size": list(source.image_size),
        "image_channels": source.image_channels,
        "label_dim": source.label_dim,
        "fingerprint": source.fingerprint(),
    }
    if path.exists():
        theirs = json.loads(path.read_text(encoding="utf-8"))
        found = [
            f"{key}: {theirs.get(key)!r} -> {value!r}"
            for key, value in ours.items()
            if theirs.get(key) != value
        ]
        if found:
            raise InputError(
                f"{run.path} was started on another data set than {source.name}; take its own, or "
                f"another run directory. Differences (run -> wanted): {'; '.join(found)}"
            )
        return
    with new_file(path) as file:
        file.write((json.dumps(ours, indent=2) + "\n").encode())


@dataclass
class _Tick:
    """What is summed up between two lines of the log."""

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


class _Loop:
    """One run in progress."""

    def __init__(self, config, state, strategy, source, manager, log, profile_iterations):
        self.config, self.state, self.strategy = config, state, strategy
        self.source, self.manager, self.log = source, manager, log
        self.step = TrainStep(state, config, strategy)
        training = config.training
        count = training.sample_rows * training.sample_columns
        shown = np.arange(count) % len(source)
        self.reals = np.stack([source.image(int(i)) for i in shown])
        labels = None
        if config.generator.label_dim:
            labels = np.stack([source.label(int(i)) for i in shown])
        self.samples = SampleGrid(state.generator_ema, config, labels)
        self.profile_iterations, self.profiling = profile_iterations, False
        resolver = strategy.cluster_resolver  # None but for several workers.
        workers = len(resolver.cluster_spec().as_dict().get("worker", ())) if resolver else 1
        self.worker_times = WorkerTimes(strategy, workers)
        # The scalars of the iteration before, unchecked: reading them does not wait for this one.
        self.pending: tuple[int, dict[str, tf.Tensor]] | None = None

    def run(self, deadline: float, stop: StopRequest) -> None:
        training = self.config.training
        batch = training.batch_size
        every = {
            name: steps_for(getattr(training, f"{name}_kimg"), batch)
            for name in ("total", "tick", "checkpoint", "sample")
        }
        first = iteration = int(self.state.iteration.numpy())
        if first == 0:
            self.log.picture("reals", self.reals, 0, training.sample_columns)
            self._sample()
        tick = _Tick()
        dataset = self._dataset(first)
        last, stopped = iteration >= every["total"], None
        while not last:
            self._profile(iteration - first)
            before = time.perf_counter()
            images, labels = next(dataset)
            tick.waited += time.perf_counter() - before
            positions = tf.range(iteration * batch, (iteration + 1) * batch, dtype=tf.int64)
            inputs = deal(self.strategy, (positions, images, labels))
            prepared = time.perf_counter()
            scalars = self.step.run(iteration, inputs)
            self._check_pending(tick)
            tick.steps.add(time.perf_counter() - before, prepared - before)
            self.pending = (iteration, scalars)
            iteration += 1
            tick.images += batch
            stopped = stop.signal_name  # Read once: it may come at any moment.
            last = iteration >= every["total"] or time.monotonic() >= deadline or bool(stopped)
            if iteration % every["tick"] == 0 or last:
                self._check_pending(tick)
                self._write(tick)
                tick = _Tick()
            # Who was told to stop has little time: a checkpoint is due, pictures are not.
            if not stopped and (iteration % every["sample"] == 0 or last):
                self._sample()
            if iteration % every["checkpoint"] == 0 or last:
                self._check_pending(tick)
                checkpoint.save(self.manager, self.state)
        self._stop_profile()
        if iteration < every["total"] and stopped:
            raise Interrupted(
                f"{stopped}: stopped after iteration {iteration}; the checkpoint is written, and "
                "the same command goes on from it"
            )

    def _dataset(self, start_batch: int) -> Iterator:
        training = self.config.training
        return iterate(
            batches(
                self.source,
                training.batch_size,
                seed=training.seed,
                start_batch=start_batch,
                mirror=self.config.data.mirror,
            )
        )

    def _check_pending(self, tick: _Tick) -> None:
        """Reads the last iteration's scalars; a state that follows a bad one is never saved."""
        if self.pending is None:
            return
        iteration, tensors = self.pending
        self.pending = None
        scalars = {name: float(value.numpy()) for name, value in tensors.items()}
        for name, value in scalars.items():
            if not math.isfinite(value):
                last = self.manager.latest_checkpoint
                raise DivergenceError(
                    f"{name} became {value} in iteration {iteration} "
                    f"({iteration * self.config.training.batch_size / 1000:.1f} kimg); the last "
                    f"good checkpoint is {last or 'none: none was written yet'}"
                )
        tick.add(scalars)

    def _write(self, tick: _Tick) -> None:
        seen = int(self.state.images_seen.numpy())
        scalars = tick.scalars()
        scalars.update(tick.steps.scalars(tick.images, self.strategy.num_replicas_in_sync))
        scalars.update(self.worker_times.scalars(tick.steps))
        for name in ("generator", "discriminator"):
            optimizer = getattr(self.state, f"{name}_optimizer")
            scalars[f"learning_rate/{name}"] = float(tf.convert_to_tensor(optimizer.learning_rate))
        scalars.update(memory_gib())
        scalars["iteration"] = int(self.state.iteration.numpy())
        self.log.tick(seen, scalars)
        self.log.progress(
            seen,
            f"G {scalars['loss/generator']:.2f} D {scalars['loss/discriminator']:.2f} "
            f"{scalars['timing/images_per_second']:.0f} img/s",
        )

    def _sample(self) -> None:
        seen = int(self.state.images_seen.numpy())
        training = self.config.training
        for psi in dict.fromkeys((training.sample_truncation_psi, 1.0)):
            images = self.samples.images(psi)
            self.log.picture(f"fakes_psi{psi:g}", images, seen, training.sample_columns)
        shares = self.samples.to_rgb_shares()
        if shares:
            self.log.tick(seen, shares)

    def _profile(self, done: int) -> None:
        if self.profile_iterations and done == PROFILE_AFTER:
            tf.profiler.experimental.start(str(self.log.run.path))
            self.profiling, self.profile_started = True, int(self.state.iteration.numpy())
        if done == PROFILE_AFTER + self.profile_iterations:
            self._stop_profile()

    def _stop_profile(self) -> None:
        if self.profiling:
            tf.profiler.experimental.stop()
            self.profiling = False
            self._say_all_reduce(int(self.state.iteration.numpy()) - self.profile_started)

    def _say_all_reduce(self, iterations: int) -> None:
        if self.strategy.num_replicas_in_sync < 2:
            return
        # The default strategy, of one device, knows no worker devices.
        replicas = len(self.strategy.extended.worker_devices)
        seconds = profiled_all_reduce(self.log.run.path, iterations, replicas)
        if seconds is None:
            self.log.say("the profile shows no all-reduce: the time in it is not known")
            return
        self.log.tick(
            int(self.state.images_seen.numpy()), {"timing/all_reduce_seconds_per_step": seconds}
        )

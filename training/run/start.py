"""How a run begins: new, resumed from its checkpoint, or from another run's weights."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import tensorflow as tf

import tf_sg2
from tf_sg2.config import Config, override, to_json
from tf_sg2.data.source import ImageSource
from tf_sg2.data.split import Split, open_split
from tf_sg2.errors import InputError
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.training.cluster.collectives import Workers
from tf_sg2.training.monitor.metrics import MetricSettings, open_metrics
from tf_sg2.training.monitor.profile import Profile
from tf_sg2.training.monitor.run_log import RunLog, say
from tf_sg2.training.run import checkpoint, kept, rollback
from tf_sg2.training.run.batch import check_batch
from tf_sg2.training.run.data_check import check_data
from tf_sg2.training.run.lock import locked
from tf_sg2.training.schedule import is_lasting, schedule_of
from tf_sg2.training.state import TrainState, create_state


@dataclass
class TrainingRun:
    """A run that is ready to train.

    Attributes:
        config: the run's configuration.
        directory: the run directory, which only the chief reads and writes.
        source: the images to train on.
        heldout: images that are never trained on; None if nothing is held out.
        workers: all workers of the run.
        state: what training changes.
        checkpoints: the chief's manager of checkpoints; None in other workers.
        log: the chief's log; None in other workers.
        profile: the chief's profile; None in other workers, and before the loop starts.
        metrics: what the chief measures; None in other workers, and without metrics.
    """

    config: Config
    directory: RunDirectory
    source: ImageSource
    heldout: ImageSource | None
    workers: Workers
    state: TrainState
    checkpoints: tf.train.CheckpointManager | None
    log: RunLog | None = None
    profile: Profile | None = None
    metrics: MetricSettings | None = None

    def say(self, sentence: str) -> None:
        """Prints a line above the progress line."""
        say(self.workers.cluster, sentence)

    def restore(self) -> bool:
        """Restores the newest checkpoint on the chief.

        Returns:
            False, on every worker, if there is no checkpoint.
        """
        # Outside the strategy's scope: a variable created in it waits for all workers, but only
        # the chief restores.
        restored = self.checkpoints is not None and checkpoint.restore(self.checkpoints, self.state)
        self.workers.watchdog.reached("the checkpoint")
        return bool(self.workers.gather([restored])[0, 0])

    def restore_before(self) -> bool:
        """Sets the newest checkpoint aside, and restores the one before it on the chief.

        Returns:
            False, on every worker, if there is none before it. Nothing is changed then.
        """
        restored = False
        if self.workers.cluster.is_chief and len(self.directory.checkpoint_numbers()) > 1:
            checkpoint.set_newest_aside(self.directory, self.say)
            self.checkpoints = checkpoint.checkpoint_manager(
                self.state, self.config, self.directory
            )
            restored = checkpoint.restore(self.checkpoints, self.state)
        self.workers.watchdog.reached("the checkpoint before")
        return bool(self.workers.gather([restored])[0, 0])

    def broadcast_state(self) -> None:
        """Gives every worker the chief's state."""
        self.workers.broadcast_from_chief(list(self.state.variables().values()))

    def random_stream(self) -> int:
        """Returns the number of the random stream that the next iteration draws from."""
        own = 0
        if self.workers.cluster.is_chief:  # Only the chief can read it.
            own = rollback.stream_at(self.directory, int(self.state.iteration.numpy()))
        return int(self.workers.gather([own])[0, 0])

    def last_checkpoint(self) -> str:
        """Returns the path of the newest checkpoint, or words if there is none."""
        if self.checkpoints is None:
            return "the one of the chief"
        return checkpoint.last_checkpoint(self.checkpoints)

    def save(self) -> None:
        """Writes a checkpoint; only the chief does."""
        if self.checkpoints is not None:
            checkpoint.save(self.checkpoints, self.state)
            self.keep_lasting()

    def keep_lasting(self) -> None:
        """Keeps the newest checkpoint for ever if its iteration says so; only the chief does."""
        iteration = int(self.state.iteration.numpy())
        if self.checkpoints is not None and is_lasting(
            iteration, schedule_of(self.config.training)
        ):
            kept.keep_for_ever(self.directory, iteration)

    def keep_best(self) -> bool:
        """Keeps the state as the best one if its measurement says so; only the chief does.

        Returns:
            Whether it is the best one.
        """
        if self.checkpoints is None or self.metrics is None or self.metrics.best is None:
            return False
        iteration = int(self.state.iteration.numpy())
        return kept.keep_best(self.directory, self.checkpoints, iteration, self.metrics.best)


@contextlib.contextmanager
def begin(
    config: Config,
    path: str | Path,
    workers: Workers,
    init_from: str | Path | None = None,
    progress: bool = True,
) -> Iterator[TrainingRun]:
    """Yields a run, and holds the lock of its directory. Only the chief touches the directory.

    Args:
        config: the configuration that is asked for.
        path: the run directory.
        workers: all workers of the run.
        init_from: run directory whose weights a new run starts from.
        progress: whether the terminal gets a progress line.

    Raises:
        InputError: for a configuration, a data set and a run directory that do not fit together.
    """
    cluster = workers.cluster
    if init_from is not None:
        # An average that starts from another one needs no ramp-up, and the augmentation of a
        # trained discriminator adapts faster. The run's configuration keeps both, so they also
        # hold after a resume.
        changed = {"training.ema_rampup": None, "augment.kimg": config.augment.transfer_kimg}
        config = override(config, changed)
    check_batch(config, workers.strategy.num_replicas_in_sync)
    data = _open_data(config)
    metrics = open_metrics(config) if cluster.is_chief else None
    # A fingerprint may read all the data, so it comes before any wait.
    fingerprint = data.training.fingerprint()
    heldout = _describe(data.heldout)
    workers.watchdog.reached("the start")
    workers.check_same("version", f"{tf_sg2.__version__} {tf.__version__}")
    workers.check_same("configuration", to_json(override(config, _anywhere(config))))
    workers.check_same("data set", fingerprint)
    workers.check_same("held-out images", str(heldout))
    directory = RunDirectory(path)
    with locked(directory.path) if cluster.is_chief else contextlib.nullcontext():
        if cluster.is_chief:
            _prepare_directory(
                directory, config, data.training, fingerprint, heldout, partial(say, cluster)
            )
        state = create_state(config, workers.strategy)
        manager = None
        if cluster.is_chief:
            manager = checkpoint.checkpoint_manager(state, config, directory)
        run = TrainingRun(config, directory, data.training, data.heldout, workers, state, manager)
        restored = run.restore()
        if init_from is not None and not restored and cluster.is_chief:
            run.say(_initialize(state, init_from))
        run.broadcast_state()
        seen = int(state.images_seen.numpy())
        if restored:
            run.say(f"resuming {directory.path} at {seen / 1000:.1f} kimg")
        if cluster.is_chief:
            run.log = RunLog(directory, config, seen, progress)
            kept.forget_after(directory, int(state.iteration.numpy()))
            run.metrics = metrics
            if restored:
                run.keep_lasting()
        try:
            yield run
        finally:
            if run.profile is not None:
                run.profile.stop()
            if run.log is not None:
                run.log.close()


def _prepare_directory(
    directory: RunDirectory,
    config: Config,
    source: ImageSource,
    fingerprint: str,
    heldout: dict[str, object] | None,
    say: Callable[[str], None],
) -> None:
    """Refuses a run directory that does not fit, and writes what describes the run into it."""
    # Without a checkpoint, an earlier start failed or was stopped; the new one may differ from it.
    resumed = directory.has_checkpoints()
    if resumed and directory.config_path.exists():
        checkpoint.check_resumable(directory.read_config(), config, directory)
    check_data(directory, source, fingerprint, heldout, resumed, say)
    directory.write_config(config)
    checkpoint.set_damaged_aside(directory, say)


def _initialize(state: TrainState, source: str | Path) -> str:
    transfer = checkpoint.initialize_from(state, source)
    return (
        f"from {source}, without training.ema_rampup: {len(transfer.copied)} weights copied, "
        f"{len(transfer.fresh)} fresh: {', '.join(transfer.fresh) or 'none'}"
    )


def _describe(heldout: ImageSource | None) -> dict[str, object] | None:
    if heldout is None:
        return None
    return {"images": len(heldout), "fingerprint": heldout.fingerprint()}


def _anywhere(config: Config) -> dict[str, str]:
    """Returns the same paths of data for all workers, because each may keep the data elsewhere."""
    paths = {"data.source": config.data.source, "data.heldout": config.data.heldout}
    return {name: "anywhere" for name, path in paths.items() if path}


def _open_data(config: Config) -> Split:
    if not config.data.source:
        raise InputError("no data set is given; add --data=PATH, or --data=cards:size=HxW")
    generator = config.generator
    data = open_split(config.data, generator.image_size, generator.image_channels)
    source = data.training
    if generator.label_dim and source.label_dim != generator.label_dim:
        raise InputError(
            f"{source.name} has labels of width {source.label_dim}, but the configuration's "
            f"label_dim is {generator.label_dim}; set generator.label_dim and "
            f"discriminator.label_dim to {source.label_dim}, or give another data set"
        )
    return data

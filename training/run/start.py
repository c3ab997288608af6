"""How a run begins: new, from where it stands, or from another run's weights."""

from __future__ import annotations

import contextlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

import tf_sg2
from tf_sg2.config import Config, override, to_json
from tf_sg2.data import open_source
from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError, first_line
from tf_sg2.files import new_file
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.training.cluster.collectives import Workers
from tf_sg2.training.monitor.profile import Profile
from tf_sg2.training.monitor.run_log import RunLog, WorkerLog
from tf_sg2.training.run import checkpoint, rollback
from tf_sg2.training.run.signals import sole_use_of
from tf_sg2.training.state import TrainState, create_state

# Of what fingerprints cover. 1: names and sizes of files; 2: their contents.
FINGERPRINT_VERSION = 2


@dataclass
class Run:
    """A run that is ready to go on."""

    config: Config
    directory: RunDirectory
    source: ImageSource
    workers: Workers
    state: TrainState
    checkpoints: tf.train.CheckpointManager | None  # The chief's.
    log: RunLog | WorkerLog | None = None
    profile: Profile | None = None  # The chief's.

    def restore(self) -> bool:
        """Gives the chief the state of its newest checkpoint; False, on every worker, without."""
        # Outside the strategy's scope: a variable made in it waits for all workers, and here is
        # the chief alone.
        restored = self.workers.cluster.is_chief and checkpoint.restore(self.checkpoints)
        self.workers.watch.reached("the checkpoint")
        return bool(self.workers.gather([restored])[0, 0])

    def restore_before(self) -> bool:
        """Sets the newest checkpoint aside and restores the one before.

        Returns:
            False, on every worker, where there is none before; nothing is changed then.
        """
        there = False
        if self.workers.cluster.is_chief and len(self.directory.checkpoint_numbers()) > 1:
            checkpoint.set_newest_aside(self.directory, self.log.say)
            self.checkpoints = checkpoint.checkpoint_manager(
                self.state, self.config, self.directory
            )
            there = checkpoint.restore(self.checkpoints)
        self.workers.watch.reached("the checkpoint before")
        return bool(self.workers.gather([there])[0, 0])

    def hand_out(self) -> None:
        """Gives every worker the chief's state."""
        self.workers.take_from_chief(list(self.state.variables().values()))

    def stream(self) -> int:
        """Which random stream the next iteration draws from; the chief knows."""
        own = 0
        if self.workers.cluster.is_chief:
            own = rollback.stream_at(self.directory, int(self.state.iteration.numpy()))
        return int(self.workers.gather([own])[0, 0])

    def last_checkpoint(self) -> str:
        """Where it is, in words if there is none."""
        return checkpoint.last_checkpoint(self.checkpoints) if self.checkpoints else "the chief's"

    def save(self) -> None:
        """Writes a checkpoint; only the chief does."""
        if self.workers.cluster.is_chief:
            checkpoint.save(self.checkpoints, self.state)


@contextlib.contextmanager
def begin(
    config: Config,
    path: str | Path,
    workers: Workers,
    init_from: str | Path | None = None,
    progress: bool = True,
) -> Iterator[Run]:
    """Yields the `Run`, which nobody else trains meanwhile. Only the chief touches the folder.

    Raises:
        InputError: for a configuration, a data set or a folder that do not go together.
    """
    cluster = workers.cluster
    if init_from is not None:
        # An average that starts from another one needs no ramp-up. The run's configuration keeps
        # this, so it holds after a resume too.
        config = override(config, {"training.ema_rampup": None})
    check_batch(config, workers.strategy.num_replicas_in_sync)
    source = _open_data(config)
    fingerprint = source.fingerprint()  # First: it may read all the data, while others wait.
    workers.watch.reached("the start")
    workers.check_same("version", f"{tf_sg2.__version__} {tf.__version__}")
    workers.check_same("configuration", to_json(override(config, {"data.source": "anywhere"})))
    workers.check_same("data set", fingerprint)
    directory = RunDirectory(path)
    with sole_use_of(directory.path) if cluster.is_chief else contextlib.nullcontext():
        said: list[str] = []  # When there is a log.
        if cluster.is_chief:
            # Without a checkpoint, an earlier start failed or stopped: nothing binds this one.
            resumed = directory.has_checkpoints()
            if resumed and directory.config_path.exists():
                checkpoint.check_resumable(directory.read_config(), config, directory)
            _check_data(directory, source, fingerprint, resumed, said.append)
            directory.write_config(config)
            checkpoint.set_damaged_aside(directory, said.append)
        state = create_state(config, workers.strategy)
        manager = None
        if cluster.is_chief:
            manager = checkpoint.checkpoint_manager(state, config, directory)
        run = Run(config, directory, source, workers, state, manager)
        restored = run.restore()
        if init_from is not None and not restored and cluster.is_chief:
            said.append(_initialize(state, init_from))
        run.hand_out()
        seen = int(state.images_seen.numpy())
        if restored:
            said.append(f"resuming {directory.path} at {seen / 1000:.1f} kimg")
        name = f"{cluster.name(cluster.index)}: " if cluster.size > 1 else ""
        if cluster.is_chief:
            run.log = RunLog(directory, config, seen, progress, name)
        else:
            run.log = WorkerLog(name)
        try:
            for line in said:
                run.log.say(line)
            yield run
        finally:
            if run.profile is not None:
                run.profile.stop()
            run.log.close()


def _initialize(state: TrainState, source: str | Path) -> str:
    transfer = checkpoint.initialize_from(state, source)
    return (
        f"from {source}, without training.ema_rampup: {len(transfer.copied)} weights copied, "
        f"{len(transfer.fresh)} fresh: {', '.join(transfer.fresh) or 'none'}"
    )


def check_batch(config: Config, replicas: int) -> None:
    """Holds the batch to one whose shares compute what the whole batch on one device computes.

    A share is what one device takes at a time. Minibatch-stddev groups must lie whole in it, and
    the path-length term must take the same samples of it.

    Raises:
        InputError: if they do not, with the numbers that would work.
    """
    training, network = config.training, config.discriminator
    batch, steps = training.batch_size, training.accumulation_steps
    wanted = network.minibatch_stddev_group
    divisor = training.path_length_batch_divisor
    if not (training.path_length_weight and training.path_length_interval):
        divisor = 1

    def fault(batch: int, shares: int, group: int = wanted, divisor: int = divisor) -> str | None:
        if batch % shares:
            return "they do not divide evenly"
        share, group = batch // shares, min(group, batch)
        if group and share % group:
            return (
                f"shares of {share} images do not divide into minibatch-stddev groups of {group} "
                "(discriminator.minibatch_stddev_group)"
            )
        if max(share // divisor, 1) * shares != max(batch // divisor, 1):
            return (
                f"shares of {share} images do not divide by {divisor} "
                "(training.path_length_batch_divisor)"
            )
        return None

    shares = replicas * steps
    found = fault(batch, shares)
    if found is None:
        return
    larger = next(n for n in itertools.count(batch + 1) if fault(n, shares) is None)
    ways = [f"training.batch_size {larger}"]
    fewer = [n for n in range(1, batch + 1) if fault(batch, replicas * n) is None]
    if fewer:
        ways.append(f"training.accumulation_steps {' or '.join(map(str, fewer))}")
    devices = [n for n in range(1, batch + 1) if fault(batch, n * steps) is None]
    if devices:
        ways.append(f"{' or '.join(map(str, devices))} device(s)")
    groups = [n for n in range(1, wanted) if fault(batch, shares, group=n) is None]
    if groups:
        ways.append(f"discriminator.minibatch_stddev_group {groups[-1]} (another objective)")
    raise InputError(
        f"training.batch_size {batch} cannot be shared among {replicas} device(s) times "
        f"{steps} accumulation step(s): {found}; take one of: {'; '.join(ways)}"
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


def _check_data(
    run: RunDirectory,
    source: ImageSource,
    fingerprint: str,
    resumed: bool,
    say: Callable[[str], None],
) -> None:
    """Holds a resumed run to the data set that it was started with; describes it for a new run."""
    path = run.path / "data.json"
    ours = {
        "images": len(source),
        "image_size": list(source.image_size),
        "image_channels": source.image_channels,
        "label_dim": source.label_dim,
        "fingerprint": fingerprint,
        "fingerprint_version": FINGERPRINT_VERSION,
    }
    if resumed and path.exists():
        theirs = _read_description(path)
        if theirs.setdefault("fingerprint_version", 1) != FINGERPRINT_VERSION:
            say(f"{path} is of another version of tf_sg2: the content of the data is not compared")
            theirs.update({key: ours[key] for key in ("fingerprint", "fingerprint_version")})
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
    with new_file(path) as file:
        file.write((json.dumps(ours, indent=2) + "\n").encode())


def _read_description(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged ({first_line(error)}); put it back from a copy, or remove it to "
            "go on with the data set that is given now"
        ) from error
    return found

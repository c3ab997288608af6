"""Saves and restores the state of a run, and starts a run from another one's weights."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

import tensorflow as tf

from tf_sg2.config import Config, differences
from tf_sg2.errors import InputError, first_line
from tf_sg2.files import new_file
from tf_sg2.networks.generator import Generator
from tf_sg2.runs.checkpoints import CHECKPOINT_NAME, checkpoint_of
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.runs.load import load_run, restore_parts
from tf_sg2.training.state import TrainState
from tf_sg2.weights.names import Entry, discriminator_entries, generator_entries

# Fields that a resumed run may change, because no iteration depends on them. The data set may have
# another path; its fingerprint shows that it is the same one. So do those of held-out images.
FREE_ON_RESUME = {
    "data.source",
    "data.heldout",
    "training.total_kimg",
    "training.tick_kimg",
    "training.checkpoint_kimg",
    "training.checkpoints_kept",
    "training.checkpoints_every_kimg",
    "training.sample_kimg",
    "training.sample_rows",
    "training.sample_columns",
    "training.sample_truncation_psi",
    "training.metrics",
    "training.metrics_kimg",
    "training.metrics_samples",
    "training.metrics_features",
    "training.metrics_weights",
    "training.best_metric",
    "training.score_samples",
}


# Parts of the state that checkpoints of version 0.1 do not hold; they start at zero.
COUNTERS_SINCE_0_2 = (
    *("generator_skips", "discriminator_skips"),
    *("augment_probability", "augment_signs"),
)


def checkpoint_manager(
    state: TrainState, config: Config, run: RunDirectory
) -> tf.train.CheckpointManager:
    """Returns the manager that writes `run.checkpoints` and keeps the newest ones."""
    return tf.train.CheckpointManager(
        checkpoint_of(state.trackables()),
        str(run.checkpoints),
        max_to_keep=config.training.checkpoints_kept,
        checkpoint_name=CHECKPOINT_NAME,
    )


def last_checkpoint(manager: tf.train.CheckpointManager) -> str:
    """Returns the path of the newest checkpoint, or words if there is none."""
    return manager.latest_checkpoint or "none: no checkpoint has been written yet"


def save(manager: tf.train.CheckpointManager, state: TrainState) -> str:
    """Writes a checkpoint with the iteration as its number; returns its path.

    TensorFlow writes the data to temporary files, and adds the checkpoint to the folder's index
    file last.

    Raises:
        InputError: if it cannot be written, as on a full disk. Earlier checkpoints do not change.
    """
    try:
        return manager.save(checkpoint_number=int(state.iteration.numpy()))
    except (tf.errors.OpError, OSError) as error:
        raise InputError(
            f"no checkpoint can be written to {manager.directory} ({first_line(error)}); make "
            "room, then give the same command again; the last good checkpoint is "
            f"{last_checkpoint(manager)}"
        ) from error


def set_damaged_aside(
    run: RunDirectory, say: Callable[[str], None], known: Collection[str] = ()
) -> None:
    """Reads the newest checkpoint in full; if that fails, renames it and tries the one before.

    Afterwards TensorFlow's index file of the folder lists the checkpoints that exist. So a run
    that was killed between a checkpoint and that index file goes on from the checkpoint.

    Args:
        run: the run directory.
        say: prints a sentence about each checkpoint that is set aside.
        known: names of checkpoints that were set aside before; nothing is printed about them.

    Raises:
        InputError: if there are checkpoints, but none of them is sound.
    """
    folder = run.checkpoints
    lost = list(known)
    while numbers := run.checkpoint_numbers():
        prefix = folder / f"{CHECKPOINT_NAME}-{numbers[-1]}"
        reason = _fault(prefix)
        if reason is None:
            break
        _rename(prefix)
        lost.append(prefix.name)
        say(f"checkpoint {prefix} is damaged ({reason}); set aside as damaged-{prefix.name}")
    state = tf.train.get_checkpoint_state(str(folder))
    named = {Path(path).name for path in state.all_model_checkpoint_paths} if state else set()
    found = [f"{CHECKPOINT_NAME}-{number}" for number in numbers]
    missing = sorted(named - set(found) - set(lost))
    for name in missing:
        say(f"checkpoint {folder / name} is incomplete: its .index file is missing")
    if found:
        # Relative names, so that the run can be moved.
        lines = [f'model_checkpoint_path: "{found[-1]}"']
        lines += [f'all_model_checkpoint_paths: "{name}"' for name in found]
        # Without times, the manager would ignore these files and never delete them.
        times = [os.path.getmtime(folder / f"{name}.index") for name in found]
        lines += [f"all_model_checkpoint_timestamps: {time}" for time in times]
        with new_file(folder / "checkpoint") as file:
            file.write("".join(line + "\n" for line in lines).encode())
    elif lost or missing or any(folder.glob("damaged-*")):
        raise InputError(
            f"no checkpoint in {folder} is sound, so {run.path} cannot be resumed; put one back "
            "from a copy, or start another run directory"
        )


def set_newest_aside(run: RunDirectory, say: Callable[[str], None]) -> None:
    """Renames the newest checkpoint, because the run diverged at once from it.

    Args:
        run: the run directory, with at least two checkpoints.
        say: prints a sentence about it.
    """
    prefix = run.checkpoints / f"{CHECKPOINT_NAME}-{run.checkpoint_numbers()[-1]}"
    _rename(prefix)
    say(f"the run diverged at once from checkpoint {prefix}; set aside as damaged-{prefix.name}")
    set_damaged_aside(run, say, {prefix.name})


def _rename(prefix: Path) -> None:
    # Path.glob reads only the name as a pattern, so the folder may have any characters.
    for path in prefix.parent.glob(f"{prefix.name}.*"):
        os.replace(path, prefix.parent / f"damaged-{path.name}")


def _fault(prefix: Path) -> str | None:
    """Returns why a checkpoint cannot be read, or None. TensorFlow checks every checksum."""
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:
        return first_line(error)
    return None


def restore(manager: tf.train.CheckpointManager, state: TrainState) -> bool:
    """Restores the newest checkpoint; returns False if there is none.

    Counters that a checkpoint of version 0.1 does not hold start at zero.

    Raises:
        InputError: if it cannot be read, or does not hold the whole state.
    """
    newest = manager.latest_checkpoint
    if newest is None:
        return False
    try:
        stored = tf.train.load_checkpoint(newest).get_variable_to_shape_map()
        missing = [name for name in COUNTERS_SINCE_0_2 if not _is_stored(name, stored)]
        reader = manager.checkpoint
        if missing:
            parts = state.trackables()
            reader = checkpoint_of({name: parts[name] for name in parts.keys() - missing})
        reader.restore(newest).assert_existing_objects_matched()
        for name in missing:
            counter = getattr(state, name)
            counter.assign(tf.zeros_like(counter))
    except (AssertionError, IndexError, RuntimeError, ValueError, tf.errors.OpError) as error:
        raise InputError(
            f"checkpoint {newest} cannot be restored ({first_line(error)}); remove its files to "
            "go on from the one before it"
        ) from error
    return True


def _is_stored(name: str, stored: Collection[str]) -> bool:
    return any(key.startswith(f"{name}/") for key in stored)


def check_resumable(stored: Config, wanted: Config, run: RunDirectory) -> None:
    """Refuses to resume a run with a configuration that changes what an iteration computes.

    Raises:
        InputError: listing every field that differs.
    """
    found = [
        line for line in differences(stored, wanted) if line.partition(":")[0] not in FREE_ON_RESUME
    ]
    if found:
        raise InputError(
            f"{run.path} was started with another configuration; give the run's own, or name "
            f"another run directory. Differences (run -> wanted): {'; '.join(found)}"
        )


@dataclasses.dataclass(frozen=True)
class Transfer:
    """The result of `initialize_from`: official names of copied weights, and of fresh ones."""

    copied: list[str]
    fresh: list[str]


def initialize_from(state: TrainState, source: str | Path) -> Transfer:
    """Copies the weights of another run's newest checkpoint if name and shape match.

    The levels of both networks are named by resolution. So a run of another image size gets all
    levels that both have. G starts from G, the average from the average, D from D.

    Raises:
        InputError: if `source` is not a run with a checkpoint, or no weight matches.
    """
    other = load_run(source)
    generator = Generator(other.config.generator)
    restore_parts(other.checkpoint, other.directory, {"generator": generator})
    _copy(generator_entries(other.generator), generator_entries(state.generator_ema))
    g = _copy(generator_entries(generator), generator_entries(state.generator))
    d = _copy(
        discriminator_entries(other.discriminator), discriminator_entries(state.discriminator)
    )
    copied, fresh = (
        [f"{letter}/{name}" for letter, names in (("G", g[i]), ("D", d[i])) for name in names]
        for i in range(2)
    )
    if not copied:
        raise InputError(
            f"no weight of {source} fits the networks of this configuration; give a run with "
            "networks of the same widths"
        )
    return Transfer(copied, fresh)


def _copy(theirs: Iterable[Entry], ours: Iterable[Entry]) -> tuple[list[str], list[str]]:
    """Copies weights of the same name and shape; returns the names of copied and other weights."""
    available = {entry.name: entry.variable for entry in theirs}
    copied: list[str] = []
    fresh: list[str] = []
    for entry in ours:
        found = available.get(entry.name)
        if found is not None and tuple(found.shape) == tuple(entry.variable.shape):
            entry.variable.assign(tf.convert_to_tensor(found))
            copied.append(entry.name)
        else:
            fresh.append(entry.name)
    return copied, fresh

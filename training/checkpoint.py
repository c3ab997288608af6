"""Saves and restores the state of a run, and starts a run from another one's weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tensorflow as tf

from tf_sg2.config import Config, differences
from tf_sg2.errors import InputError
from tf_sg2.run_directory import CHECKPOINT_NAME, RunDirectory, checkpoint_of, load_run
from tf_sg2.training.state import TrainState
from tf_sg2.weights.names import discriminator_entries, generator_entries

# Fields that a resumed run may change: none has a part in what an iteration computes. The data
# set may lie elsewhere; that it is the same one is checked by its fingerprint.
FREE_ON_RESUME = {
    "data.source",
    "training.total_kimg",
    "training.tick_kimg",
    "training.checkpoint_kimg",
    "training.checkpoints_kept",
    "training.sample_kimg",
    "training.sample_rows",
    "training.sample_columns",
    "training.sample_truncation_psi",
}


def checkpoint_manager(state: TrainState, config: Config, run: RunDirectory):
    """Returns the manager that writes `run.checkpoints`, keeping the last ones."""
    return tf.train.CheckpointManager(
        checkpoint_of(state.trackables()),
        str(run.checkpoints),
        max_to_keep=config.training.checkpoints_kept,
        checkpoint_name=CHECKPOINT_NAME,
    )


def save(manager: tf.train.CheckpointManager, state: TrainState) -> str:
    """Writes a checkpoint, numbered by iteration; returns its path.

    TensorFlow writes the data under temporary names and names it in the folder's index file last.
    """
    return manager.save(checkpoint_number=int(state.iteration.numpy()))


def restore(manager: tf.train.CheckpointManager) -> bool:
    """Restores the newest checkpoint; returns False where there is none.

    Raises:
        InputError: if it cannot be read, or does not hold the whole state.
    """
    newest = manager.latest_checkpoint
    if newest is None:
        return False
    try:
        manager.checkpoint.restore(newest).assert_existing_objects_matched()
    except (AssertionError, tf.errors.OpError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"checkpoint {newest} cannot be restored ({reason}); remove its files to go on from "
            "the one before it"
        ) from error
    return True


def check_resumable(stored: Config, wanted: Config, run: RunDirectory) -> None:
    """Refuses to resume a run under a configuration that would compute something else.

    Raises:
        InputError: listing every field that differs.
    """
    found = [
        line for line in differences(stored, wanted) if line.partition(":")[0] not in FREE_ON_RESUME
    ]
    if found:
        raise InputError(
            f"{run.path} was started under another configuration; take its own, or another run "
            f"directory. Differences (run -> wanted): {'; '.join(found)}"
        )


@dataclasses.dataclass(frozen=True)
class Transfer:
    """What `initialize_from` did: official names of the weights, by what became of them."""

    copied: list[str]
    fresh: list[str]


def initialize_from(state: TrainState, source: str | Path) -> Transfer:
    """Copies the weights of another run's newest checkpoint wherever name and shape match.

    The levels of both networks are named by resolution, so a run of another image size shares
    all levels that both have. G starts from the other run's EMA generator.

    Raises:
        InputError: if `source` is no run with a checkpoint, or nothing matches.
    """
    other = load_run(source)
    copied: list[str] = []
    fresh: list[str] = []
    for letter, entries, theirs, ours in (
        ("G", generator_entries, other.generator, (state.generator, state.generator_ema)),
        ("D", discriminator_entries, other.discriminator, (state.discriminator,)),
    ):
        available = {entry.name: entry.variable for entry in entries(theirs)}
        for network in ours:
            for entry in entries(network):
                found = available.get(entry.name)
                if found is not None and tuple(found.shape) == tuple(entry.variable.shape):
                    entry.variable.assign(tf.convert_to_tensor(found))
                    (copied if network is ours[0] else []).append(f"{letter}/{entry.name}")
                else:
                    (fresh if network is ours[0] else []).append(f"{letter}/{entry.name}")
    if not copied:
        raise InputError(f"no weight of {source} fits the networks of this configuration")
    return Transfer(copied, fresh)

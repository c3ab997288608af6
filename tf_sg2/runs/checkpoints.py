"""The layout of a run's checkpoints: their file names, and the names of the weights in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf

# Checkpoints are files `checkpoint-ITERATION.index` and `checkpoint-ITERATION.data-...`.
CHECKPOINT_NAME = "checkpoint"


def checkpoint_of(parts: Mapping[str, Any]) -> tf.train.Checkpoint:
    """Returns a checkpoint of `parts` in the layout of all checkpoints of a run.

    The weights of networks are stored under their official names. If whole networks were stored,
    most weights would be lost without an error: Keras 3 hides layers in lists from TensorFlow's
    object graph. With names, Keras 2.15 and Keras 3 can read each other's checkpoints, and
    restoring into different networks fails.

    Args:
        parts: networks, optimisers and variables by name.
    """
    import tensorflow as tf

    from tf_sg2.networks.discriminator import Discriminator
    from tf_sg2.networks.generator import Generator
    from tf_sg2.weights.names import discriminator_entries, generator_entries

    def held(part: Any) -> Any:
        if isinstance(part, Generator):
            return {entry.name: entry.variable for entry in generator_entries(part)}
        if isinstance(part, Discriminator):
            return {entry.name: entry.variable for entry in discriminator_entries(part)}
        return part

    return tf.train.Checkpoint(**{name: held(part) for name, part in parts.items()})


def checkpoint_hashes(checkpoint: Path) -> dict[str, str]:
    """Returns the SHA-256 of each file of a checkpoint, in hexadecimal, by file name."""
    hashes = {}
    for path in sorted(checkpoint.parent.glob(f"{checkpoint.name}.*")):
        with open(path, "rb") as file:
            digest = hashlib.sha256()
            while block := file.read(1 << 20):
                digest.update(block)
            hashes[path.name] = digest.hexdigest()
    return hashes

"""The layout of a run's checkpoints: their file names, and the names of the weights in them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tensorflow as tf

# Checkpoints are files `checkpoint-ITERATION.index` and `checkpoint-ITERATION.data-...`.
CHECKPOINT_NAME = "checkpoint"


def checkpoint_of(parts: Mapping[str, Any]) -> tf.train.Checkpoint:
    """Returns the checkpoint that holds `parts`, in the one layout of a run's checkpoints.

    Networks are held weight by weight under their official names. Handed over whole, they would
    lose most weights without an error: Keras 3 hides layers that stand in lists from TensorFlow's
    object graph. By name, a checkpoint also passes between Keras 2.15 and Keras 3, and restoring
    into other networks fails.

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

"""One update of one network: gradients over parts and replicas, then one optimiser step.

A loss is a sum over samples divided by the global batch. So gradients add up over parts and
replicas to the gradient of one large batch. The optimisers add gradients over replicas themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from tf_sg2.compat import raw_variable
from tf_sg2.training.state import TrainState

Scalars = dict[str, Any]


class Samples(NamedTuple):
    """Samples of one part of a batch on one replica.

    Attributes:
        positions: int64 [b], positions in the run's stream of samples.
        images: uint8 [b, H, W, C].
        labels: float32 [b, label_dim], or None for an unconditional model.
    """

    positions: tf.Tensor
    images: tf.Tensor
    labels: tf.Tensor | None


def compile_update(
    state: TrainState,
    name: str,
    strategy: tf.distribute.Strategy,
    parts: int,
    loss_of: Callable[..., tuple[tf.Tensor, Scalars]],
    mean_of: Callable[[Samples], tf.Tensor] | None = None,
    after: Callable[[Scalars], None] = lambda scalars: None,
) -> Callable[..., Scalars]:
    """Compiles an update of one network of the state by a loss.

    An update with a gradient that is not finite, on any replica, changes only the state's counts
    of skipped updates.

    Args:
        state: the state to update.
        name: "generator" or "discriminator"; the other network's results are constants.
        strategy: the strategy of the run.
        parts: how many parts a replica's share is computed in, one after the other.
        loss_of: (samples) -> (loss, scalars). Scalars with names that begin with "_" go only to
            `after`.
        mean_of: (samples) -> their share of a mean over the global batch. `loss_of` gets this
            mean as a second argument: (samples, mean). With one part, the argument is None, and
            `loss_of` computes the mean itself.
        after: changes further variables after an update, given the scalars of the global batch.

    Returns:
        A function from per-replica positions, images and labels to scalars of the global batch.
    """
    network, optimizer = getattr(state, name), getattr(state, f"{name}_optimizer")
    skips, variables = getattr(state, f"{name}_skips"), network.trainable_variables
    is_conditional = bool(network.config.label_dim)

    def compute_gradients(positions, images, labels):
        def part(index):
            return Samples(
                take_part(positions, index, parts),
                take_part(images, index, parts),
                take_part(labels, index, parts) if is_conditional else None,
            )

        mean = None
        if mean_of is not None and parts > 1:
            share = sum_over_parts(lambda index: mean_of(part(index)), parts)
            mean = sum_over_replicas(share)

        def compute(index):
            watched = [raw_variable(variable) for variable in variables]
            # Only this network is watched: the results of the other one are constants.
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(watched)
                samples = part(index)
                loss, scalars = loss_of(samples, mean) if mean_of else loss_of(samples)
            # Zero, not None, for variables that a regulariser does not reach. Their optimiser
            # slots then decay as in a step with both terms.
            zero = tf.UnconnectedGradients.ZERO
            return tape.gradient(loss, watched, unconnected_gradients=zero), scalars

        gradients, scalars = sum_over_parts(compute, parts)
        unusable = _unusable(gradients, strategy.num_replicas_in_sync)
        return gradients, {**scalars, "_unusable": unusable}

    def apply_gradients(gradients):
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    @tf.function(autograph=False)  # No Python control flow depends on a tensor.
    def update(*inputs):
        gradients, per_replica = strategy.run(compute_gradients, args=inputs)
        scalars = {
            key: strategy.reduce(tf.distribute.ReduceOp.SUM, value, axis=None)
            for key, value in per_replica.items()
        }

        def apply():
            strategy.run(apply_gradients, args=(gradients,))
            after(scalars)
            return tf.stack([skips[0], 0])

        # All replicas decide alike, because each has the same sum.
        counts = tf.cond(scalars["_unusable"] > 0, lambda: skips + 1, apply)
        skips.assign(counts)
        shown = {key: value for key, value in scalars.items() if not key.startswith("_")}
        return {**shown, f"skipped_in_a_row/{name}": counts[1]}

    return update


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """Returns the sum over replicas. Every replica must call it."""
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


def take_part(values: tf.Tensor, index: tf.Tensor | int, parts: int) -> tf.Tensor:
    """Returns rows index, index + parts, ...: strided, which keeps minibatch-stddev groups."""
    if parts == 1:
        return values
    split = tf.reshape(values, [values.shape[0] // parts, parts, *values.shape[1:]])
    return tf.gather(split, index, axis=1)


def sum_over_parts(compute: Callable[[tf.Tensor | int], Any], parts: int) -> Any:
    """Returns the sum of compute(0) ... compute(parts - 1), computed one after the other."""
    if parts == 1:
        return compute(0)
    first = compute(tf.constant(0))

    def body(index, total):
        return index + 1, tf.nest.map_structure(tf.add, total, compute(index))

    # A loop rather than a chain of operations: memory holds the activations of one part only.
    _, total = tf.while_loop(
        lambda index, total: index < parts, body, (tf.constant(1), first), parallel_iterations=1
    )
    return total


def _unusable(gradients: Sequence[tf.Tensor], replicas: int) -> tf.Tensor:
    """Returns 1.0 if a gradient, or its sum over replicas, may not be finite."""
    finite = [tf.reduce_all(tf.math.is_finite(gradient * replicas)) for gradient in gradients]
    return 1.0 - tf.cast(tf.reduce_all(finite), tf.float32)

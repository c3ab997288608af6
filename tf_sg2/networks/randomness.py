"""Stateless randomness per sample: the numbers of a sample depend only on its own seed.

So the numbers stay the same however a batch is split over devices, micro-batches or requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

# Batches up to this size become one operation per sample. Larger and unknown sizes use a loop.
_UNROLLED = 64
_PHILOX = 1  # TensorFlow's number of the algorithm that gives the same bits on every device.


def _per_sample(
    draw: Callable[..., tf.Tensor], seeds: tf.Tensor, shape: Sequence[int]
) -> tf.Tensor:
    """Returns the stacked draws of all seeds, float32 [N, *shape]."""
    count = seeds.shape[0]
    if count == 0:  # Without a sample, `map_fn` does not learn the shape.
        return tf.zeros([0, *shape])
    size = tf.constant(list(shape), tf.int32)

    def one(seed: tf.Tensor) -> tf.Tensor:
        # These two operations do the work inside functions like `tf.random.stateless_normal`. The
        # dozen other operations there are left out, because they cost more than a small layer.
        key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
        sample = draw(shape=size, key=key, counter=counter, alg=_PHILOX)
        sample.set_shape(shape)  # Inside a graph, TensorFlow does not infer it from `size`.
        return sample

    if count is not None and count <= _UNROLLED:
        return tf.stack([one(seed) for seed in tf.unstack(seeds)])
    return tf.map_fn(one, seeds, fn_output_signature=tf.float32)


def normal(seeds: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Returns standard normal samples [N, *shape], float32, for `seeds` int32 or int64 [N, 2].

    Row n equals `tf.random.stateless_normal(shape, seeds[n], alg="philox")`.
    """
    return _per_sample(tf.raw_ops.StatelessRandomNormalV2, seeds, shape)


def uniform(seeds: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Returns samples of [0, 1), float32 [N, *shape], for `seeds` int32 or int64 [N, 2].

    Row n equals `tf.random.stateless_uniform(shape, seeds[n], alg="philox")`.
    """
    return _per_sample(tf.raw_ops.StatelessRandomUniformV2, seeds, shape)


def fresh_seeds(count: tf.Tensor | int) -> tf.Tensor:
    """Returns `count` seeds, int32 [N, 2], from TensorFlow's global generator."""
    return tf.random.uniform([count, 2], minval=tf.int32.min, maxval=tf.int32.max, dtype=tf.int32)

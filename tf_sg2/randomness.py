"""Stateless randomness by sample: what a sample draws depends on its own seed alone.

A batch may then be split over devices, micro-batches or requests, in any way, and every sample
still gets the numbers it would have got.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

# Batches up to this size become one operation a sample; a loop serves unknown and larger ones.
_UNROLLED = 64


def _per_sample(draw, seeds: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    count = seeds.shape[0]
    if count == 0:  # No sample tells `map_fn` the shape.
        return tf.zeros([0, *shape])
    if count is not None and 0 < count <= _UNROLLED:
        return tf.stack([draw(seed) for seed in tf.unstack(seeds)])
    return tf.map_fn(draw, seeds, fn_output_signature=tf.float32)


def normal(seeds: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Returns standard normal samples [N, *shape], float32, for `seeds` int32 or int64 [N, 2]."""
    return _per_sample(
        lambda seed: tf.random.stateless_normal(shape, seed=seed, alg="philox"), seeds, shape
    )


def uniform(seeds: tf.Tensor, shape: Sequence[int]) -> tf.Tensor:
    """Returns samples of [0, 1), float32 [N, *shape], for `seeds` int32 or int64 [N, 2]."""
    return _per_sample(
        lambda seed: tf.random.stateless_uniform(shape, seed=seed, alg="philox"), seeds, shape
    )


def fresh_seeds(count: tf.Tensor | int) -> tf.Tensor:
    """Returns `count` seeds, int32 [N, 2], from TensorFlow's global generator."""
    return tf.random.uniform([count, 2], minval=tf.int32.min, maxval=tf.int32.max, dtype=tf.int32)

"""Seeds: each gives the latent z of a picture and its noise, the same in every program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tf_sg2.config.whole_number import whole_number
from tf_sg2.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

# Second halves of the seed pairs. In training they are positions in a run, which are never
# negative. So no seed gives a latent that was used in training.
LATENT_STREAM, NOISE_STREAM = -1, -2

LARGEST_SEED = 2**63 - 1
LARGEST_COUNT = 10_000_000


def latents(seeds: Sequence[int] | tf.Tensor, z_dim: int) -> tf.Tensor:
    """Returns the z of each seed, standard normal float32 [N, z_dim].

    A row depends on its own seed only. `seeds` may be a tensor, int64 [N], also inside a graph.
    """
    from tf_sg2.networks import randomness

    return randomness.normal(_pairs(seeds, LATENT_STREAM), [z_dim])


SEED_KINDS = ("philox", "numpy")
LARGEST_NUMPY_SEED = 2**32 - 1


def latents_as(kind: str, seeds: Sequence[int], z_dim: int) -> np.ndarray:
    """Returns the z of each seed, float32 [N, z_dim], as a kind of program draws it.

    Args:
        kind: "philox" as everywhere in this library, or "numpy" as the official PyTorch scripts.
        seeds: one per row.
        z_dim: width of z.

    Raises:
        InputError: for an unknown kind, or a seed that NumPy does not take.
    """
    if kind not in SEED_KINDS:
        raise InputError(f"there is no kind of seeds {kind!r}; take one of {', '.join(SEED_KINDS)}")
    if kind == "philox":
        return np.asarray(latents(seeds, z_dim))
    for seed in seeds:
        if seed > LARGEST_NUMPY_SEED:
            raise InputError(
                f"seed {seed} is larger than {LARGEST_NUMPY_SEED}, the largest of --seeds_as=numpy"
            )
    rows = [np.random.RandomState(seed).randn(z_dim) for seed in seeds]
    return np.asarray(rows, np.float32).reshape(len(rows), z_dim)


def noise_seeds(seeds: Sequence[int] | tf.Tensor) -> tf.Tensor:
    """Returns the argument `noise_seeds` of the synthesis network, int64 [N, 2]."""
    return _pairs(seeds, NOISE_STREAM)


def _pairs(seeds: Sequence[int] | tf.Tensor, stream: int) -> tf.Tensor:
    import tensorflow as tf

    if isinstance(seeds, tf.Tensor):
        return tf.stack([seeds, tf.fill(tf.shape(seeds), tf.constant(stream, seeds.dtype))], axis=1)
    pairs = [(int(seed), stream) for seed in seeds]
    return tf.reshape(tf.constant(pairs, tf.int64), [len(pairs), 2])


def parse_numbers(text: str, what: str) -> list[int]:
    """Returns the whole numbers of a list such as "0-15,20,33", in the order given.

    Args:
        text: numbers and ranges (both ends included), separated by commas.
        what: the name of the numbers in messages, such as "--seeds".

    Raises:
        InputError: if `text` is no such list, or holds too many or too large numbers.
    """
    numbers: list[int] = []
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        start, stop = whole_number(first), whole_number(last if dash else first)
        if start is None or stop is None:
            raise InputError(
                f"{what} {text!r} is no list of whole numbers of 0 or more, such as 0-15,20,33"
            )
        if stop < start:
            raise InputError(f"{what} {text!r}: the range {part.strip()} runs backwards")
        if stop > LARGEST_SEED:
            raise InputError(f"{what} {text!r}: {stop} is larger than {LARGEST_SEED}")
        if len(numbers) + stop - start + 1 > LARGEST_COUNT:
            raise InputError(
                f"{what} {text!r} are more than {LARGEST_COUNT} numbers; ask for fewer"
            )
        numbers.extend(range(start, stop + 1))
    return numbers

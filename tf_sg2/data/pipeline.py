"""Feeds images to training: endless, shuffled, and the same again after a restart.

Position p of the stream (p = batch * batch size + row) holds image
`permutation(seed, p // N)[p % N]` of the N images, and a coin for mirroring that is a function
of the seed and p alone. Nothing depends on what was read before, so a stream starts at any
batch at no cost, and a resumed run sees exactly the images that it would have seen.
"""

from __future__ import annotations

import atexit
import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError, printable

if TYPE_CHECKING:
    import tensorflow as tf

_ORDER, _COINS = 0, 1  # the two random streams of an epoch
_BATCHES_AHEAD = 2
_ENDLESS = 2**62
_MOST_BAD = 100  # Images that are skipped in a row, before the whole set must be gone.
# TensorFlow hands an exception on as text with a traceback in it; these find ours again.
_BEGIN, _END = "<<tf_sg2 input error: ", " :tf_sg2>>"
_MARKED = re.compile(re.escape(_BEGIN) + "(.*?)" + re.escape(_END), re.DOTALL)


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """The order of `size` images in an epoch: a permutation, int64 [size].

    It sorts raw PCG64 output: NumPy promises those bits, but not the results of
    `Generator.permutation`, to be the same for ever and on every platform.
    """
    return np.argsort(_random_bits(size, seed, epoch, _ORDER), kind="stable")


def epoch_coins(size: int, seed: int, epoch: int) -> np.ndarray:
    """Whether each of an epoch's positions is mirrored, bool [size]."""
    return _random_bits(size, seed, epoch, _COINS) >> np.uint64(63) == 1


def _random_bits(size: int, seed: int, epoch: int, stream: int) -> np.ndarray:
    generator = np.random.PCG64(np.random.SeedSequence([seed, epoch, stream]))
    return generator.random_raw(size)


class SampleOrder:
    """Which image stands where in the stream, and whether it is mirrored; thread safe.

    Args:
        size: number of images.
        seed: of the run; 0 or more.
        mirror: whether images are flipped left to right by coin.
    """

    def __init__(self, size: int, seed: int, mirror: bool):
        self._size = size
        self._seed = seed
        self._mirror = mirror
        self._lock = threading.Lock()
        self._epochs: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def at(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Indices (int64 [n]) and mirror coins (bool [n]) at `positions` (int64 [n])."""
        epochs, offsets = np.divmod(positions, self._size)
        indices = np.empty(len(positions), np.int64)
        coins = np.zeros(len(positions), bool)
        for epoch in np.unique(epochs):
            order, flips = self._epoch(int(epoch))
            here = epochs == epoch
            indices[here] = order[offsets[here]]
            if self._mirror:
                coins[here] = flips[offsets[here]]
        return indices, coins

    def _epoch(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            if epoch not in self._epochs:
                # Batches in flight may lie on both sides of an epoch's end: keep two.
                for old in sorted(self._epochs)[:-1]:
                    del self._epochs[old]
                self._epochs[epoch] = (
                    epoch_order(self._size, self._seed, epoch),
                    epoch_coins(self._size, self._seed, epoch),
                )
            return self._epochs[epoch]


class _ExitGuard:
    """Lets the process end while batches are being read ahead; counts the reads under way.

    TensorFlow's threads enter Python to read. CPython never lets a thread continue that does so
    while the interpreter shuts down, and TensorFlow, deleting the iterator, would wait for it
    for ever. So, before the shutdown, reads are cut short until the pipelines, which nobody
    empties any more, have filled their buffers and rest.
    """

    def __init__(self):
        self.exiting = False
        self._lock = threading.Lock()
        self._begun = 0
        self._running = 0
        atexit.register(self._wait_for_rest)

    def __enter__(self) -> None:
        with self._lock:
            self._begun += 1
            self._running += 1

    def __exit__(self, *_) -> None:
        with self._lock:
            self._running -= 1

    def _wait_for_rest(self) -> None:
        self.exiting = True
        quiet, seen = 0, 0
        deadline = time.monotonic() + 10
        while self._begun and quiet < 3 and time.monotonic() < deadline:
            quiet = quiet + 1 if self._running == 0 and self._begun == seen else 0
            seen = self._begun
            time.sleep(0.05)


_guard = _ExitGuard()


def batches(
    source: ImageSource,
    global_batch_size: int,
    *,
    seed: int,
    start_batch: int = 0,
    mirror: bool = False,
    shard_index: int = 0,
    shard_count: int = 1,
    num_parallel: int = 2,
    on_bad_image: Callable[[int, InputError], None] | None = None,
) -> tf.data.Dataset:
    """The endless stream of shuffled batches of a data set.

    Starting at `start_batch=k` gives exactly what a stream from 0 gives from batch k on. Whole
    batches are read in parallel, in order, and two are kept ready. Read the stream under
    `readable_errors()` or through `iterate()`, so that a file that is lost while training runs
    is reported as an `InputError`.

    Args:
        source: the images; its `image` must be thread safe.
        global_batch_size: images in a batch, over all shards.
        seed: of the order and the mirroring; 0 or more.
        start_batch: number of batches that were already used.
        mirror: flips each image left to right with probability one half.
        shard_index: which rows this stream yields: n = r, r + R, r + 2R, ... of every batch.
        shard_count: R, the number of shards; divides the batch size.
        num_parallel: batches read at the same time.
        on_bad_image: is told of an image that cannot be read, whose place the next one takes; from
            several threads. None ends the stream with the error.

    Returns:
        A data set of (images uint8 [B / R, H, W, C], labels float32 [B / R, label_dim]).

    Raises:
        InputError: for numbers that do not fit together.
    """
    import tensorflow as tf

    if global_batch_size < 1 or shard_count < 1 or global_batch_size % shard_count:
        raise InputError(
            f"a batch of {global_batch_size} images cannot be shared by {shard_count} shards; "
            "choose a batch size that is a multiple of their number"
        )
    if not 0 <= shard_index < shard_count:
        raise InputError(f"there is no shard {shard_index} of {shard_count}; they start at 0")
    if seed < 0 or start_batch < 0 or num_parallel < 1:
        raise InputError(
            f"seed ({seed}) and start_batch ({start_batch}) must be 0 or more, and "
            f"num_parallel ({num_parallel}) 1 or more"
        )
    rows = np.arange(shard_index, global_batch_size, shard_count)
    order = SampleOrder(len(source), seed, mirror)
    image_shape = (len(rows), *source.image_size, source.image_channels)
    label_shape = (len(rows), source.label_dim)

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        for following in range(_MOST_BAD):
            chosen = (index + following) % len(source)
            try:
                return source.image(chosen), source.label(chosen)
            except InputError as error:
                if on_bad_image is None:
                    raise
                on_bad_image(chosen, error)
                last = error
        raise InputError(f"{_MOST_BAD} images in a row cannot be read, at last: {last}")

    def load(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        indices, coins = order.at(int(batch) * global_batch_size + rows)
        images = np.empty(image_shape, np.uint8)
        labels = np.empty(label_shape, np.float32)
        try:
            with _guard:
                for row, (index, flipped) in enumerate(zip(indices.tolist(), coins, strict=True)):
                    if _guard.exiting:
                        break
                    image, labels[row] = read(index)
                    _put(images[row], image, flipped)
        except InputError as error:
            # A file name that is not UTF-8 would not survive TensorFlow's strings.
            message = printable(str(error), keep="\n")
            raise InputError(f"{_BEGIN}{message}{_END}") from error
        return images, labels

    def load_in_graph(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        images, labels = tf.numpy_function(load, [batch], (tf.uint8, tf.float32))
        return tf.ensure_shape(images, image_shape), tf.ensure_shape(labels, label_shape)

    options = tf.data.Options()
    options.deterministic = True
    # The shards are ours; and decoding must not queue behind the operations of the step.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    options.threading.private_threadpool_size = num_parallel
    return (
        tf.data.Dataset.range(start_batch, _ENDLESS)
        .map(load_in_graph, num_parallel_calls=num_parallel, deterministic=True)
        .prefetch(_BATCHES_AHEAD)
        .with_options(options)
    )


def _put(row: np.ndarray, image: np.ndarray, flipped: bool) -> None:
    """Copies an image into its place in the batch, flipped left to right if wanted."""
    if not flipped:
        row[...] = image
        return
    # Channel by channel NumPy reverses four times as fast as pixel by pixel.
    for channel in range(image.shape[2]):
        row[..., channel] = image[:, ::-1, channel]


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Turns the TensorFlow error of a failed source back into the `InputError` it was.

    Other errors pass through. It works wherever the error surfaces: in an iterator, a
    `tf.function` or a distributed data set.
    """
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        found = _MARKED.search(str(error))
        if found is None:
            raise
        raise InputError(found.group(1)) from None


def iterate(dataset: tf.data.Dataset) -> Iterator:
    """Iterates over a data set, or a distributed one, under `readable_errors`."""
    with readable_errors():
        yield from dataset

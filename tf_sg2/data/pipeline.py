"""An endless `tf.data` stream of shuffled batches, which a resumed run continues exactly.

Row r of batch b is position p = b * batch size + r of the order in `tf_sg2.data.order`. A stream
therefore starts at any batch without reading the batches before it.
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

from tf_sg2.data.order import SampleOrder
from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError, printable

if TYPE_CHECKING:
    import tensorflow as tf

_BATCHES_AHEAD = 2
_ENDLESS = 2**62
_MOST_BAD = 100  # More unreadable images in a row mean that the data set itself is gone.
# TensorFlow turns an exception into text with a traceback. These marks enclose our message in it.
_BEGIN, _END = "<<tf_sg2 input error: ", " :tf_sg2>>"
_MARKED = re.compile(re.escape(_BEGIN) + "(.*?)" + re.escape(_END), re.DOTALL)


class _ExitGuard:
    """Lets the process exit while batches are prefetched; counts the reads in progress.

    TensorFlow's threads call Python to read images. A thread that calls Python during the
    interpreter's shutdown never continues. TensorFlow would wait for it forever when it deletes
    the iterator. Therefore an exit handler cuts reads short before the shutdown. It waits until
    the pipelines have filled their prefetch buffers and read no more.
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
    """Returns the endless stream of shuffled batches of a data set.

    A stream with `start_batch=k` equals a stream from 0 without its first k batches. Batches are
    read in parallel, kept in order, and two are prefetched. Read the stream under
    `readable_errors()` or through `iterate()`. Both report a file that is lost during training as
    an `InputError`.

    Args:
        source: the images; its `image` must be thread safe.
        global_batch_size: images per batch, over all shards.
        seed: seed of the order and of mirroring, 0 or more.
        start_batch: number of batches that were already used.
        mirror: mirrors each image left to right with probability one half.
        shard_index: r, the rows that this stream yields: r, r + R, r + 2R, ... of every batch.
        shard_count: R, the number of shards; divides the batch size.
        num_parallel: batches read at the same time.
        on_bad_image: called with the index and the error of each image that cannot be read, from
            several threads. The next image of the data set takes its place. None ends the stream
            with the error.

    Returns:
        A data set of (images uint8 [B / R, H, W, C], labels float32 [B / R, label_dim]).

    Raises:
        InputError: if an argument is out of range, or the shards do not divide the batch.
    """
    import tensorflow as tf

    if global_batch_size < 1 or shard_count < 1 or global_batch_size % shard_count:
        raise InputError(
            f"a batch of {global_batch_size} images cannot be shared by {shard_count} shards; "
            "choose a batch size that is a multiple of the number of shards"
        )
    if not 0 <= shard_index < shard_count:
        raise InputError(
            f"there is no shard {shard_index} of {shard_count}; give one of 0...{shard_count - 1}"
        )
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
        raise InputError(f"{_MOST_BAD} images in a row cannot be read; the last error: {last}")

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
    # This function shards by rows itself. Private threads keep decoding from waiting for the step.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    options.threading.private_threadpool_size = num_parallel
    return (
        tf.data.Dataset.range(start_batch, _ENDLESS)
        .map(load_in_graph, num_parallel_calls=num_parallel, deterministic=True)
        .prefetch(_BATCHES_AHEAD)
        .with_options(options)
    )


def _put(row: np.ndarray, image: np.ndarray, flipped: bool) -> None:
    """Copies an image into its row of the batch, mirrored left to right if `flipped`."""
    if not flipped:
        row[...] = image
        return
    # One channel at a time, because NumPy reverses one channel faster than all together.
    for channel in range(image.shape[2]):
        row[..., channel] = image[:, ::-1, channel]


@contextlib.contextmanager
def readable_errors() -> Iterator[None]:
    """Turns the TensorFlow error of a failed source back into the original `InputError`.

    Other errors pass through. It works in an iterator, a `tf.function` and a distributed data set.
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
    """Iterates over a data set, distributed or not, under `readable_errors`."""
    with readable_errors():
        yield from dataset

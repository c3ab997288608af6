"""The pipeline: order, resumption, shards, mirroring, and errors shown to the user."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_sg2.data import open_source
from tf_sg2.data.order import epoch_coins, epoch_order
from tf_sg2.data.pipeline import batches, iterate, readable_errors
from tf_sg2.errors import InputError


class NumberedSource:
    """Images that show index and mirroring: pixel [0, 0] is the index, [0, 1] is 255."""

    name = "numbered"
    image_size = (2, 2)
    image_channels = 1
    label_dim = 2

    def __init__(self, count):
        self._count = count

    def __len__(self):
        return self._count

    def image(self, index):
        # Unequal delays would change the order of parallel reads if the pipeline did not keep it.
        time.sleep(0.0005 * (index % 3))
        pixels = np.zeros((2, 2, 1), np.uint8)
        pixels[0, :, 0] = index, 255
        return pixels

    def label(self, index):
        return np.array([index, -index], np.float32)

    def fingerprint(self):
        return "numbered"


def read(count, source, batch, **options):
    """(indices int [count, rows], flipped bool [count, rows]) of the first batches."""
    options = {"seed": 5, **options}
    indices, flips = [], []
    for images, labels in batches(source, batch, **options).take(count):
        flipped = images[:, 0, 0, 0].numpy() == 255
        index = np.where(flipped, images[:, 0, 1, 0], images[:, 0, 0, 0])
        np.testing.assert_array_equal(labels, np.stack([index, -index.astype(float)], axis=1))
        indices.append(index)
        flips.append(flipped)
    return np.array(indices), np.array(flips)


@pytest.mark.parametrize(("count", "batch"), [(10, 4), (8, 4), (3, 8), (1, 2)])
def test_every_epoch_is_a_permutation(count, batch):
    indices, flips = read(12, NumberedSource(count), batch)
    stream = indices.ravel()
    epochs = stream[: len(stream) // count * count].reshape(-1, count)
    for epoch, order in enumerate(epochs):
        np.testing.assert_array_equal(order, epoch_order(count, 5, epoch))
        np.testing.assert_array_equal(np.sort(order), np.arange(count))
    if count > 3:
        assert len(np.unique(epochs, axis=0)) == len(epochs)
    assert not flips.any()


@pytest.mark.parametrize("start", [1, 2, 3, 7])
def test_resumed_stream_equals_the_tail(start):
    source = NumberedSource(10)  # An epoch ends in the middle of batch 2.
    whole = read(10, source, 4, mirror=True)
    tail = read(10 - start, source, 4, mirror=True, start_batch=start)
    for expected, found in zip(whole, tail, strict=True):
        np.testing.assert_array_equal(found, expected[start:])


def test_far_start_is_immediate():
    begin = time.monotonic()
    read(1, NumberedSource(10), 4, start_batch=10**9)
    assert time.monotonic() - begin < 20  # Reading all earlier batches would take hours.


def test_shards_interleave_to_the_whole_batch():
    source = NumberedSource(10)
    whole = read(6, source, 6, mirror=True)
    shards = [
        read(6, source, 6, mirror=True, shard_index=shard, shard_count=3) for shard in range(3)
    ]
    for part in range(2):
        merged = np.stack([shard[part] for shard in shards], axis=2).reshape(6, 6)
        np.testing.assert_array_equal(merged, whole[part])


def test_mirror_coin_is_a_function_of_seed_and_position():
    source = NumberedSource(100)
    indices, flips = read(30, source, 20, mirror=True)
    assert 0.4 < flips.mean() < 0.6
    epochs = flips.reshape(-1, 100)
    for epoch, coins in enumerate(epochs):
        np.testing.assert_array_equal(coins, epoch_coins(100, 5, epoch))
    assert len(np.unique(epochs, axis=0)) == len(epochs)
    np.testing.assert_array_equal(read(30, source, 20, mirror=True, num_parallel=4)[1], flips)
    plain, _ = read(30, source, 20)
    np.testing.assert_array_equal(plain, indices)  # Mirroring does not change the order.


def test_element_spec_is_static():
    images, labels = batches(
        NumberedSource(9), 6, seed=0, shard_index=1, shard_count=2
    ).element_spec
    assert images == tf.TensorSpec([3, 2, 2, 1], tf.uint8)
    assert labels == tf.TensorSpec([3, 2], tf.float32)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard_count": 3}, "cannot be shared by 3 shards"),
        ({"shard_index": 2, "shard_count": 2}, "no shard 2 of 2"),
        ({"seed": -1}, "must be 0 or more"),
        ({"start_batch": -1}, "must be 0 or more"),
        ({"num_parallel": 0}, "1 or more"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        batches(NumberedSource(4), 4, **{"seed": 0, **options})


@pytest.fixture
def vanishing(tmp_path):
    for index in range(3):
        Image.fromarray(np.full((4, 4, 3), index, np.uint8)).save(tmp_path / f"{index}.png")
    source = open_source(str(tmp_path))
    (tmp_path / "1.png").unlink()
    return source


def test_vanished_file_reaches_the_user_as_one_sentence(vanishing):
    with pytest.raises(InputError, match=r"^\S*1\.png cannot be read \(.*\); .* in use$"):
        for _ in iterate(batches(vanishing, 4, seed=0)):
            pass


def test_a_bad_image_is_reported_and_replaced_by_the_next(vanishing):
    told = []
    stream = batches(
        vanishing, 4, seed=0, on_bad_image=lambda index, error: told.append((index, str(error)))
    )
    for images, _ in iterate(stream.take(6)):
        assert images.shape[0] == 4
    assert {index for index, _ in told} == {1}
    assert all("1.png cannot be read" in sentence for _, sentence in told)


def test_error_is_readable_under_a_strategy_and_in_a_function(vanishing):
    strategy = tf.distribute.MirroredStrategy(["CPU:0"])
    stream = strategy.distribute_datasets_from_function(
        lambda context: batches(vanishing, 4, seed=0)
    )
    with pytest.raises(InputError, match=r"^\S*1\.png cannot be read"):
        for _ in iterate(stream):
            pass
    iterator = iter(batches(vanishing, 4, seed=0))
    step = tf.function(lambda: next(iterator)[0])

    def four_steps():
        with readable_errors():
            for _ in range(4):
                step()

    with pytest.raises(InputError, match=r"^\S*1\.png cannot be read"):
        four_steps()


def test_other_errors_pass_through():
    with pytest.raises(tf.errors.InvalidArgumentError), readable_errors():
        raise tf.errors.InvalidArgumentError(None, None, "something else")


@pytest.mark.slow
def test_process_ends_while_batches_are_read(tmp_path):
    """A TensorFlow thread that reads in Python must not block the interpreter's shutdown."""
    for index in range(8):
        Image.fromarray(np.full((64, 64, 3), index, np.uint8)).save(tmp_path / f"{index}.png")
    code = (
        "from tf_sg2.data import open_source; from tf_sg2.data.pipeline import batches\n"
        f"stream = iter(batches(open_source({str(tmp_path)!r}), 256, seed=0))\n"
        "next(stream); raise SystemExit(3)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60)
    assert done.returncode == 3, done.stderr.decode()

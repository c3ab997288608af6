"""Queues without a server: a full queue refuses requests, and refused requests leave nothing."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from tf_sg2.serving.server.execution.batching import Batcher
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.wire.config_files import BatchingParameters
from tf_sg2.serving.server.wire.errors import ServingError

PARAMETERS = BatchingParameters(2, max_enqueued_batches=4, num_batch_threads=1)


class Queue:
    """A batcher whose only thread waits in a first request until it is released."""

    def __init__(self):
        self.metrics = Metrics()
        self._batcher = Batcher(1, self.metrics)
        self.block()

    def block(self):
        """Keeps the thread busy until `go_on`."""
        go, entered = threading.Event(), threading.Event()

        def wait(inputs):
            entered.set()
            assert go.wait(20)
            return dict(inputs)

        self.go_on = go.set
        self._batcher.submit("first", "m", wait, {"z": np.zeros([1])}, None, lambda: None)
        assert entered.wait(20)

    def submit(self, rows, width=1, parameters=PARAMETERS):
        inputs = {"z": np.zeros([rows, width], np.float32)}
        return self._batcher.submit("key", "m", dict, inputs, parameters, lambda: None)

    def refuses(self, *arguments, **named):
        with pytest.raises(ServingError) as caught:
            self.submit(*arguments, **named)
        return caught.value.code == "UNAVAILABLE"

    def finish(self):
        self.go_on()
        self._batcher.close()


@pytest.fixture
def queue():
    queue = Queue()
    yield queue
    queue.finish()


def test_a_refused_large_request_leaves_the_queue_empty(queue):
    small = queue.submit(1)
    assert queue.refuses(8)  # Four batches, and three are free.
    assert queue.metrics.queued.value("m") == 1
    others = [queue.submit(1), queue.submit(6)]
    assert queue.refuses(1)
    queue.finish()
    assert [len(future.result(0)["z"]) for future in (small, *others)] == [1, 1, 6]


def test_made_up_shapes_share_the_bound_of_a_queue(queue):
    futures = [queue.submit(1, width) for width in (1, 2, 3, 4)]
    assert queue.refuses(1, 5)
    assert queue.refuses(2, 1)
    futures.append(queue.submit(1, 1))  # In the batch of the first.
    queue.finish()
    assert [future.result(0)["z"].shape[1] for future in futures] == [1, 2, 3, 4, 1]


def test_room_comes_back_when_batches_have_run(queue):
    for future in [queue.submit(1, width) for width in (1, 2, 3, 4)]:
        queue.go_on()
        assert future.result(20)
    queue.block()
    for width in (1, 2, 3, 4):
        queue.submit(2, width)
    assert queue.refuses(1, 5)


def test_without_batching_requests_share_the_bound_too(queue):
    for _ in range(BatchingParameters().max_enqueued_batches):
        queue.submit(1, parameters=None)
    assert queue.refuses(1, parameters=None)

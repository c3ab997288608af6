"""Batching: requests of many clients run together, as in TensorFlow's SharedBatchScheduler.

A few threads serve all queues in turn. A queue holds requests that can run together: of the same
signature of one version, with the same types and inner shapes. So a request of another shape does
not fail the others. All queues of a signature share one limit, because clients can send any number
of shapes. It is written here, because queues, memory and cancellation belong together.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.wire.config_files import BatchingParameters
from tf_sg2.serving.server.wire.errors import (
    ServingError,
    from_exception,
    invalid_argument,
    task_too_large,
)

Arrays = Mapping[str, np.ndarray]
Run = Callable[[Arrays], dict[str, np.ndarray]]


@dataclass
class _Task:
    inputs: Arrays
    rows: int
    future: Future[dict[str, np.ndarray]] = field(default_factory=Future)
    entered: float = field(default_factory=time.monotonic)

    def forget(self, _: Future[dict[str, np.ndarray]]) -> None:
        """Frees the inputs."""
        self.inputs = {}


@dataclass
class _Batch:
    ready: float  # Time on the monotonic clock when it may start before it is full.
    tasks: list[_Task] = field(default_factory=list)
    rows: int = 0


@dataclass
class _Queue:
    key: Hashable  # Queues of one key differ in types and inner shapes, and share one limit.
    model: str
    run: Run
    parameters: BatchingParameters | None  # None: each request runs on its own.
    batches: deque[_Batch] = field(default_factory=deque)

    @property
    def _most_rows(self) -> int:
        return self.parameters.max_batch_size if self.parameters else 1

    def _room(self) -> int:
        """Returns the free rows of the open batch; -1 if there is no batch."""
        return self._most_rows - self.batches[-1].rows if self.batches else -1

    def new_batches(self, tasks: list[_Task]) -> int:
        """Returns the number of batches that the tasks would add."""
        count, room = 0, self._room()
        for task in tasks:
            if room < task.rows:
                count, room = count + 1, self._most_rows
            room -= task.rows
        return count

    def add(self, task: _Task) -> None:
        """Adds a task to the open batch, or to a new one."""
        if self._room() < task.rows:
            wait = self.parameters.batch_timeout_micros / 1e6 if self.parameters else 0.0
            self.batches.append(_Batch(task.entered + wait))
        self.batches[-1].tasks.append(task)
        self.batches[-1].rows += task.rows

    def wait(self, now: float) -> float:
        """Returns the seconds until the first batch may start; 0 if it may start now."""
        first = self.batches[0]
        full = self.parameters is None or first.rows >= self.parameters.max_batch_size
        if full or len(self.batches) > 1:
            return 0.0
        return max(0.0, first.ready - now)


class Batcher:
    """Runs requests in batches on `threads` threads of its own, until closed."""

    def __init__(self, threads: int, metrics: Metrics):
        self._metrics = metrics
        self._queues: OrderedDict[Hashable, _Queue] = OrderedDict()
        self._batches: Counter[Hashable] = Counter()  # Key -> number of batches in all its queues.
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._work, name=f"batch-{index}", daemon=True)
            for index in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self,
        key: Hashable,
        model: str,
        run: Run,
        inputs: Arrays,
        parameters: BatchingParameters | None,
        release: Callable[[], None],
    ) -> Future[dict[str, np.ndarray]]:
        """Queues one request; its future gives the outputs by name.

        A request whose future is cancelled before it starts does not run.

        Args:
            key: equal for requests that may share a batch; types and inner shapes are added to it.
            model: name, for the metrics.
            run: computes a batch.
            inputs: arrays by name; with `parameters`, dimension 0 is the batch.
            parameters: None runs the request on its own.
            release: called once, when no part of the request runs or will run. It is not called if
                this method raises.

        Raises:
            ServingError: INVALID_ARGUMENT for inputs that cannot be batched; UNAVAILABLE if the
                queue is full.
        """
        if parameters is None:
            return self._enqueue(_Queue(key, model, run, None), "", [_Task(inputs, 1)], release)[0]
        rows = _rows(inputs)
        if rows > parameters.most_rows:  # Before it is split into too many tasks.
            raise task_too_large(rows, parameters.most_rows)
        most = parameters.max_batch_size
        shapes = [(name, array.dtype, array.shape[1:]) for name, array in sorted(inputs.items())]
        tasks = [
            _Task({name: array[start : start + most] for name, array in inputs.items()}, size)
            for start in range(0, max(rows, 1), most)
            for size in [min(most, rows - start)]
        ]
        queue = _Queue(key, model, run, parameters)
        parts = self._enqueue(queue, str(shapes), tasks, release)
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _enqueue(
        self, fresh: _Queue, shapes: str, tasks: list[_Task], release: Callable[[], None]
    ) -> list[Future[dict[str, np.ndarray]]]:
        """Queues all tasks of a request or none; `fresh` becomes the queue if there is none yet."""
        most = (fresh.parameters or BatchingParameters()).max_enqueued_batches
        with self._changed:
            if self._closing:
                raise ServingError("UNAVAILABLE", "The server is shutting down")
            queue = self._queues.get((fresh.key, shapes), fresh)
            new = queue.new_batches(tasks)
            if self._batches[queue.key] + new > most:
                raise ServingError(
                    "UNAVAILABLE",
                    "The batch scheduling queue to which this task was submitted is full",
                )
            self._batches[queue.key] += new
            self._queues[queue.key, shapes] = queue
            for task in tasks:
                queue.add(task)
                self._metrics.queued.add(queue.model, amount=task.rows)
            self._changed.notify(len(tasks))
        futures = [task.future for task in tasks]
        for task in tasks:  # A cancelled task stays in its queue, without its arrays.
            task.future.add_done_callback(task.forget)
        _when_all_done(futures, release)
        return futures

    def close(self) -> None:
        """Runs the queued requests, then ends the threads. Later requests are refused."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                while (taken := self._take()) is None:
                    if self._closing and not self._queues:
                        return
                    now = time.monotonic()
                    waits = [queue.wait(now) for queue in self._queues.values()]
                    self._changed.wait(min(waits, default=None))
            self._process(*taken)

    def _take(self) -> tuple[_Queue, _Batch] | None:
        """Returns the next batch that may start; its queue becomes the last one."""
        now = time.monotonic()
        for place, queue in self._queues.items():
            if self._closing or queue.wait(now) == 0:
                batch = queue.batches.popleft()
                self._batches[queue.key] -= 1
                if not self._batches[queue.key]:
                    del self._batches[queue.key]
                if queue.batches:
                    self._queues.move_to_end(place)
                else:
                    del self._queues[place]
                return queue, batch
        return None

    def _process(self, queue: _Queue, batch: _Batch) -> None:
        self._metrics.queued.add(queue.model, amount=-batch.rows)
        tasks = [task for task in batch.tasks if task.future.set_running_or_notify_cancel()]
        if not tasks:
            return
        now = time.monotonic()
        for task in tasks:
            self._metrics.queuing_latency.observe(queue.model, value=1e6 * (now - task.entered))
        try:
            answers = self._run(queue, tasks)
        except BaseException as error:
            if len(tasks) == 1:
                tasks[0].future.set_exception(from_exception(error))
                return
            answers = None
        # One request may have spoilt the batch for all: each gets its own chance.
        for index, task in enumerate(tasks):
            try:
                answer = answers[index] if answers else self._run(queue, [task])[0]
            except BaseException as error:
                task.future.set_exception(from_exception(error))
            else:
                task.future.set_result(answer)

    def _run(self, queue: _Queue, tasks: list[_Task]) -> list[dict[str, np.ndarray]]:
        started = time.monotonic()
        if queue.parameters is None:
            outputs = queue.run(tasks[0].inputs)
            self._observe_run(queue, started)
            return [outputs]
        rows = sum(task.rows for task in tasks)
        padded = queue.parameters.padded(rows) if rows else 0
        outputs = queue.run(_merged(tasks, padded - rows))
        self._observe_run(queue, started)
        self._metrics.batch_size.observe(queue.model, value=padded)
        self._metrics.padding_size.observe(queue.model, value=padded - rows)
        for array in outputs.values():
            if not array.ndim:
                raise ServingError("FAILED_PRECONDITION", "Batched output tensor has 0 dimensions")
            if len(array) != padded:
                raise ServingError(
                    "FAILED_PRECONDITION",
                    "Batched output tensor's 0th dimension does not equal the sum of the 0th "
                    "dimension sizes of the input tensors",
                )
        answers, start = [], 0
        for task in tasks:
            stop = start + task.rows
            answers.append({name: array[start:stop] for name, array in outputs.items()})
            start = stop
        return answers

    def _observe_run(self, queue: _Queue, started: float) -> None:
        self._metrics.runtime_latency.observe(
            queue.model, "Predict", "TF1", value=1e6 * (time.monotonic() - started)
        )


def _rows(inputs: Arrays) -> int:
    if not inputs:
        raise invalid_argument("Batching Run() must have at least one input tensor")
    if not all(array.ndim for array in inputs.values()):
        raise invalid_argument("Batching Run() input tensors must have at least one dimension")
    rows = {len(array) for array in inputs.values()}
    if len(rows) > 1:
        raise invalid_argument("Batching Run() input tensors must have equal 0th-dimension size")
    return rows.pop()


def _merged(tasks: list[_Task], padding: int) -> Arrays:
    """Returns the concatenated inputs; padding repeats the first row of the last task."""
    if len(tasks) == 1 and not padding:
        return tasks[0].inputs
    merged = {}
    for name in tasks[0].inputs:
        parts = [task.inputs[name] for task in tasks]
        if padding:
            last = next(part for part in reversed(parts) if len(part))
            parts.append(np.repeat(last[:1], padding, axis=0))
        merged[name] = np.concatenate(parts)
    return merged


def _when_all_done(futures: list[Future[dict[str, np.ndarray]]], call: Callable[[], None]) -> None:
    left = len(futures)
    lock = threading.Lock()

    def done(_: Future[dict[str, np.ndarray]]) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            call()

    for future in futures:
        future.add_done_callback(done)


def _joined(parts: list[Future[dict[str, np.ndarray]]]) -> Future[dict[str, np.ndarray]]:
    """Returns the future of a request that was split into parts."""
    whole: Future[dict[str, np.ndarray]] = Future()

    def finish() -> None:
        if not whole.set_running_or_notify_cancel():
            return
        try:
            results = [part.result() for part in parts]
            whole.set_result(
                {name: np.concatenate([result[name] for result in results]) for name in results[0]}
            )
        except BaseException as error:
            whole.set_exception(from_exception(error))

    def give_up(whole: Future[dict[str, np.ndarray]]) -> None:
        if whole.cancelled():
            for part in parts:
                part.cancel()

    _when_all_done(parts, finish)
    whole.add_done_callback(give_up)
    return whole

"""Failures of workers: an error in one worker ends the others with a message that names it.

TensorFlow's coordination service, which the chief runs, notices a worker that dies. This module
adds the worker's name, and broadcasts the message of a worker that fails.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator

from tf_sg2.compat import coordination_service
from tf_sg2.errors import first_line
from tf_sg2.training.cluster.tf_config import Cluster

# The exit status EX_UNAVAILABLE of sysexits.h: another worker is gone or hangs.
LOST_STATUS = 69
# The end of each message about a lost worker.
HOW_TO_RESUME = (
    "; start every worker again with the same command, and the run goes on from its last checkpoint"
)
# Starts each message that we broadcast, so that the receiver finds it in TensorFlow's error text.
MARK = "tf_sg2: "
_TASK = re.compile(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)")
_REPORT = re.compile(rf"/job:(\w+)/(?:replica:\d+/)?task:(\d+): {MARK}(.*)")
# TensorFlow's words for a collective operation or a service whose other end is gone.
_LOSS = re.compile("[Cc]ollective|[Cc]oordination|heartbeat|failed to connect|[Cc]onnection reset")
_FAILED_PRECONDITION = 9
_LEAVE_TIMEOUT_MS = 10_000


class LostWorkerError(Exception):
    """Another worker is gone or hangs; the message names it."""


class EveryWorkerError(Exception):
    """An error that every worker raises at the same point, so it need not be broadcast."""


@contextlib.contextmanager
def worker_failures(cluster: Cluster) -> Iterator[None]:
    """Broadcasts an error in the block, and names the worker that is lost.

    An `EveryWorkerError` is not broadcast. With one worker, the block runs unchanged.

    Raises:
        LostWorkerError: in place of TensorFlow's error about a worker that is gone.
    """
    import tensorflow as tf

    if cluster.size == 1:
        yield
        return
    try:
        yield
    except EveryWorkerError:
        _leave_together(cluster)
        raise
    except tf.errors.OpError as error:
        if not _LOSS.search(str(error)):
            _broadcast(f"{type(error).__name__}: {first_line(error)}")
            raise
        raise LostWorkerError(_describe_loss(cluster, str(error)) + HOW_TO_RESUME) from error
    except Exception as error:
        _broadcast(first_line(error))
        raise
    _leave_together(cluster)


def _leave_together(cluster: Cluster) -> None:
    """Waits until every worker is done, at most ten seconds per worker."""
    with contextlib.suppress(Exception):  # The chief may end first, and its service with it.
        service = coordination_service()
        service.set_config_key_value(_leave_key(cluster.index), "1")
        for index in range(cluster.size):
            service.get_config_key_value(_leave_key(index), _LEAVE_TIMEOUT_MS)


def _leave_key(worker: int) -> str:
    return f"tf_sg2/leave/{worker}"


def _broadcast(message: str) -> None:
    with contextlib.suppress(Exception):
        coordination_service().report_error_to_cluster(_FAILED_PRECONDITION, MARK + message)
        time.sleep(1)  # The thread that sends it ends with the process.


def _describe_loss(cluster: Cluster, text: str) -> str:
    """Returns who is lost and why, from the text of TensorFlow's error."""
    report = _REPORT.search(text)
    if report and (report[1], int(report[2])) in cluster.tasks:
        index = cluster.tasks.index((report[1], int(report[2])))
        return f"{cluster.name(index)} stopped: {report[3]}"
    found = {(job, int(index)) for job, index in _TASK.findall(text)}
    own_task = cluster.tasks[cluster.index]
    names = [
        cluster.name(index)
        for index, task in enumerate(cluster.tasks)
        if task in found and task != own_task
    ]
    if not names:
        names = ["another worker"]
    return f"{' and '.join(names)} is gone: it died, was stopped or cannot be reached"

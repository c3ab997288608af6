"""The processes that train together: `TF_CONFIG`, who holds the others up, and who is gone.

TensorFlow forms the cluster, beats its heart and carries the messages: a worker that dies is
noticed by its coordination service, which the chief runs. What is added here is names. A worker
that hangs keeps its heart beating; so each worker tells the service how far it is, and `Watch` asks
it who is behind when a step takes too long.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tf_sg2.compat import coordination_service
from tf_sg2.errors import InputError, first_line

# EX_UNAVAILABLE of sysexits.h: another worker is gone or hangs.
LOST_STATUS = 69
# Seconds from one step of a worker to the next, after which it is taken to hang. The compilation of
# large networks and a chief that writes over a slow network must have room.
WORKER_TIMEOUT = 600.0
# What to do when one is lost.
HOW_ON = (
    "; start every worker again with the same command, and the run goes on from its last checkpoint"
)
# Before a message that we gave TensorFlow to carry, so that it is known again.
MARK = "tf_sg2: "
_TASK = re.compile(r"/job:(\w+)/(?:replica:\d+/)?task:(\d+)")
_REPORT = re.compile(rf"/job:(\w+)/(?:replica:\d+/)?task:(\d+): {MARK}(.*)")
# TensorFlow's words for a collective operation, or a service, whose other end is gone.
_LOSS = re.compile("[Cc]ollective|[Cc]oordination|heartbeat|failed to connect|[Cc]onnection reset")


class LostWorkerError(Exception):
    """Another worker is gone or hangs; the message names it."""


class MetByEveryWorker(Exception):
    """What every worker comes to in the same place by itself, so that none need tell the others."""


@dataclass(frozen=True)
class Cluster:
    """The workers of a run, the chief first, and which of them this process is."""

    tasks: tuple[tuple[str, int], ...]  # Job and index, as TensorFlow calls them.
    addresses: tuple[str, ...]
    index: int

    @property
    def size(self) -> int:
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints, logs and pictures."""
        return self.index == 0

    def name(self, index: int) -> str:
        return f"worker {index} ({self.addresses[index]})"


ALONE = Cluster((("worker", 0),), ("this machine",), 0)


def read_cluster(environment: Mapping[str, str] = os.environ) -> Cluster:
    """Returns the cluster of `TF_CONFIG`; `ALONE` where it is unset, empty or names one worker.

    Raises:
        InputError: for a `TF_CONFIG` that does not describe training by workers.
    """
    text = environment.get("TF_CONFIG", "").strip()
    if not text:
        return ALONE
    try:
        given = json.loads(text)
        jobs, task = given.get("cluster") or {}, given.get("task") or {}
        unknown = sorted(jobs.keys() - {"chief", "worker"})
        for job in jobs.keys() - unknown:
            if not isinstance(jobs[job], list):
                raise InputError(_unusable(f"{job!r} is no list of addresses"))
        tasks = [(job, i) for job in ("chief", "worker") for i in range(len(jobs.get(job, ())))]
        addresses = [address for job in ("chief", "worker") for address in jobs.get(job, ())]
        ours = (task["type"], _whole(task["index"])) if task else None
    except InputError:
        raise
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise InputError(_unusable(f"it cannot be read ({error!r})")) from error
    if not tasks and not unknown:
        return ALONE
    if unknown:
        raise InputError(
            _unusable(f"it has tasks of the type {unknown[0]!r}; training knows chief and worker")
        )
    for address in addresses:
        port = re.fullmatch(r".+:([0-9]{1,5})", address) if isinstance(address, str) else None
        if port is None or not 0 < int(port[1]) < 2**16:
            raise InputError(_unusable(f"{address!r} is no HOST:PORT with a port of 1 to 65535"))
    if len(jobs.get("chief", ())) > 1:
        raise InputError(_unusable(f"there are {len(jobs['chief'])} chiefs; at most one leads"))
    if len(set(addresses)) < len(addresses):
        raise InputError(_unusable("two workers have the same address"))
    if ours not in tasks:
        wanted = ", ".join(f"{job} {i}" for job, i in tasks)
        raise InputError(_unusable(f"the task is {task}, and the cluster has {wanted}"))
    if len(tasks) == 1:
        return ALONE
    return Cluster(tuple(tasks), tuple(addresses), tasks.index(ours))


def _whole(index: object) -> int:
    """Returns a task's index, which some launchers write as a text."""
    if isinstance(index, bool) or not re.fullmatch("[0-9]{1,9}", str(index)):
        raise InputError(_unusable(f"the index {json.dumps(index)} is no whole number"))
    return int(index)


def _unusable(reason: str) -> str:
    return (
        f"TF_CONFIG cannot be used: {reason}; it should look like "
        '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )


class Watch:
    """Ends the process when a step takes longer than `seconds`, and says who holds it up.

    A context manager. A thread looks on, for the main one waits inside TensorFlow. Where there is
    one worker it does nothing.

    Args:
        cluster: of the run.
        seconds: the longest time from one `reached` to the next: an iteration, with the pictures
            and the checkpoint of the chief.
    """

    def __init__(self, cluster: Cluster, seconds: float):
        self.cluster, self.seconds = cluster, seconds
        self._count, self._what = 0, "the start"
        self._since = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch", daemon=True)

    def __enter__(self) -> Watch:
        if self.cluster.size > 1:
            self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._over.set()

    def reached(self, what: str) -> None:
        """Tells all workers that this one came so far; each calls this in the same places.

        To be called right before the workers wait for each other: who is held up before, by its
        data or a disk, has then not said so.
        """
        if self.cluster.size == 1:
            return
        self._count, self._what, self._since = self._count + 1, what, time.monotonic()
        service, ours = coordination_service(), self.cluster.index
        service.set_config_key_value(_key(self._count, ours), "1")
        if self._count > 2:  # Another worker may be one step behind, and ask for that.
            service.delete_config_key_value(_key(self._count - 2, ours))

    def _look(self) -> None:
        while not self._over.wait(min(1.0, self.seconds / 4)):
            if time.monotonic() - self._since > self.seconds:
                count, what = self._count, self._what
                behind = [name for i, name in self._others() if not self._is_there(i, count)]
                if self._count == count and not self._over.is_set():
                    self._end(what, behind)

    def _others(self) -> list[tuple[int, str]]:
        ours = self.cluster.index
        return [(i, self.cluster.name(i)) for i in range(self.cluster.size) if i != ours]

    def _is_there(self, index: int, count: int) -> bool:
        try:
            coordination_service().get_config_key_value(_key(count, index), 2000)  # Milliseconds.
        except Exception:  # Not within that time, or the service is gone with its worker.
            return False
        return True

    def _end(self, what: str, behind: list[str]) -> None:
        limit = f"within {self.seconds:g} s"
        if behind:
            said = f"{' and '.join(behind)} did not reach {what} {limit}"
        else:
            said = f"every worker reached {what}, but did not get beyond it {limit}"
        # The main thread waits for ever: nothing but the end of the process gets through to it.
        print(f"error: {said}{HOW_ON}", file=sys.stderr, flush=True)
        os._exit(LOST_STATUS)


def _key(count: int, worker: int) -> str:
    return f"tf_sg2/{count}/{worker}"


@contextlib.contextmanager
def named_losses(cluster: Cluster) -> Iterator[None]:
    """Turns TensorFlow's errors of a worker that is gone into a `LostWorkerError` that names it.

    Any other error in the block is told to the other workers, so that they can say it too, unless
    they meet it themselves.
    """
    import tensorflow as tf

    if cluster.size == 1:
        yield
        return
    try:
        yield
    except MetByEveryWorker:
        _leave_together(cluster)
        raise
    except tf.errors.OpError as error:
        if not _LOSS.search(str(error)):
            _report(f"{type(error).__name__}: {first_line(error)}")
            raise
        raise LostWorkerError(_loss(cluster, str(error)) + HOW_ON) from error
    except Exception as error:
        _report(first_line(error))
        raise
    _leave_together(cluster)


def _leave_together(cluster: Cluster) -> None:
    """Waits, ten seconds at most, until every worker has what it wanted from this one."""
    with contextlib.suppress(Exception):  # The chief may be the first to see that all are done.
        coordination_service().set_config_key_value(_key(0, cluster.index), "1")
        for index in range(cluster.size):
            coordination_service().get_config_key_value(_key(0, index), 10_000)  # Milliseconds.


def _report(message: str) -> None:
    with contextlib.suppress(Exception):
        coordination_service().report_error_to_cluster(9, MARK + message)  # FAILED_PRECONDITION
        time.sleep(1)  # It is sent by a thread that ends with the process.


def _loss(cluster: Cluster, text: str) -> str:
    report = _REPORT.search(text)
    if report and (report[1], int(report[2])) in cluster.tasks:
        index = cluster.tasks.index((report[1], int(report[2])))
        return f"{cluster.name(index)} stopped: {report[3]}"
    found = {(job, int(index)) for job, index in _TASK.findall(text)}
    ours = cluster.tasks[cluster.index]
    names = [
        cluster.name(index)
        for index, task in enumerate(cluster.tasks)
        if task in found and task != ours
    ]
    if not names:
        names = ["another worker"]
    return f"{' and '.join(names)} is gone: it died, was stopped or cannot be reached"

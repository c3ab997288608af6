"""The workers of a run, from the environment variable `TF_CONFIG`.

Format: TensorFlow's `TFConfigClusterResolver`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tf_sg2.errors import InputError

# The default of --worker_timeout: seconds between two steps of a worker before it counts as hung.
# It must cover the compilation of large networks, and a chief that writes over a slow network.
WORKER_TIMEOUT = 600.0


@dataclass(frozen=True)
class Cluster:
    """The workers of a run, the chief first, and which of them this process is."""

    tasks: tuple[tuple[str, int], ...]  # (job, index) of each worker, as TensorFlow names it.
    addresses: tuple[str, ...]
    index: int

    @property
    def size(self) -> int:
        """The number of workers."""
        return len(self.addresses)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes checkpoints, logs and pictures."""
        return self.index == 0

    def name(self, index: int) -> str:
        """Returns a worker's name for messages."""
        return f"worker {index} ({self.addresses[index]})"


SINGLE_WORKER = Cluster((("worker", 0),), ("this machine",), 0)


def read_cluster(environment: Mapping[str, str] = os.environ) -> Cluster:
    """Returns the cluster of `TF_CONFIG`.

    Without `TF_CONFIG`, or with one worker in it, this is `SINGLE_WORKER`.

    Raises:
        InputError: for a `TF_CONFIG` that does not describe training by workers.
    """
    text = environment.get("TF_CONFIG", "").strip()
    if not text:
        return SINGLE_WORKER
    try:
        given = json.loads(text)
        jobs, task = given.get("cluster") or {}, given.get("task") or {}
        unknown = sorted(jobs.keys() - {"chief", "worker"})
        for job in jobs.keys() - unknown:
            if not isinstance(jobs[job], list):
                raise InputError(_unusable(f"{job!r} is not a list of addresses"))
        tasks = [(job, i) for job in ("chief", "worker") for i in range(len(jobs.get(job, ())))]
        addresses = [address for job in ("chief", "worker") for address in jobs.get(job, ())]
        own_task = (task["type"], _task_index(task["index"])) if task else None
    except InputError:
        raise
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise InputError(_unusable(f"it cannot be read ({error!r})")) from error
    if not tasks and not unknown:
        return SINGLE_WORKER
    if unknown:
        raise InputError(
            _unusable(f"it has tasks of the type {unknown[0]!r}; only chief and worker can train")
        )
    for address in addresses:
        port = re.fullmatch(r".+:([0-9]{1,5})", address) if isinstance(address, str) else None
        if port is None or not 0 < int(port[1]) < 2**16:
            raise InputError(_unusable(f"{address!r} is not HOST:PORT with a port from 1 to 65535"))
    if len(jobs.get("chief", ())) > 1:
        raise InputError(
            _unusable(f"there are {len(jobs['chief'])} chiefs, but at most one is allowed")
        )
    if len(set(addresses)) < len(addresses):
        raise InputError(_unusable("two workers have the same address"))
    if own_task is None or own_task not in tasks:
        known = ", ".join(f"{job} {i}" for job, i in tasks)
        raise InputError(_unusable(f"the task is {task}, but the cluster has {known}"))
    if len(tasks) == 1:
        return SINGLE_WORKER
    return Cluster(tuple(tasks), tuple(addresses), tasks.index(own_task))


def _task_index(index: object) -> int:
    """Returns the index of a task. Some launchers write it as a string."""
    text = str(index)
    if isinstance(index, bool) or not re.fullmatch("[0-9]{1,9}", text):
        raise InputError(_unusable(f"the index {json.dumps(index)} is not a whole number"))
    return int(text)


def _unusable(reason: str) -> str:
    return (
        f"TF_CONFIG cannot be used: {reason}; it should look like "
        '{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, '
        '"task": {"type": "worker", "index": 0}}'
    )

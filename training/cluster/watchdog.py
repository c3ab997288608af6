"""A watchdog: ends a worker when a step takes too long, and names the worker that hangs.

TensorFlow does not notice a worker that hangs, because its heartbeat goes on. So each worker
tells the coordination service how far it is, and the watchdog asks the service who is behind.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from tf_sg2.compat import coordination_service
from tf_sg2.training.cluster.failures import HOW_TO_RESUME, LOST_STATUS
from tf_sg2.training.cluster.tf_config import Cluster

_ASK_TIMEOUT_MS = 2000


class Watchdog:
    """Ends the process when a step takes longer than `seconds`, and says which worker is behind.

    A context manager. A thread checks the time, because the main thread waits inside TensorFlow.
    With one worker it does nothing.

    Args:
        cluster: the workers of the run.
        seconds: the longest time between two calls of `reached`. It must cover an iteration with
            the chief's pictures and checkpoint.
    """

    def __init__(self, cluster: Cluster, seconds: float):
        self.cluster, self.seconds = cluster, seconds
        self._count, self._what = 0, "the start"
        self._since = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._check_time, name="watchdog", daemon=True)

    def __enter__(self) -> Watchdog:
        if self.cluster.size > 1:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    def reached(self, what: str) -> None:
        """Tells the other workers that this one has reached a point of the run.

        Every worker calls this at the same points, right before a collective operation. A worker
        that its data or its disk delays has then not reported yet, so the others can name it.
        """
        if self.cluster.size == 1:
            return
        self._count, self._what, self._since = self._count + 1, what, time.monotonic()
        service, own_index = coordination_service(), self.cluster.index
        service.set_config_key_value(_progress_key(self._count, own_index), "1")
        if self._count > 2:  # Another worker may be one step behind, and ask for that step.
            service.delete_config_key_value(_progress_key(self._count - 2, own_index))

    def _check_time(self) -> None:
        while not self._stopped.wait(min(1.0, self.seconds / 4)):
            if time.monotonic() - self._since > self.seconds:
                count, what = self._count, self._what
                behind = [name for i, name in self._others() if not self._has_reached(i, count)]
                if self._count == count and not self._stopped.is_set():
                    self._end_process(what, behind)

    def _others(self) -> list[tuple[int, str]]:
        own_index = self.cluster.index
        return [(i, self.cluster.name(i)) for i in range(self.cluster.size) if i != own_index]

    def _has_reached(self, index: int, count: int) -> bool:
        try:
            key = _progress_key(count, index)
            coordination_service().get_config_key_value(key, _ASK_TIMEOUT_MS)
        except Exception:  # No answer in time, or the service is gone with the chief.
            return False
        return True

    def _end_process(self, what: str, behind: list[str]) -> None:
        limit = f"within {self.seconds:g} s"
        if behind:
            said = f"{' and '.join(behind)} did not reach {what} {limit}"
        else:
            said = f"every worker reached {what}, but did not get beyond it {limit}"
        # The main thread waits inside TensorFlow for ever: only the end of the process stops it.
        print(f"error: {said}{HOW_TO_RESUME}", file=sys.stderr, flush=True)
        os._exit(LOST_STATUS)


def _progress_key(count: int, worker: int) -> str:
    return f"tf_sg2/{count}/{worker}"

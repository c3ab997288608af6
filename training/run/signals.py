"""SIGTERM and SIGINT: training ends after the current iteration and writes a checkpoint."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

from tf_sg2.training.cluster.failures import EveryWorkerError

# The exit status EX_TEMPFAIL of sysexits.h: not finished, and the same command continues.
INTERRUPTED_STATUS = 75
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StoppedBySignalError(EveryWorkerError):
    """A signal stopped training; a checkpoint is written, and the run can be resumed."""


class StopRequest:
    """Whether a signal has arrived; `signal_name` is None until then."""

    signal_name: str | None = None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Records the first SIGTERM or SIGINT in the block; a second one ends the process.

    Python delivers signals to its main thread only. In another thread, the block changes nothing.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def record(number, frame):
        if request.signal_name is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        request.signal_name = signal.Signals(number).name

    before = {number: signal.signal(number, record) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""How a command ends: errors become exit statuses, and signals become exceptions."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from tf_sg2.errors import InputError


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP raise `SystemExit` in the block, so that it cleans up.

    Python handles signals only in the main thread. In other threads the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handled: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        for other in handled:  # A second signal must not interrupt the clean-up.
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for heard in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(heard) == signal.SIG_DFL:  # nohup ignores SIGHUP: leave it so.
            signal.signal(heard, stop)
            handled.append(heard)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def main_guard(run: Callable[[], object]) -> int:
    """Runs a command and returns its exit status; `InputError` becomes one line on stderr."""
    try:
        run()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # The reader of a pipe, such as `head`, has ended.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0

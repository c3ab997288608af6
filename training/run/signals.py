"""What a cluster does to a job: signals that end it, and a second process on the same run."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from tf_sg2.errors import InputError
from tf_sg2.training.cluster.tf_config import MetByEveryWorker

# EX_TEMPFAIL of sysexits.h: what was asked for is not done, and trying again will go on with it.
INTERRUPTED_STATUS = 75
SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Interrupted(MetByEveryWorker):
    """Training was told to stop by a signal, and has written a checkpoint to go on from."""


class StopRequest:
    """Whether a signal has asked to stop; `signal_name` is None until then."""

    signal_name: str | None = None


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Takes note of the first SIGTERM or SIGINT in the block; a second one ends the process.

    Python hears signals in its main thread alone: in another one, the block changes nothing.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def note(number, frame):
        if request.signal_name is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        request.signal_name = signal.Signals(number).name

    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def sole_use_of(folder: Path) -> Iterator[None]:
    """Holds a run directory for the block; the operating system lets go when the process dies.

    Raises:
        InputError: if another process holds it, or the folder cannot be made, written or locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"run directory {folder} cannot be made: {error.strerror}; name another"
        ) from error
    path = folder / "train.lock"
    try:
        # The file stays: to remove it could take the lock from somebody who just opened it.
        file = open(path, "a+", encoding="utf-8", errors="replace")  # noqa: SIM115
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise InputError(
                f"{folder} is being trained by {file.read().strip() or 'another process'}; wait "
                "for it or stop it, or take another run directory"
            ) from error
        except OSError as error:
            raise InputError(
                f"{path} cannot be locked ({error.strerror}); mount its file system with locks, "
                "or take a run directory on another one"
            ) from error
        with contextlib.suppress(OSError):  # A full disk: the lock holds without its holder's name.
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield

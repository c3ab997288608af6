"""The lock of a run directory: only one process trains in it at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from tf_sg2.errors import InputError


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes a run directory and locks it for the block.

    The operating system releases the lock when the process dies.

    Raises:
        InputError: if another process holds the lock, or the folder cannot be made, written or
            locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"run directory {folder} cannot be made: {error.strerror}; name another"
        ) from error
    path = folder / "train.lock"
    try:
        # The file is never removed, because another process may have just opened it to lock it.
        file = open(path, "a+", encoding="utf-8", errors="replace")  # noqa: SIM115 (see `with`)
    except OSError as error:
        raise InputError(
            f"{path} cannot be written: {error.strerror}; make it writable, or name another run "
            "directory"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise InputError(
                f"{folder} is being trained by {file.read().strip() or 'another process'}; wait "
                "for it or stop it, or name another run directory"
            ) from error
        except OSError as error:
            raise InputError(
                f"{path} cannot be locked ({error.strerror}); mount its file system with locks, "
                "or name a run directory on another one"
            ) from error
        # The holder's name is only for messages: on a full disk the lock works without it.
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}".encode())
        yield

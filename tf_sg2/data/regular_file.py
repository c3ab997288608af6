"""Opens the files of a data set, and never waits for one that is a pipe."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: str | Path) -> BinaryIO:
    """Opens a regular file for unbuffered reading.

    Raises:
        OSError: if it cannot be opened, or is a pipe, a socket or a device.
    """
    file = open(path, "rb", buffering=0, opener=_open_at_once)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a regular file")
    return file


def _open_at_once(path: str, flags: int) -> int:
    # Without O_NONBLOCK, a pipe is opened only when somebody writes into it.
    return os.open(path, flags | os.O_NONBLOCK)

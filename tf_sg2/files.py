"""Atomic writes: files and folders appear complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tf_sg2.errors import InputError


class ExistsError(InputError):
    """The path of a new file or folder exists already."""


def _beside(path: Path) -> Path:
    """Returns a hidden path in the same folder, so that a move stays inside one file system.

    The name is random, because processes in containers that share a disk may have equal numbers.
    """
    return path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")


def _sync_folder(path: Path) -> None:
    """Writes the names in a folder to the disk, if the file system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def new_file(path: str | Path, replace: bool = True) -> Iterator[BinaryIO]:
    """Yields a binary file that becomes `path` when the block ends without an error.

    Missing parent folders are made. An existing file stays until the new one is complete, and is
    then replaced.

    Args:
        path: the file to write.
        replace: whether an existing file may be replaced.

    Raises:
        InputError: if `path` cannot be written, or exists and `replace` is False.
    """
    path = Path(path)
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # Otherwise a crash could leave a half-written file.
        if replace:
            os.replace(temporary, path)
        else:
            move_new(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


@contextlib.contextmanager
def new_folder(path: str | Path) -> Iterator[Path]:
    """Yields an empty folder that becomes `path` when the block ends without an error.

    Missing parent folders are made.

    Raises:
        ExistsError: if `path` exists and is not an empty folder.
        InputError: if it cannot be written.
    """
    path = Path(path)
    temporary = _beside(path)
    if os.path.lexists(path) and (not os.path.isdir(path) or any(path.iterdir())):
        raise ExistsError(f"{path} exists already; remove it, or name another")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        move_new(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def move_new(path: Path, target: Path) -> None:
    """Moves a file or a folder within its file system; never replaces a file or a full folder.

    A folder may replace an empty folder.

    Raises:
        ExistsError: if `target` exists; a folder replaces an empty folder.
        OSError: if it cannot be moved.
    """
    taken = ExistsError(f"{target} exists already; remove it, or name another")
    if path.is_dir():
        try:
            os.rename(path, target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                raise taken from error
            raise
        return
    try:
        os.link(path, target)
    except FileExistsError as error:
        raise taken from error
    except OSError:  # The file system has no hard links.
        try:
            os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError as error:
            raise taken from error
        os.replace(path, target)
        return
    os.unlink(path)


def open_regular(path: str | Path) -> BinaryIO:
    """Opens a regular file for unbuffered reading, and never waits for a pipe.

    Raises:
        OSError: if it cannot be opened, or is a pipe, a socket or a device.
    """

    def open_at_once(path: str, flags: int) -> int:
        # Without O_NONBLOCK, opening a pipe waits until another process writes to it.
        return os.open(path, flags | os.O_NONBLOCK)

    file = open(path, "rb", buffering=0, opener=open_at_once)  # noqa: SIM115 The caller closes it.
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is not a regular file")
    return file

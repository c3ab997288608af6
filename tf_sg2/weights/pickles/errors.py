"""Why a file cannot be read, and the one sentence that a user gets for it."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

from tf_sg2.errors import InputError


class UnreadableError(Exception):
    """The reason why a file is refused; it becomes part of one sentence."""


class DamagedError(UnreadableError):
    """The file ends early, or its parts contradict each other."""


@contextlib.contextmanager
def one_sentence(path: str | Path, kind: str, other: str) -> Iterator[None]:
    """Turns every failure of reading `path` in the block into one `InputError`.

    Args:
        path: the file.
        kind: what the file must be, after "is no".
        other: what a damaged file may be instead, after "is damaged, or".

    Raises:
        InputError: if the block fails because of the file.
    """
    damaged = f"{path} is damaged, or {other}"
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except DamagedError as error:
        raise InputError(f"{damaged}: {error}") from error
    except UnreadableError as error:
        raise InputError(
            f"{path} is no {kind} that can be read without executing it: {error}"
        ) from error
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputError(damaged) from error
    except (zipfile.BadZipFile, EOFError, MemoryError, RuntimeError) as error:
        raise InputError(damaged) from error

"""The one switch between the native ops and their TensorFlow implementations."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

from tf_sg2.errors import InputError

IMPLEMENTATIONS = ("auto", "native", "tensorflow")

_requested: contextvars.ContextVar[str] = contextvars.ContextVar("implementation", default="auto")


def current_implementation() -> str:
    """Returns which implementation a call made here takes: "native" or "tensorflow".

    Only the TensorFlow one exists so far, so "auto" is "tensorflow".
    """
    return "tensorflow"


@contextlib.contextmanager
def use_implementation(name: str) -> Iterator[None]:
    """Chooses the implementation of `upfirdn2d` and `bias_act` for the block.

    Args:
        name: "auto" (native where it is built), "native" or "tensorflow".

    Raises:
        InputError: for another name, or where "native" is demanded and not built.
    """
    if name not in IMPLEMENTATIONS:
        raise InputError(
            f"there is no implementation {name!r}; choose one of {', '.join(IMPLEMENTATIONS)}"
        )
    if name == "native":
        raise InputError('the native ops are not built; use "auto" or "tensorflow"')
    token = _requested.set(name)
    try:
        yield
    finally:
        _requested.reset(token)

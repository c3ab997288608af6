"""The one switch between the native ops and their TensorFlow implementations."""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
from collections.abc import Iterator

import tensorflow as tf
from absl import logging

from tf_sg2.compat import in_compiled_graph
from tf_sg2.custom_ops import loader
from tf_sg2.custom_ops.build import Build
from tf_sg2.errors import InputError

IMPLEMENTATIONS = ("auto", "native", "tensorflow")
# What "auto" means in this process and in those that it starts. `--ops` of every command sets it.
VARIABLE = "TF_SG2_OPS"

_requested: contextvars.ContextVar[str] = contextvars.ContextVar("implementation", default="auto")


@functools.lru_cache(maxsize=1)
def native_missing() -> str | None:
    """Returns why the native ops cannot be used in this process, or None where they can.

    The reason is also logged once per process, so the slower implementation is never used silently.
    """
    loaded = loader.load()
    reason = None if loaded.ops is not None else loaded.reason
    if reason is None and not _has_cuda(loaded.build) and tf.config.list_logical_devices("GPU"):
        reason = "the build has no CUDA kernels, and there is a GPU"
    if reason is not None:
        logging.warning(
            "upfirdn2d, bias_act and conv2d run on their TensorFlow implementation, because %s; "
            "`%s` builds the faster native ops",
            reason,
            loader.COMMAND,
        )
    return reason


def _has_cuda(build: Build | None) -> bool:
    return build is not None and build.cuda


def current_implementation() -> str:
    """Returns which implementation an op uses if it is called here: "native" or "tensorflow".

    Without `use_implementation`, the environment variable TF_SG2_OPS says it, else "auto" holds.
    "auto" means "native" where the native ops are built for this TensorFlow and its devices. Inside
    functions that XLA compiles (`jit_compile=True`) it means "tensorflow", because XLA compiles no
    custom op. A function that was traced outside keeps its native ops: XLA then refuses to compile
    it and names the op.

    Raises:
        InputError: if "native" was requested inside a function that XLA compiles, or by the
            variable where it cannot be used.
    """
    name = _requested.get()
    if name == "auto":
        name = os.environ.get(VARIABLE) or "auto"
        _check(name)
    if name == "tensorflow" or (name == "auto" and in_compiled_graph()):
        return "tensorflow"
    if name == "native" and in_compiled_graph():
        raise InputError(
            "the native ops were requested inside a function that XLA compiles, which cannot hold "
            'them; use "auto" or "tensorflow" there'
        )
    return "tensorflow" if native_missing() else "native"


def _check(name: str) -> None:
    if name not in IMPLEMENTATIONS:
        raise InputError(
            f"there is no implementation {name!r}; choose one of {', '.join(IMPLEMENTATIONS)}"
        )
    if name == "native" and native_missing():
        raise InputError(
            f"the native ops cannot be used, because {native_missing()}; build them with "
            f'`{loader.COMMAND}`, or use "auto" or "tensorflow"'
        )


@contextlib.contextmanager
def use_implementation(name: str) -> Iterator[None]:
    """Chooses the implementation of the ops for the block.

    A `tf.function` keeps the implementation it was traced with. A function that XLA-compiled
    functions call must be traced with "tensorflow", or called there first.

    Args:
        name: "auto" (native where it is built), "native" or "tensorflow".

    Raises:
        InputError: for another name, or if "native" is requested and cannot be used.
    """
    _check(name)
    token = _requested.set(name)
    try:
        yield
    finally:
        _requested.reset(token)

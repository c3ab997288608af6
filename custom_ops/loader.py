"""Loads the native ops that fit the running TensorFlow, once, or says why there are none."""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import tensorflow as tf

from tf_sg2.custom_ops.build import Build, distrusted, find_builds

COMMAND = "tf-sg2 build-ops"
# The library at this path is loaded instead of the build that fits, without a check (for tests).
OVERRIDE = "TF_SG2_OPS_LIBRARY"


@dataclass(frozen=True)
class Loaded:
    """The native ops, or the reason why there are none.

    ops: the module that `tf.load_op_library` makes, or None.
    instruction_set: the target of the CPU kernels in use.
    reason: one clause, which can follow "because" if `ops` is None.
    """

    ops: ModuleType | None
    build: Build | None
    reason: str
    instruction_set: str = ""


@functools.lru_cache(maxsize=1)
def load() -> Loaded:
    """Loads the preferred build of those that fit. Without one, says why, and never raises."""
    override = os.environ.get(OVERRIDE)
    if override:
        return _load(Build(Path(override), tf.__version__, cuda=False), trusted=True)
    failed = None
    for build in find_builds():
        loaded = _load(build)
        if loaded.ops is not None:
            return loaded
        failed = failed or loaded
    reason = f"no build fits TensorFlow {tf.__version__} and these sources"
    return failed or Loaded(None, None, reason)


def _load(build: Build, trusted: bool = False) -> Loaded:
    try:
        problem = None if trusted else distrusted(build.library)
        if problem:
            return Loaded(None, build, f"{build.library} is not loaded: {problem}")
        ops = tf.load_op_library(str(build.library))
        library = ctypes.CDLL(str(build.library))
        library.tf_sg2_cpu_target.restype = ctypes.c_char_p
    except (tf.errors.OpError, OSError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        return Loaded(None, build, f"{build.library} cannot be loaded ({reason})")
    name = library.tf_sg2_cpu_target().decode()
    return Loaded(ops, build, f"{build.library} is loaded", name)

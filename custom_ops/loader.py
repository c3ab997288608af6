"""Loads the native ops that fit the running TensorFlow, once, and says why where there are none."""

from __future__ import annotations

import ctypes
import functools
import os
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import tensorflow as tf

from tf_sg2.custom_ops.build import Build, find_build

COMMAND = "tf-sg2 build-ops"
# A path here is loaded in place of the build that fits, whatever it was made for: for tests.
OVERRIDE = "TF_SG2_OPS_LIBRARY"


@dataclass(frozen=True)
class Loaded:
    """The native ops, or why there are none.

    ops: the module that `tf.load_op_library` makes, or None.
    instruction_set: what the CPU kernels in use are compiled for.
    reason: one clause, fit to follow "because" where `ops` is None.
    """

    ops: ModuleType | None
    build: Build | None
    reason: str
    instruction_set: str = ""


@functools.lru_cache(maxsize=1)
def load() -> Loaded:
    """Loads the build that fits; never raises for want of one."""
    override = os.environ.get(OVERRIDE)
    if override:
        build = Build(Path(override), tf.__version__, cuda=False)
    else:
        build = find_build()
    if build is None:
        return Loaded(None, None, f"no build fits TensorFlow {tf.__version__} and these sources")
    try:
        ops = tf.load_op_library(str(build.library))
    except (tf.errors.NotFoundError, OSError) as error:
        reason = str(error).splitlines()[0]
        return Loaded(None, build, f"{build.library} cannot be loaded ({reason})")
    library = ctypes.CDLL(str(build.library))
    library.tf_sg2_cpu_target.restype = ctypes.c_char_p
    name = library.tf_sg2_cpu_target().decode()
    return Loaded(ops, build, f"{build.library} is loaded", name)

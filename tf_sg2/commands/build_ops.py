"""The command `tf-sg2 build-ops`: compiles the native ops for the installed TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from absl import flags

from tf_sg2.commands import flags as command_line
from tf_sg2.errors import InputError

USAGE = """
Compiles the native ops (upfirdn2d, bias_act) against the installed TensorFlow.

  tf-sg2 build-ops
  tf-sg2 build-ops --cuda=off
  tf-sg2 build-ops --into_package && pip wheel --no-deps .

The result goes to the user's cache ($TF_SG2_CACHE, else ~/.cache/tf_sg2) and is used from then on
by every process that runs the same TensorFlow and the same sources. Where nothing changed, it only
checks that TensorFlow loads the library. Without a build everything works on TensorFlow's own
operations, slower. Needs a C++ compiler that knows C++17: $CXX, g++, c++ or clang++; and nvcc for
the CUDA kernels.
"""


def define_flags(values: flags.FlagValues) -> None:
    """Adds the command's flags."""
    flags.DEFINE_enum(
        "cuda",
        "auto",
        ["auto", "on", "off"],
        "whether to build the CUDA kernels; auto: where there is an nvcc, or a build has them",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "into_package",
        False,
        "put the result beside the sources: a wheel made then needs no compiler",
        flag_values=values,
    )
    flags.DEFINE_boolean("force", False, "build even if nothing changed", flag_values=values)
    flags.DEFINE_boolean(
        "warnings_as_errors",
        False,
        "let a warning of the C++ compiler fail the build: for continuous integration",
        flag_values=values,
    )
    flags.DEFINE_boolean(
        "optional",
        False,
        "without a C++ compiler say so and succeed: for scripts that go on without the ops",
        flag_values=values,
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 build-ops`."""
    values = command_line.parse("build-ops", arguments, define_flags, USAGE)
    from tf_sg2.custom_ops import build

    try:
        build.build(
            cuda={"auto": None, "on": True, "off": False}[values.cuda],
            into_package=values.into_package,
            force=values.force,
            warnings_as_errors=values.warnings_as_errors,
        )
    except build.NoCompilerError as error:
        if not values.optional:
            raise InputError(str(error)) from error
        print(f"native ops are not built: {error}", file=sys.stderr)
    except build.BuildError as error:
        raise InputError(str(error)) from error

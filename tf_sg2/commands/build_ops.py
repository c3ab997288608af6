"""The command `tf-sg2 build-ops`: compiles the native ops for the installed TensorFlow."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tf_sg2.commands.flags import CommandFlags, parse
from tf_sg2.errors import InputError

USAGE = """
Compiles the native ops (upfirdn2d, bias_act, conv2d) against the installed TensorFlow.

  tf-sg2 build-ops
  tf-sg2 build-ops --cuda=off
  tf-sg2 build-ops --into_package && pip wheel --no-deps .

The library goes into the user's cache ($TF_SG2_CACHE, else ~/.cache/tf_sg2). From then on, every
process with the same TensorFlow and the same sources uses it. If nothing changed, the command only
checks that TensorFlow loads the library. Without a build, TensorFlow's own operations do the same
work, more slowly. The build needs a C++17 compiler ($CXX, g++, c++ or clang++), and nvcc for the
CUDA kernels.
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    flags.enum(
        "cuda",
        "auto",
        ["auto", "on", "off"],
        "whether to build the CUDA kernels; auto: if there is an nvcc, or a build that has them",
    )
    flags.boolean(
        "into_package", False, "put the library beside the sources, for wheels without a compiler"
    )
    flags.boolean("force", False, "build even if nothing changed")
    flags.boolean(
        "warnings_as_errors",
        False,
        "treat warnings of the C++ compiler as errors, for continuous integration",
    )
    flags.boolean(
        "optional",
        False,
        "without a C++ compiler, print that and succeed, for scripts that can work without the ops",
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 build-ops`."""
    values = parse("build-ops", arguments, define_flags, USAGE)
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

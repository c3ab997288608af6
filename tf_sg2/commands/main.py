"""`tf-sg2 COMMAND`: finds the command and hands it the rest of the line.

The table holds strings, so that `tf-sg2 --help` imports no command, and so that the library
names `training` and `serving` without importing them.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from tf_sg2.commands.exit_status import main_guard
from tf_sg2.errors import InputError

# name: ("module:function", what it does in one line); the function takes the arguments that
# follow the name.
COMMANDS = {
    "cards": ("tf_sg2.commands.cards:main", "draw dummy business cards"),
    "dataset": ("tf_sg2.commands.dataset:main", "check and convert a data set"),
    "build-ops": ("tf_sg2.commands.build_ops:main", "compile the native ops for this TensorFlow"),
    "doctor": (
        "tf_sg2.commands.doctor:main",
        "versions, devices, and which implementation each op uses",
    ),
    "train": ("tf_sg2.training.commands.train:main", "train a model, or resume a run"),
    "generate": ("tf_sg2.commands.generate:main", "pictures from seeds"),
    "mix": ("tf_sg2.commands.mix:main", "a style-mixing table of two lists of seeds"),
    "interpolate": ("tf_sg2.commands.interpolate:main", "a looped animation through latent space"),
    "export": (
        "tf_sg2.serving.commands.export:main",
        "a run as a model that TensorFlow Serving loads",
    ),
    "serve": ("tf_sg2.serving.commands.serve:main", "an exported model over gRPC and REST"),
    "client": ("tf_sg2.serving.commands.client:main", "pictures from a server"),
}


def usage() -> str:
    """What `tf-sg2 --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        [
            "tf-sg2: StyleGAN2 on TensorFlow 2.",
            "",
            "Usage: tf-sg2 COMMAND [--flag=value ...]",
            "",
            *lines,
            "",
            "tf-sg2 COMMAND --help explains a command.",
        ]
    )


def _run(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return
    name, *rest = arguments
    if name not in COMMANDS:
        raise InputError(f"there is no command {name!r}; the commands are {', '.join(COMMANDS)}")
    module, function = COMMANDS[name][0].split(":")
    getattr(importlib.import_module(module), function)(rest)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs `tf-sg2` with `arguments` (default: the process's own); returns the exit status."""
    # TensorFlow's C++ log tells of CUDA that is absent and of graph passes that do not apply; what
    # is wrong reaches Python as an exception. Set the variable to 0 to see it all.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    arguments = sys.argv[1:] if arguments is None else arguments
    return main_guard(lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())

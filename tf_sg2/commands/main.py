"""The program `tf-sg2`: finds a command in a table and runs it with the rest of the line.

The table holds the names of modules. So `tf-sg2 --help` imports no command, and the library can
name commands of `training` and `serving` without importing them.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from tf_sg2.commands.exit_status import main_guard
from tf_sg2.errors import InputError

# name: ("module:function", description); the function takes the arguments after the name.
COMMANDS = {
    "cards": ("tf_sg2.commands.cards:main", "draw dummy business cards"),
    "dataset": ("tf_sg2.commands.dataset:main", "check and convert a data set"),
    "build-ops": ("tf_sg2.commands.build_ops:main", "compile the native ops for this TensorFlow"),
    "doctor": (
        "tf_sg2.commands.doctor:main",
        "print versions, devices, and the implementation of each op",
    ),
    "train": ("tf_sg2.training.commands.train:main", "train a model, or resume a run"),
    "generate": ("tf_sg2.commands.generate:main", "make pictures from seeds"),
    "mix": ("tf_sg2.commands.mix:main", "make a style-mixing table of two lists of seeds"),
    "interpolate": (
        "tf_sg2.commands.interpolate:main",
        "make a looped animation through latent space",
    ),
    "evaluate": (
        "tf_sg2.serving.commands.evaluate:main",
        "measure how good generated images are",
    ),
    "features": (
        "tf_sg2.commands.features:main",
        "say where weights of feature networks are, and check a file",
    ),
    "report": ("tf_sg2.commands.report:main", "show how runs went, as one HTML file"),
    "convert": (
        "tf_sg2.commands.convert:main",
        "convert networks from and to the files of other programs",
    ),
    "export": (
        "tf_sg2.serving.commands.export:main",
        "export a run as a model that TensorFlow Serving loads",
    ),
    "serve": ("tf_sg2.serving.commands.serve:main", "serve an exported model over gRPC and REST"),
    "client": ("tf_sg2.serving.commands.client:main", "get pictures from a server"),
}


def usage() -> str:
    """Returns the text of `tf-sg2 --help`."""
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
    """Runs `tf-sg2` with `arguments` (default: of the process); returns the exit status."""
    # TensorFlow's C++ log reports missing CUDA and graph passes that do not apply. Errors reach
    # Python as exceptions. Set the variable to 0 to see the whole log.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    arguments = sys.argv[1:] if arguments is None else arguments
    return main_guard(lambda: _run(arguments))


if __name__ == "__main__":
    sys.exit(main())

"""Defines and parses the flags of one command with absl.

absl keeps one registry of flags per process. Commands do not use it: each has its own
`CommandFlags`, so that several commands can run in one process, as they do in tests.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence

from absl import flags as absl_flags

from tf_sg2.errors import InputError

FlagValues = absl_flags.FlagValues

# As in `tf_sg2.ops.implementation`, which imports TensorFlow and so is too slow for `--help`.
OPS_CHOICES, OPS_VARIABLE = ("auto", "native", "tensorflow"), "TF_SG2_OPS"
OPS_HELP = (
    "Implementation of the ops: native, TensorFlow's own, or auto (native where they are built). "
    f"Without it, ${OPS_VARIABLE} says it, else auto."
)


class CommandFlags:
    """The flags of one command.

    Each method defines one flag: its name, its default and its help text. `values` holds the
    values; `parse` fills it from the command line.
    """

    def __init__(self) -> None:
        self.values = FlagValues()
        self.required: dict[str, str] = {}  # Name -> help text.

    def string(
        self, name: str, default: str | None, help_text: str, required: bool = False
    ) -> None:
        """Defines a flag that takes any text; `parse` refuses a command without a required one."""
        if required:
            self.required[name] = help_text
            help_text = f"{help_text} (needed)"
        absl_flags.DEFINE_string(name, default, help_text, flag_values=self.values)

    def boolean(self, name: str, default: bool, help_text: str) -> None:
        """Defines a flag that is on (`--name`) or off (`--noname`)."""
        absl_flags.DEFINE_boolean(name, default, help_text, flag_values=self.values)

    def integer(
        self,
        name: str,
        default: int | None,
        help_text: str,
        lower_bound: int | None = None,
        upper_bound: int | None = None,
    ) -> None:
        """Defines a flag that takes a whole number; the bounds are allowed values."""
        absl_flags.DEFINE_integer(
            name, default, help_text, lower_bound, upper_bound, flag_values=self.values
        )

    def number(
        self, name: str, default: float | None, help_text: str, lower_bound: float | None = None
    ) -> None:
        """Defines a flag that takes a number; the bound is an allowed value."""
        absl_flags.DEFINE_float(name, default, help_text, lower_bound, flag_values=self.values)

    def enum(self, name: str, default: str | None, choices: Sequence[str], help_text: str) -> None:
        """Defines a flag that takes one of `choices`."""
        absl_flags.DEFINE_enum(name, default, list(choices), help_text, flag_values=self.values)

    def strings(self, name: str, default: Sequence[str], help_text: str) -> None:
        """Defines a flag that takes texts separated by commas."""
        absl_flags.DEFINE_list(name, [*default], help_text, flag_values=self.values)

    def alias(self, name: str, original: str) -> None:
        """Defines another name of a flag."""
        absl_flags.DEFINE_alias(name, original, flag_values=self.values)


def parse(
    command: str,
    arguments: Sequence[str],
    define: Callable[[CommandFlags], None],
    usage: str,
) -> FlagValues:
    """Returns the flags of `tf-sg2 COMMAND ARGUMENTS`.

    Every command has the flag `--ops`. It holds for this process and for those that it starts.

    Args:
        command: name of the command, for messages.
        arguments: the command line after the command's name.
        define: adds the command's flags.
        usage: text that `--help` prints above the flags.

    Raises:
        InputError: for an unknown or missing flag, an unusable value or a positional argument.
        SystemExit: with status 0 after `--help` was printed.
    """
    flags = CommandFlags()
    define(flags)
    flags.enum("ops", None, OPS_CHOICES, OPS_HELP)
    values = flags.values
    see_help = f"tf-sg2 {command} --help lists the flags"
    if any(argument in ("--help", "-h", "-help") for argument in arguments):
        print(f"{usage.strip()}\n\nFlags of tf-sg2 {command}:\n")
        print(values.get_help(prefix="  "))
        raise SystemExit(0)
    try:
        positional = values([command, *map(_underscored, arguments)])[1:]
    except absl_flags.Error as error:
        sentence = " ".join(str(error).split())
        raise InputError(f"{sentence} ({see_help})") from error
    for name in values:
        value = values[name].value
        if isinstance(value, float) and math.isnan(value):  # NaN passes every bound of absl.
            raise InputError(f"--{name} is nan; give a number ({see_help})")
    if positional:
        raise InputError(
            f"tf-sg2 {command} takes flags only, but was given {' '.join(positional)!r}; {see_help}"
        )
    for name, help_text in flags.required.items():
        if not values[name].value:
            raise InputError(f"--{name} is needed: {help_text} ({see_help})")
    if values.ops is not None:
        os.environ[OPS_VARIABLE] = values.ops
    return values


def _underscored(argument: str) -> str:
    """Returns `--dry-run` as `--dry_run`; the value after a "=" stays unchanged."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value

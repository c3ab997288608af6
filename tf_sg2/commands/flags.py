"""Parses one command's flags with absl, without touching the process-wide flag registry."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from absl import flags

from tf_sg2.errors import InputError


def parse(
    command: str,
    arguments: Sequence[str],
    define: Callable[[flags.FlagValues], None],
    usage: str,
) -> flags.FlagValues:
    """Returns the flags of `tf-sg2 COMMAND ARGUMENTS`.

    Args:
        command: name of the command, for messages.
        arguments: what follows the command's name.
        define: adds the command's flags to the `FlagValues` it is given.
        usage: what `--help` prints above the flags.

    Raises:
        InputError: for an unknown flag, an unusable value or a stray positional argument.
        SystemExit: with status 0 after `--help` was printed.
    """
    values = flags.FlagValues()
    define(values)
    if any(argument in ("--help", "-h", "-help") for argument in arguments):
        print(f"{usage.strip()}\n\nFlags of tf-sg2 {command}:\n")
        print(values.get_help(prefix="  "))
        raise SystemExit(0)
    try:
        positional = values([command, *map(_underscored, arguments)])[1:]
    except flags.Error as error:
        sentence = " ".join(str(error).split())
        raise InputError(f"{sentence} (tf-sg2 {command} --help lists the flags)") from error
    for name in values:
        if isinstance(values[name].value, float) and math.isnan(values[name].value):
            raise InputError(  # It passes every bound: comparisons with it are false.
                f"--{name} is nan; give a number (tf-sg2 {command} --help lists the flags)"
            )
    if positional:
        raise InputError(
            f"tf-sg2 {command} takes flags only, but was given {' '.join(positional)!r}; "
            f"tf-sg2 {command} --help lists them"
        )
    return values


def _underscored(argument: str) -> str:
    """Lets `--dry-run` stand for `--dry_run`; what follows a "=" stays."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


@contextlib.contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP end the block with `SystemExit`, so that it cleans up.

    Python hears signals in its main thread only: in another one, the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {}

    def stop(number, frame):
        for heard in before:  # The clean-up is not broken off by a second signal.
            signal.signal(heard, signal.SIG_IGN)
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:  # Not under nohup.
            before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def main_guard(run: Callable[[], object]) -> int:
    """Runs a command and turns `InputError` into one line on stderr and exit status 2."""
    try:
        run()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # The reader, such as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0

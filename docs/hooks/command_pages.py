"""MkDocs hook: writes the page of commands from what each command prints for `--help`."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

COMMAND = Path(sys.executable).with_name("tf-sg2")
# absl adds the flags of this module to every command.
ABSL_FLAGS = ("flagfile", "undefok")

INTRODUCTION = """\
# Commands

This page is made from what `tf-sg2 COMMAND --help` prints.

Every flag is written `--name=value`. A switch is written `--name`, or `--noname` to turn it off.
A hyphen may replace an underscore in a flag's name.
"""


class Flag(NamedTuple):
    """One flag of a command: its name as typed, what it means, and its default."""

    name: str
    meaning: str
    default: str


def help_of(*arguments: str) -> str:
    """Returns what `tf-sg2 ARGUMENTS --help` prints."""
    command = [str(COMMAND), *arguments, "--help"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed: {result.stderr.strip()}")
    return result.stdout


def parse_commands(text: str) -> dict[str, str]:
    """Returns the commands in the output of `tf-sg2 --help`: name -> what it does."""
    return dict(re.findall(r"^  ([\w-]+)  +(\S.*)$", text, re.MULTILINE))


def parse_flags(text: str) -> list[Flag]:
    """Returns the flags in the second half of a command's help text."""
    found = []
    for name, body in re.findall(r"^ +(--\S+): ((?:.*)(?:\n +(?!--)\S.*)*)", text, re.MULTILINE):
        if name.removeprefix("--") in ABSL_FLAGS or "Alias for" in body:
            continue
        # The next module's title may follow the last flag of a module.
        words = " ".join(re.sub(r"\n +[\w.]+:$", "", body, flags=re.MULTILINE).split())
        default = re.search(r"\(default: '(.*?)'\)", words)
        meaning = re.sub(r" ?\(default: '.*?'\)", "", words)
        found.append(Flag(name, meaning, default[1] if default else ""))
    return found


def to_markdown(usage: str) -> str:
    """Returns a usage text as Markdown: its indented lines become code blocks."""
    blocks = []
    for paragraph in usage.strip().split("\n\n"):
        lines = paragraph.splitlines()
        if all(line.startswith("  ") for line in lines):
            code = "\n".join(line[2:] for line in lines)
            blocks.append(f"```\n{code}\n```")
        else:
            blocks.append(paragraph)
    return "\n\n".join(blocks)


def _cell(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    for character in "|*_":
        text = text.replace(character, "\\" + character)
    return text


def section_of(name: str, text: str) -> str:
    """Returns a command's part of the page.

    Raises:
        ValueError: if the help text has no flags, so the page would silently lose them.
    """
    usage, _, rest = text.partition(f"Flags of tf-sg2 {name}:")
    if not rest:
        raise ValueError(f"the help of tf-sg2 {name} has no line 'Flags of tf-sg2 {name}:'")
    lines = [f"## {name}", "", to_markdown(usage), ""]
    rows = parse_flags(rest)
    if rows:
        lines += ["| Flag | Meaning | Default |", "|---|---|---|"]
        for flag in rows:
            default = f"`{flag.default}`" if flag.default else ""
            lines.append(f"| `{flag.name}` | {_cell(flag.meaning)} | {default} |")
    else:
        lines.append("This command has no flags.")
    return "\n".join([*lines, ""])


def page() -> str:
    """Returns the whole page in Markdown."""
    commands = parse_commands(help_of())
    with ThreadPoolExecutor(2) as pool:
        texts = list(pool.map(help_of, commands))
    overview = ["| Command | Does |", "|---|---|"]
    overview += [f"| [{name}](#{name}) | {what} |" for name, what in commands.items()]
    sections = map(section_of, commands, texts)
    return "\n".join([INTRODUCTION, *overview, "", *sections])


def on_files(files, config):
    """Adds `commands.md` to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "commands.md", content=page()))
    return files

"""Measurements as data: the format of `benchmarks/results/*.json`, and its tables.

    python benchmarks/results.py        # checks every file and prints the tables as Markdown

A file is one JSON object. Every field except `notes` is required:

    title    the quantity that was measured
    command  the command that measures it again
    machine  processor, cores, memory rate where it matters, software versions, other load
    date     YYYY-MM-DD
    commit   the commit that recorded the numbers
    columns  the head of the table: strings
    rows     lists of strings, one per column; a **bold** cell missed its target
    notes    sentences below the table
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import importlib.metadata
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "results"


@dataclass(frozen=True)
class Table:
    """One file of measurements."""

    title: str
    command: str
    machine: str
    date: str
    commit: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = dataclasses.field(default_factory=list)


def load(path: Path) -> Table:
    """Returns the table in a file.

    Raises:
        ValueError: if a field is missing, unknown or malformed; the message names the file.
    """
    values = json.loads(path.read_text(encoding="utf-8"))
    try:
        table = Table(**values)
    except TypeError as error:
        raise ValueError(f"{path}: {error}") from error
    for field in ("title", "command", "machine"):
        if not getattr(table, field).strip():
            raise ValueError(f"{path}: {field} is empty")
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", table.date):
        raise ValueError(f"{path}: date is {table.date!r}; it must be YYYY-MM-DD")
    if not re.fullmatch(r"[0-9a-f]{7,40}", table.commit):
        raise ValueError(f"{path}: commit is {table.commit!r}; it must be 7 to 40 hex digits")
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ValueError(f"{path}: row {row} does not have {len(table.columns)} cells")
    if not table.rows:
        raise ValueError(f"{path}: there are no rows")
    return table


def load_all() -> list[Table]:
    """Returns every table, by file name."""
    return [load(path) for path in sorted(FOLDER.glob("*.json"))]


def table_of_now(
    title: str, command: str, columns: list[str], rows: list[list[str]], notes: list[str]
) -> Table:
    """Returns a table with today's date, this machine and the commit of the checkout."""
    today = datetime.date.today().isoformat()
    return Table(title, command, this_machine(), today, commit(), columns, rows, notes)


def commit() -> str:
    """Returns the short hash of the checkout's commit."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    head = subprocess.run(command, cwd=FOLDER, check=True, capture_output=True, text=True)
    return head.stdout.strip()


def this_machine() -> str:
    """Returns the processor, the cores and the versions that numbers depend on (Linux)."""
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    processor = found[1].strip() if found else "unknown processor"
    versions = []
    for package in ("tensorflow", "onnxruntime", "numpy", "scipy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return f"{len(os.sched_getaffinity(0))} cores ({processor}), {', '.join(versions)}"


def write(name: str, table: Table) -> None:
    """Writes a table to `benchmarks/results/NAME.json`."""
    text = json.dumps(dataclasses.asdict(table), indent=2, ensure_ascii=False)
    (FOLDER / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def to_markdown(table: Table) -> str:
    """Returns a table as a section of a Markdown page."""
    lines = [
        f"## {table.title}",
        "",
        f"| {' | '.join(table.columns)} |",
        f"|{'---|' * len(table.columns)}",
        *(f"| {' | '.join(row)} |" for row in table.rows),
        "",
        f"- Machine: {table.machine}",
        f"- Date: {table.date}, recorded at commit `{table.commit}`",
        f"- Command: `{table.command}`",
        *(f"- {note}" for note in table.notes),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print("\n".join(map(to_markdown, load_all())))

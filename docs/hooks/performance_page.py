"""MkDocs hook: writes the page of measurements from `benchmarks/results/*.json`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import results

INTRODUCTION = """\
# Performance

Every number here was measured once, on one machine, at one commit; each table names them. Measure
on your own machine before you rely on one. Nothing was measured on a GPU yet.

**Bold** cells missed what was wanted. The tables are made from `benchmarks/results/*.json`; to add
one, write such a file (`benchmarks/results.py` describes its form).
"""


def page() -> str:
    """Returns the whole page in Markdown."""
    return "\n".join([INTRODUCTION, *(results.to_markdown(table) for table in results.load_all())])


def on_files(files, config):
    """Adds `performance.md` to the site."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, "performance.md", content=page()))
    return files

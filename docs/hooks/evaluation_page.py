"""MkDocs hook: puts the measured tables into the page on evaluation."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2] / "benchmarks"))

import results

PAGE = "evaluation.md"
# `<!-- table: NAME -->` in the page stands for benchmarks/results/NAME.json.
MARK = re.compile(r"<!-- table: ([\w-]+) -->")


def with_tables(text: str) -> str:
    """Returns the page's text with each mark replaced by its table.

    Raises:
        FileNotFoundError: if a mark names no file of results.
    """

    def table(mark: re.Match[str]) -> str:
        shown = results.to_markdown(results.load(results.FOLDER / f"{mark[1]}.json"))
        return shown.replace("## ", "### ", 1)

    return MARK.sub(table, text)


def on_page_markdown(markdown, page, config, files):
    """Replaces the marks when the site is built."""
    return with_tables(markdown) if page.file.src_uri == PAGE else markdown

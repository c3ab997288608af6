"""`docs/promises.md` names files and tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache

from checkout import ROOT


def rows() -> list[list[str]]:
    """The table's rows: promise, where it stands, tests."""
    lines = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "|" in line]
    return [row for row in cells if row[0] != "Promise" and not set(row[0]) <= {"-"}]


@cache
def functions_in(name: str) -> set[str]:
    """The test functions at the top of a file of tests."""
    path = ROOT / "tests" / name
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_every_promise_has_a_test_that_exists():
    for row in rows():
        assert len(row) == 3, row
        found = re.findall(r"`([\w/]+\.py)::(test_\w+)`", row[2])
        assert found, row
        assert len(found) == row[2].count("`") / 2, row
        missing = [f"{file}::{name}" for file, name in found if name not in functions_in(file)]
        assert not missing, f"{row[0]!r} names tests that do not exist: {missing}"


def test_every_promise_names_an_existing_file():
    assert len(rows()) > 50
    for row in rows():
        files = re.findall(r"`([^`]+)`", row[1])
        assert files, row
        assert all((ROOT / file).is_file() for file in files), row

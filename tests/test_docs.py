"""The README and the site: complete, linked, and made from what the commands and results say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import command_pages
import evaluation_page
import performance_page
import pytest

import results
import tf_sg2
from checkout import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
TEXTS = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")
] + PAGES
GENERATED = {"commands.md", "performance.md"}
RESULTS = sorted(results.FOLDER.glob("*.json"))

every_text = pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
every_result = pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def helps():
    """What `--help` prints for each command."""
    names = command_pages.parse_commands(command_pages.help_of())
    return {name: command_pages.help_of(name) for name in names}


def headings(path: Path) -> set[str]:
    """The anchors of a page's headings."""
    found = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title).strip().lower().replace(" ", "-") for title in found}


def test_readme_is_at_most_130_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130


@every_text
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        if path.parent == DOCS and name in GENERATED:
            continue
        linked = path.parent / name if name else path
        assert linked.exists(), target
        assert not anchor or anchor in headings(linked), target


@every_text
def test_commands_and_flags_in_texts_exist(path, helps):
    for line in path.read_text(encoding="utf-8").splitlines():
        for name, rest in re.findall(r"\btf-sg2 +([a-z][\w-]*)([^`|]*)", line):
            assert name in helps, line
            for flag in re.findall(r" --([\w.-]+)", rest):
                names = {flag.replace("-", "_"), flag.replace("-", "_").removeprefix("no")}
                assert any(re.search(rf"--(\[no\])?{n}:", helps[name]) for n in names), line


def test_navigation_lists_every_page():
    listed = set(re.findall(r": ([\w-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert listed == {path.name for path in PAGES} | GENERATED


def test_versions_agree():
    assert f"version: {tf_sg2.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## {tf_sg2.__version__} - " in (ROOT / "CHANGELOG.md").read_text()


@every_result
def test_result_names_machine_date_and_commit(path):
    table = results.load(path)
    shown = results.to_markdown(table)
    for value in (table.title, table.machine, table.date, table.commit, table.command):
        assert value in shown
    assert table.title in performance_page.page()


def test_page_on_evaluation_holds_its_tables():
    text = (DOCS / "evaluation.md").read_text(encoding="utf-8")
    names = evaluation_page.MARK.findall(text)
    assert {"damage", "default-eye"} <= set(names)
    shown = evaluation_page.with_tables(text)
    assert "<!-- table" not in shown
    for name in names:
        table = results.load(results.FOLDER / f"{name}.json")
        assert f"### {table.title}\n" in shown
        assert f"| {table.rows[-1][0]} |" in shown


def test_a_table_that_is_missing_is_named():
    with pytest.raises(FileNotFoundError, match=r"no-such\.json"):
        evaluation_page.with_tables("<!-- table: no-such -->")


def test_a_table_is_written_as_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "FOLDER", tmp_path)
    monkeypatch.setattr(results, "commit", lambda: "0123456")
    table = results.table_of_now("t", "c", ["a"], [["×"]], ["note"])
    results.write("new", table)
    assert results.load(tmp_path / "new.json") == table
    assert "cores" in table.machine
    assert "numpy" in table.machine


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine": " "}, "machine is empty"),
        ({"date": "yesterday"}, "must be YYYY-MM-DD"),
        ({"commit": "HEAD"}, "hex digits"),
        ({"rows": []}, "no rows"),
        ({"rows": [["1", "2"]]}, "does not have 1 cells"),
        ({"speed": 3}, "unexpected keyword argument 'speed'"),
    ],
)
def test_result_in_another_form_is_refused(tmp_path, change, message):
    values = {
        "title": "t",
        "command": "c",
        "machine": "m",
        "date": "2026-11-24",
        "commit": "0123456",
        "columns": ["a"],
        "rows": [["1"]],
    }
    path = tmp_path / "result.json"
    path.write_text(json.dumps({**values, **change}), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        results.load(path)
    assert str(path) in str(caught.value)


HELP = """\
Does things.

  tf-sg2 do --now

Flags of tf-sg2 do:


  module.one:
    --mode: <fast|slow>: how to do
      it, in two lines
      (default: 'fast')
    --[no]now: at once
      (default: 'false')
    --old: Alias for --mode.

  module.two:
    --name: whose

  absl.flags:
    --flagfile: Insert flag definitions
      (default: '')
"""


def test_flags_are_read_from_a_help_text():
    assert command_pages.parse_flags(HELP.partition("Flags of tf-sg2 do:")[2]) == [
        ("--mode", "<fast|slow>: how to do it, in two lines", "fast"),
        ("--[no]now", "at once", "false"),
        ("--name", "whose", ""),
    ]
    section = command_pages.section_of("do", HELP)
    assert "```\ntf-sg2 do --now\n```" in section
    assert "| `--mode` | &lt;fast\\|slow>: how to do it, in two lines | `fast` |" in section


def test_help_text_of_another_form_is_refused():
    with pytest.raises(ValueError, match="no line 'Flags of tf-sg2 do:'"):
        command_pages.section_of("do", "Flags: --x")


def test_page_of_commands_has_every_command_and_flag(helps):
    page = command_pages.page()
    for name in helps:
        assert f"\n## {name}\n" in page
    for flag in ("--training.r1_gamma", "--worker_timeout", "--rows_at_once", "--[no]grid"):
        assert f"| `{flag}` |" in page

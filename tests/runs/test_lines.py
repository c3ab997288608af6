"""Files of JSON lines: what is not whole or comes too late is forgotten."""

from __future__ import annotations

import json

import pytest

from tf_sg2.errors import InputError
from tf_sg2.runs.lines import append_line, forget_lines, read_lines

LINES = [{"kimg": kimg, "value": i} for i, kimg in enumerate([0.0, 0.008, None, 0.016, 0.024])]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "metrics" / "metric-fd.jsonl"
    for line in LINES:
        append_line(path, line)
    return path


def test_lines_come_back(path):
    assert read_lines(path) == LINES
    assert read_lines(path.with_name("missing")) == []
    assert path.read_text().splitlines() == [json.dumps(line) for line in LINES]


@pytest.mark.parametrize(
    ("images_seen", "left"), [(0, [2]), (8, [0, 1, 2]), (16, [0, 1, 2, 3]), (99, [0, 1, 2, 3, 4])]
)
def test_later_lines_are_forgotten(path, images_seen, left):
    forget_lines(path, images_seen)
    assert [line["value"] for line in read_lines(path)] == left
    assert path.read_text().count("\n") == len(left)


@pytest.mark.parametrize("rest", ['{"kimg": 0.0', "[]\n", '{"kimg": "x"}\n', "{}\n", "\n"])
def test_a_line_that_is_not_whole_is_forgotten(path, rest):
    whole = path.read_text()
    path.write_text(whole + rest)
    assert read_lines(path) == LINES
    forget_lines(path, 99)
    assert path.read_text() == whole


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file/metric.jsonl cannot be written: "):
        append_line(tmp_path / "file" / "metric.jsonl", {"kimg": 0})

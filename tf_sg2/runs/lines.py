"""Files of JSON lines in a run: `log.jsonl`, `metrics/metric-NAME.jsonl`, `metrics/scores.jsonl`.

Each line is an object with `kimg`, the thousands of real images shown until then. A line whose kimg
is null is about no time of the run, and stays.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf_sg2.errors import InputError
from tf_sg2.files import new_file


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Returns the objects of a file, in order; none if it does not exist.

    Lines that are not whole are left out: a process was killed while it wrote them.
    """
    return [line for _, line in _whole_lines(path)]


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Adds an object to a file, which is made with its folder if it does not exist.

    Raises:
        InputError: if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(size - 1, 0))
            # A line that is not whole must not swallow the next one.
            start = b"\n" if file.read(1) not in (b"", b"\n") else b""
            file.write(start + json.dumps(line).encode() + b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}") from error


def forget_lines(path: Path, images_seen: int) -> None:
    """Removes the lines after `images_seen`, and lines that are not whole; all lines at 0."""
    if not path.exists():
        return
    kept = [text for text, line in _whole_lines(path) if _images(line) <= (images_seen or -1)]
    content = "".join(text + "\n" for text in kept).encode()
    if content != path.read_bytes():
        with new_file(path) as file:
            file.write(content)


def _whole_lines(path: Path) -> list[tuple[str, dict[str, Any]]]:
    if not path.exists():
        return []
    found = []
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
            _images(line)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue
        found.append((text, line))
    return found


def _images(line: Mapping[str, Any]) -> int:
    kimg = line["kimg"]
    return -1 if kimg is None else round(kimg * 1000)

"""Checks that a resumed run gets the data set that it was started with, by `data.json`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError, first_line
from tf_sg2.files import new_file
from tf_sg2.runs.directory import RunDirectory

# What a fingerprint covers. 1: names and sizes of files; 2: their contents.
FINGERPRINT_VERSION = 2


def check_data(
    run: RunDirectory,
    source: ImageSource,
    fingerprint: str,
    heldout: dict[str, object] | None,
    resumed: bool,
    say: Callable[[str], None],
) -> None:
    """Compares the data set with `data.json` of a resumed run, then writes `data.json`.

    Args:
        run: the run directory.
        source: the data set.
        fingerprint: its fingerprint.
        heldout: number and fingerprint of the held-out images; None without any.
        resumed: whether the run has checkpoints.
        say: prints a sentence.

    Raises:
        InputError: if the data sets differ, or `data.json` cannot be read.
    """
    path = run.path / "data.json"
    wanted: dict[str, object] = {
        "images": len(source),
        "image_size": list(source.image_size),
        "image_channels": source.image_channels,
        "label_dim": source.label_dim,
        "fingerprint": fingerprint,
        "fingerprint_version": FINGERPRINT_VERSION,
        "heldout": heldout,
    }
    if resumed and path.exists():
        stored = _read_description(path)
        if stored.setdefault("fingerprint_version", 1) != FINGERPRINT_VERSION:
            say(
                f"{path} is of another version of tf_sg2, so the content of the data is not "
                "compared"
            )
            stored.update({key: wanted[key] for key in ("fingerprint", "fingerprint_version")})
        found = [
            f"{key}: {stored.get(key)!r} -> {value!r}"
            for key, value in wanted.items()
            if stored.get(key) != value
        ]
        if found:
            raise InputError(
                f"{run.path} was started on another data set than {source.name}; give the run's "
                f"data set, or name another run directory. Differences (run -> wanted): "
                f"{'; '.join(found)}"
            )
    with new_file(path) as file:
        file.write((json.dumps(wanted, indent=2) + "\n").encode())


def _read_description(path: Path) -> dict[str, object]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{path} is damaged ({first_line(error)}); put it back from a copy, or remove it to "
            "go on with the data set that is given now"
        ) from error
    return found

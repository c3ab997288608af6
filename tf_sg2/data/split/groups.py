"""Groups of images by a column of `groups.csv`, which lies at the top of a folder or a zip.

The first column is called `file` and holds the paths of the images. Each further column is a way to
group them, such as `person` or `company`:

    file,person,company
    a/img0.png,12,ACME
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from tf_sg2.errors import InputError

GROUP_FILE = "groups.csv"
FILE_COLUMN = "file"


def no_groups(name: str, column: str) -> InputError:
    """Returns the error for a folder or a zip without `groups.csv`."""
    return InputError(
        f"{name} has no {GROUP_FILE} at its top, so there is no group {column!r}; add one with the "
        f"columns {FILE_COLUMN},{column}, or leave the group out"
    )


def parse_groups(text: bytes, names: Sequence[str], column: str, where: str) -> list[str]:
    """Returns the group of each image from the text of a `groups.csv`.

    Args:
        text: the file's content, UTF-8.
        names: paths of the images.
        column: the column to read.
        where: name of the file in messages.

    Raises:
        InputError: if the file is malformed or lacks the column, or an image has no group or two.
    """
    try:
        rows = list(csv.reader(io.StringIO(text.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where} is not CSV in UTF-8 ({error}); correct it") from error
    head = rows[0] if rows else []
    if not head or head[0] != FILE_COLUMN or column not in head[1:]:
        raise InputError(
            f"{where} has the columns {','.join(head) or 'none'}; the first must be {FILE_COLUMN}, "
            f"and one must be {column}"
        )
    at = head.index(column, 1)
    groups: dict[str, str] = {}
    for number, row in enumerate(rows[1:], 2):
        if not row:
            continue
        if len(row) != len(head):
            raise InputError(
                f"{where}: row {number} has {len(row)} values for {len(head)} columns; correct it"
            )
        name = row[0].removeprefix("./")
        if groups.setdefault(name, row[at]) != row[at]:
            raise InputError(
                f"{where} gives {name} two values of {column}, {groups[name]!r} and {row[at]!r}; "
                "keep one"
            )
    missing = next((name for name in names if not groups.get(name)), None)
    if missing is not None:
        raise InputError(f"{where} has no {column} for {missing}; add it")
    return [groups[name] for name in names]


def file_keys(names: Sequence[str], groups: Sequence[str] | None) -> list[bytes]:
    """Returns the key of each image: its group, or the path of its file if there are no groups."""
    texts = names if groups is None else groups
    return [text.encode("utf-8", "surrogateescape") for text in texts]

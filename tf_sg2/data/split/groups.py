"""Groups of images by a column of `groups.csv`, which lies at the top of a folder or a zip.

The first column is called `file` and holds the paths of the images. Each further column is a way to
group them, such as `person` or `company`:

    file,person,company
    a/img0.png,12,ACME
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from tf_sg2.errors import InputError

GROUP_FILE = "groups.csv"
FILE_COLUMN = "file"


class Groups:
    """The rows of a `groups.csv`.

    Args:
        text: the file's content, UTF-8.
        where: name of the file in messages.

    Raises:
        InputError: if the file is malformed, or an image has two rows that differ.
    """

    def __init__(self, text: bytes, where: str):
        try:
            reader = csv.reader(io.StringIO(text.decode("utf-8-sig"), newline=""), strict=True)
            head, *rows = [row for row in reader if row] or [[]]
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{where} is not CSV in UTF-8 ({error}); correct it") from error
        if not head or head[0] != FILE_COLUMN:
            raise InputError(
                f"{where} has the columns {','.join(head) or 'none'}; the first must be "
                f"{FILE_COLUMN}"
            )
        self._where = where
        self._columns = head[1:]
        self._values: dict[str, list[str]] = {}
        for number, (name, *values) in enumerate(rows, 1):
            if len(values) != len(self._columns):
                raise InputError(
                    f"{where}: row {number} has {len(values) + 1} values for {len(head)} columns; "
                    "correct it"
                )
            if self._values.setdefault(name.removeprefix("./"), values) != values:
                raise InputError(f"{where} has two rows for {name} that differ; keep one")

    def column(self, column: str, names: Sequence[str]) -> list[str]:
        """Returns the group of each image.

        Args:
            column: name of the column.
            names: paths of the images.

        Raises:
            InputError: if there is no such column, or names the first image without a group.
        """
        if column not in self._columns:
            raise InputError(
                f"{self._where} has no column {column}; the columns are "
                f"{', '.join(self._columns) or 'none'}"
            )
        at = self._columns.index(column)
        groups = [self._values[name][at] if name in self._values else "" for name in names]
        if not all(groups):
            raise InputError(f"{self._where} has no {column} for {names[groups.index('')]}; add it")
        return groups

    def renamed(self, names: Sequence[str], originals: Sequence[str]) -> str:
        """Returns the text of a `groups.csv` for copies of images.

        Args:
            names: paths of the copies.
            originals: path of each copy's original; one without a row gets empty values.
        """
        empty = [""] * len(self._columns)
        rows = (self._values.get(name, empty) for name in originals)
        return format_groups(
            self._columns, ([name, *row] for name, row in zip(names, rows, strict=True))
        )


def format_groups(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns the text of a `groups.csv`.

    Args:
        columns: names of the columns after the first one.
        rows: path of an image and its values.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([FILE_COLUMN, *columns])
    writer.writerows(rows)
    return text.getvalue()


def file_keys(name: str, names: Sequence[str], groups: Groups | None, column: str) -> list[bytes]:
    """Returns the key of each image: its group, or the path of its file.

    Args:
        name: path of the folder or the zip, for messages.
        names: paths of the images in it.
        groups: its groups, if it has any.
        column: the column of the groups; "" for the paths.

    Raises:
        InputError: if there are no such groups.
    """
    if column and groups is None:
        raise InputError(
            f"{name} has no {GROUP_FILE} at its top, so there is no group {column!r}; add one with "
            f"the columns {FILE_COLUMN},{column}, or leave the group out"
        )
    texts = groups.column(column, names) if column and groups is not None else names
    return [text.encode("utf-8", "surrogateescape") for text in texts]

"""Opens a data set from its specification: a path, or "cards:..." for drawn cards."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tf_sg2.data.source import CONVERT_FIRST, ImageSource
from tf_sg2.errors import InputError

CARDS_PREFIX = "cards:"


def kind_of(spec: str) -> str:
    """Returns the kind of data set that `spec` names: "cards", "folder", "archive" or "tfrecord".

    Raises:
        InputError: if the path does not exist, or holds no known kind of data set.
    """
    if spec.startswith(CARDS_PREFIX):
        return "cards"
    from tf_sg2.data.tfrecord import SUFFIXES, record_paths

    path = Path(spec)
    try:
        if record_paths(path):
            return "tfrecord"
        mode = os.stat(spec).st_mode if spec else 0
        if stat.S_ISDIR(mode):
            return "tfrecord" if any(p.suffix in SUFFIXES for p in path.iterdir()) else "folder"
    except (
        FileNotFoundError,
        NotADirectoryError,
        ValueError,
    ):  # ValueError: a null byte.
        mode = 0
    except OSError as error:
        raise InputError(
            f"the data set {spec} cannot be opened ({error.strerror}); give another path"
        ) from error
    if not mode:
        raise InputError(
            f"there is no data set at {spec!r}; give a folder of images, a .zip, TFRecords, "
            f"or {CARDS_PREFIX}count=...,seed=...,size=..."
        )
    if path.suffix.lower() == ".zip":
        return "archive"
    raise InputError(
        f"{spec} is not a data set; give a folder of images, a .zip or a .tfrecords file"
    )


def open_source(
    spec: str,
    image_size: tuple[int, int] | None = None,
    image_channels: int | None = None,
) -> ImageSource:
    """Opens a data set for reading.

    Args:
        spec: a folder of images, a .zip of images, a .tfrecord(s) file, a folder of these, or
            "cards:count=...,seed=...,size=..." for cards that are drawn when they are read. If
            there are TFRecords of several resolutions, those of `image_size` are read, else those
            of the highest resolution.
        image_size: (height, width) that the images must have; None takes the stored size.
        image_channels: 1, 3 or 4; None takes the stored number.

    Raises:
        InputError: if there is no such data set, or it is empty or unreadable; or names the first
            image that has another size or number of channels.
    """
    kind = kind_of(spec)
    if kind == "folder" or kind == "archive":
        from tf_sg2.data.archive import ArchiveFiles
        from tf_sg2.data.encoded import EncodedSource
        from tf_sg2.data.folder import FolderFiles

        files = FolderFiles(spec) if kind == "folder" else ArchiveFiles(spec)
        return EncodedSource(files, image_size, image_channels)
    source: ImageSource
    if kind == "tfrecord":
        from tf_sg2.data.tfrecord import TFRecordSource

        source = TFRecordSource(spec, image_size)
    else:
        from tf_sg2.cards import CardSource

        source = CardSource.from_spec(spec)
    _require(source, image_size, image_channels)
    return source


def _require(
    source: ImageSource, image_size: tuple[int, int] | None, image_channels: int | None
) -> None:
    """Refuses a source of another image size or number of channels."""
    height, width = source.image_size
    convert = CONVERT_FIRST
    if source.name.startswith(CARDS_PREFIX):
        convert = "change the specification"
    if image_size is not None and tuple(image_size) != (height, width):
        raise InputError(
            f"the images of {source.name}, from the first one on, are {height}x{width} pixels "
            f"(height x width), not {image_size[0]}x{image_size[1]}; {convert}"
        )
    if image_channels is not None and image_channels != source.image_channels:
        raise InputError(
            f"the images of {source.name}, from the first one on, have {source.image_channels} "
            f"channels, not {image_channels}; {convert}"
        )

"""Writes a converted data set completely or not at all: a folder or a zip of PNGs, or TFRecords.

PNG files have the names of the official data tool (`00000/img00000000.png`), with the labels in
`dataset.json` and the groups in `groups.csv`. All files are written into a hidden folder beside the
target, and then moved.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO

from PIL import Image

from tf_sg2.data.decode import Decoded
from tf_sg2.data.labels import LABEL_FILE, Labels, format_labels
from tf_sg2.data.split.groups import GROUP_FILE
from tf_sg2.data.tfrecord import SUFFIXES, labels_path, output_paths, write_labels, write_levels
from tf_sg2.errors import InputError
from tf_sg2.files import move_new

REPORT_FILE = "report.json"
_GroupText = Callable[[list[str], list[int]], str]


@dataclasses.dataclass(frozen=True)
class Sample:
    """An image to write.

    Attributes:
        index: index of the image in the source.
        image: the pixels.
        png: the bytes of a PNG file; empty for TFRecords.
    """

    index: int
    image: Image.Image
    png: bytes


def is_records(dest: str) -> bool:
    """Returns whether `dest` names TFRecords."""
    return Path(dest).suffix in SUFFIXES


def report_path(dest: str) -> str:
    """Returns the path of the report of a conversion to `dest`."""
    path = Path(dest)
    if is_records(dest) or path.suffix.lower() == ".zip":
        return str(path.with_suffix(".report.json"))
    return str(path / REPORT_FILE)


def check_free(source: str, dest: str, image_size: tuple[int, int] | None = None) -> None:
    """Refuses a target that exists or lies inside the source.

    Args:
        source: specification of the source.
        dest: the target.
        image_size: (height, width) of the images; None if not known yet. TFRecord levels are
            checked only if it is given.

    Raises:
        InputError: names the file that exists.
    """
    path = Path(dest)
    if os.path.isdir(source) and path.resolve().is_relative_to(Path(source).resolve()):
        raise InputError(f"{dest} lies inside the source {source}; choose a --dest outside it")
    targets = [path]
    if is_records(dest):
        targets += output_paths(path, image_size) if image_size else []
        targets += [labels_path(path), Path(report_path(dest))]
    elif path.suffix.lower() == ".zip":
        targets.append(Path(report_path(dest)))
    elif os.path.isdir(path) and not os.listdir(path):
        return
    for target in targets:
        if os.path.lexists(target):
            raise InputError(f"{target} exists already; delete it or choose another --dest")


def write(
    dest: str,
    samples: Iterator[Sample],
    image_size: tuple[int, int],
    labels: Labels,
    report: Callable[[list[str]], bytes],
    groups: _GroupText | None = None,
) -> None:
    """Writes a data set and its report.

    Args:
        dest: the target: a folder, `*.zip` or `*.tfrecords`.
        samples: the images.
        image_size: (height, width) of the images.
        labels: labels of all images of the source.
        report: called after all samples with the names of the TFRecord files; returns the report.
        groups: returns the text of `groups.csv` from the names that were written and the indices of
            their images in the source; None writes none. TFRecords have no names, so no groups.

    Raises:
        InputError: if the target exists or cannot be written. Then no file is left behind.
    """
    path = Path(dest)
    staging = None
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
        staging = tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent)
        staged = Path(staging) / path.name
        if is_records(dest):
            files = output_paths(staged, image_size)
            written = [*files, *_write_records(staged, files, samples, labels)]
            text = report([file.name for file in files])
        else:
            written = [staged]
            write_into = _write_zip if path.suffix.lower() == ".zip" else _write_folder
            write_into(staged, samples, labels, groups)
            text = report([])
        report_file = Path(report_path(str(staged)))
        report_file.write_bytes(text)
        if report_file.parent != staged:
            written.append(report_file)
        _publish(written, path.parent)
    except OSError as error:
        raise InputError(f"{dest} cannot be written ({error}); choose another --dest") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _publish(written: Sequence[Path], folder: Path) -> None:
    """Moves all files into the folder, or none of them; never replaces a file."""
    moved: list[Path] = []
    try:
        for path in written:
            target = folder / path.name
            move_new(path, target)
            moved.append(target)
    except BaseException:
        for target in moved:
            with contextlib.suppress(OSError):
                target.unlink()
        raise


def _write_records(
    path: Path, files: Sequence[Path], samples: Iterator[Sample], labels: Labels
) -> list[Path]:
    indices: list[int] = []

    def pixels() -> Iterator:
        for sample in samples:
            indices.append(sample.index)
            yield Decoded(sample.image, ()).array()

    write_levels([str(file) for file in files], pixels())
    if not labels.dim:
        return []
    write_labels(str(labels_path(path)), labels.take(indices))
    return [labels_path(path)]


def _write_zip(
    path: Path, samples: Iterator[Sample], labels: Labels, groups: _GroupText | None
) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _write_pngs(partial(_create_entry, archive), samples, labels, groups)


def _write_folder(
    path: Path, samples: Iterator[Sample], labels: Labels, groups: _GroupText | None
) -> None:
    path.mkdir()
    _write_pngs(partial(_create_file, path), samples, labels, groups)


def _write_pngs(
    create: Callable[[str], IO[bytes]],
    samples: Iterator[Sample],
    labels: Labels,
    groups: _GroupText | None,
) -> None:
    names, indices = [], []
    for count, sample in enumerate(samples):
        names.append(f"{count // 1000:05d}/img{count:08d}.png")
        indices.append(sample.index)
        with create(names[-1]) as file:
            file.write(sample.png)
    if labels.dim:
        with create(LABEL_FILE) as file:
            for piece in format_labels(names, labels.take(indices)):
                file.write(piece.encode())
    if groups is not None:
        with create(GROUP_FILE) as file:
            file.write(groups(names, indices).encode("utf-8", "surrogateescape"))


def _create_entry(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # ZipInfo's fixed date (1980) makes equal data sets equal zips. Labels may exceed 2 GiB.
    return archive.open(zipfile.ZipInfo(name), "w", force_zip64=name == LABEL_FILE)


def _create_file(folder: Path, name: str) -> IO[bytes]:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    return open(path, "wb")

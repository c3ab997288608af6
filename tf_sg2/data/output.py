"""Writes a converted data set: a folder or a zip of PNGs, or TFRecords; whole or not at all.

PNGs are named as the official tool names them (`00000/img00000000.png`, labels in
`dataset.json`). Everything is written into a hidden folder beside its place, then moved.
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
from tf_sg2.data.tfrecord import SUFFIXES, labels_path, output_paths, write_labels, write_levels
from tf_sg2.errors import InputError
from tf_sg2.files import move_new

REPORT_FILE = "report.json"


@dataclasses.dataclass(frozen=True)
class Sample:
    """An image to write: its index in the source, pixels, and PNG bytes where these are needed."""

    index: int
    image: Image.Image
    png: bytes


def is_records(dest: str) -> bool:
    """Whether `dest` names TFRecords."""
    return Path(dest).suffix in SUFFIXES


def report_path(dest: str) -> str:
    """Where the report of a conversion to `dest` is written."""
    path = Path(dest)
    if is_records(dest) or path.suffix.lower() == ".zip":
        return str(path.with_suffix(".report.json"))
    return str(path / REPORT_FILE)


def check_free(source: str, dest: str, image_size: tuple[int, int] | None = None) -> None:
    """Refuses to overwrite, and to write into the source.

    Raises:
        InputError: names what is in the way; of TFRecord levels only if `image_size` is given.
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
) -> None:
    """Writes a data set and its report.

    Args:
        dest: a folder, a `*.zip` or `*.tfrecords`.
        samples: the images.
        image_size: their (height, width).
        labels: of all images of the source.
        report: gives the report, after all samples, from the names of the TFRecord files.

    Raises:
        InputError: if something is there already, or cannot be written; then nothing is left.
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
            write_into(staged, samples, labels)
            text = report([])
        report_file = Path(report_path(str(staged)))
        report_file.write_bytes(text)
        if report_file.parent != staged:
            written.append(report_file)
        _publish(written, path.parent)
    except OSError as error:
        raise InputError(f"{dest} cannot be written ({error}); choose another place") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _publish(written: Sequence[Path], folder: Path) -> None:
    """Moves everything into the folder, or nothing; never over what is there."""
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


def _write_zip(path: Path, samples: Iterator[Sample], labels: Labels) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _write_pngs(partial(_create_entry, archive), samples, labels)


def _write_folder(path: Path, samples: Iterator[Sample], labels: Labels) -> None:
    path.mkdir()
    _write_pngs(partial(_create_file, path), samples, labels)


def _write_pngs(
    create: Callable[[str], IO[bytes]], samples: Iterator[Sample], labels: Labels
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


def _create_entry(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # ZipInfo's fixed date (1980) makes equal data sets equal files. Labels may be over 2 GiB.
    return archive.open(zipfile.ZipInfo(name), "w", force_zip64=name == LABEL_FILE)


def _create_file(folder: Path, name: str) -> IO[bytes]:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    return open(path, "wb")

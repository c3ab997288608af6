"""TFRecords in the official StyleGAN2 layout, read by index, and written.

A data set is a folder of files `NAME-rNN.tfrecords`, one per level of detail (NN is the log2 of
the resolution), and `NAME-rxx.labels`, a .npy array of label vectors. Files `validation-*` in the
folder are another data set. A record is a `tf.train.Example` with the features `shape` (int64 [3]:
C, H, W) and `data` (the uint8 pixels in that order).

The official loaders need square powers of two, and every level from the full resolution down to
4x4. Images of other sizes are written as one file, which only this program reads.

TFRecord files have no index. Opening one reads the frame of every record: length, checksum of the
length, checksum of the data. After that each record is one positional read. The frames must fill
the file exactly. Reading does not verify the checksum (CRC-32C) of the data, but the fingerprint
contains it. `TFRecordSource.verify` verifies all checksums with TensorFlow's reader; `tf-sg2
dataset` calls it first.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import os
import re
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from tf_sg2.data.labels import Labels
from tf_sg2.data.source import CONVERT_FIRST
from tf_sg2.errors import InputError, first_line
from tf_sg2.files import open_regular

SUFFIXES = (".tfrecord", ".tfrecords")
_VALIDATION = "validation-"
_LENGTH, _CHECKSUM = struct.Struct("<QI"), struct.Struct("<I")
_LEVEL = re.compile(r"-r([0-9][0-9])$")
_LOWEST_LEVEL = 2  # 4x4, the last level of the official data tool.


def official_levels(image_size: tuple[int, int]) -> list[int]:
    """Returns the levels of detail of an official data set, highest first.

    Only square powers of two from 4x4 have levels; other sizes give [].
    """
    height, width = image_size
    level = height.bit_length() - 1
    if height != width or height != 2**level:
        return []
    return list(range(level, _LOWEST_LEVEL - 1, -1))


def output_paths(path: Path, image_size: tuple[int, int]) -> list[Path]:
    """Returns the files of a data set written to `path`: one per official level, else `path`.

    Raises:
        InputError: if the official loaders would not find the levels under this name.
    """
    levels = official_levels(image_size)
    if not levels:
        return [path]
    found = _LEVEL.search(path.stem)
    if path.suffix != ".tfrecords" or (found and int(found[1]) != levels[0]):
        right = _with_level(path, levels[0]).name
        raise InputError(
            f"{path} is not the official name for images of {image_size[0]}x{image_size[1]}; "
            f"call it {right}"
        )
    return [_with_level(path, level) for level in levels]


def record_paths(path: Path) -> list[Path]:
    """Returns the TFRecord files that `path` names, sorted; [] if it names none.

    A folder names all its TFRecord files except hidden ones and `validation-*`. If there is no
    file `NAME.tfrecords`, the name means the levels `NAME-rNN.tfrecords`.

    Raises:
        OSError: if a folder cannot be listed.
    """
    if os.path.isdir(path):
        return sorted(
            child
            for child in path.iterdir()
            if child.suffix in SUFFIXES and not child.name.startswith((".", _VALIDATION))
        )
    if path.suffix not in SUFFIXES:
        return []
    if os.path.lexists(path):
        return [path]
    if not os.path.isdir(path.parent):
        return []
    return sorted(
        child
        for child in path.parent.iterdir()
        if child.suffix in SUFFIXES
        and child.name.startswith(f"{path.stem}-r")
        and _LEVEL.sub("", child.stem) == path.stem
    )


def _with_level(path: Path, level: int) -> Path:
    return path.with_name(f"{_LEVEL.sub('', path.stem)}-r{level:02d}.tfrecords")


class RecordFile:
    """Random access to the records of one TFRecord file; thread safe.

    Args:
        path: the file, not compressed.
        most: reads the frames of at most this number of records; None reads all.

    Raises:
        InputError: if it cannot be read, or its frames do not fill it exactly.
    """

    def __init__(self, path: str, most: int | None = None):
        self.path = path
        self._starts: list[int] = []
        self._lengths: list[int] = []
        self.checksums: list[int] = []
        try:
            self._file = open_regular(path)  # Closed with this object.
            self._index(os.fstat(self._file.fileno()).st_size, most)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); restore it") from error

    def __len__(self) -> int:
        return len(self._starts)

    def split_keys(self) -> list[bytes]:
        """Returns the length and the checksum of each record's data, as bytes."""
        frames = zip(self._lengths, self.checksums, strict=True)
        return [_LENGTH.pack(length, checksum) for length, checksum in frames]

    def where(self, index: int) -> str:
        """Returns the name of record `index` for messages."""
        return f"record {index} of {self.path}"

    def read(self, index: int) -> bytes:
        """Returns the data of record `index`."""
        try:
            data = os.pread(self._file.fileno(), self._lengths[index], self._starts[index])
        except OSError as error:
            raise InputError(
                f"{self.where(index)} cannot be read ({error.strerror}); restore the file"
            ) from error
        if len(data) != self._lengths[index]:
            raise InputError(
                f"{self.where(index)} is gone; restore the file, and leave it unchanged while it "
                "is in use"
            )
        return data

    def _index(self, size: int, most: int | None) -> None:
        descriptor = self._file.fileno()
        frame = os.pread(descriptor, _LENGTH.size, 0)
        position = 0
        while position < size and len(self) != most:
            length = _LENGTH.unpack(frame)[0] if len(frame) == _LENGTH.size else size
            start = position + _LENGTH.size
            position = start + length + _CHECKSUM.size
            if position > size:
                raise InputError(
                    f"{self.path} is truncated or not a plain TFRecord file: its record "
                    f"{len(self)} does not fit into it; restore it, or decompress it if it is gzip"
                )
            # The checksum at the end of this record, and the frame of the next one.
            tail = os.pread(descriptor, _CHECKSUM.size + _LENGTH.size, position - _CHECKSUM.size)
            frame = tail[_CHECKSUM.size :]
            self._starts.append(start)
            self._lengths.append(length)
            self.checksums.append(_CHECKSUM.unpack_from(tail)[0])


class TFRecordSource:
    """An `ImageSource` over TFRecords.

    Args:
        path: one .tfrecords file or several (see `record_paths`). The files of one resolution are
            used, in the order of their names.
        image_size: resolution to use, (height, width). The highest one is used if it is None or no
            file has it.

    Raises:
        InputError: if a file cannot be read, there are no images, or the labels do not fit.
    """

    def __init__(self, path: str, image_size: tuple[int, int] | None = None):
        self.name = path
        paths = record_paths(Path(path))
        if not paths:
            raise InputError(
                f"{path} holds only {_VALIDATION}*.tfrecords, which are not a training set; "
                "give one of these files, or another path"
            )
        shapes = {}
        for file in (RecordFile(str(path), most=1) for path in paths):
            if len(file):
                shapes[file.path] = parse_example(file.read(0), file.where(0)).shape
        if not shapes:
            raise InputError(f"{path} holds no records; give another path")
        wanted = [shape for shape in shapes.values() if shape[:2] == image_size]
        best = max(wanted or shapes.values(), key=lambda shape: shape[0] * shape[1])
        self._files = [RecordFile(path) for path, shape in shapes.items() if shape == best]
        self.image_size = best[:2]
        self.image_channels = best[2]
        self._ends = np.cumsum([len(file) for file in self._files]).tolist()
        self.labels = self._read_labels()
        self.label_dim = self.labels.dim

    def __len__(self) -> int:
        return self._ends[-1]

    def image(self, index: int) -> np.ndarray:
        """Returns image `index`, uint8 [H, W, C]."""
        file, record = self._locate(index)
        pixels = parse_example(file.read(record), file.where(record))
        if pixels.shape != (*self.image_size, self.image_channels):
            raise InputError(
                f"{file.where(record)} has shape {pixels.shape} (height, width, channels), not "
                f"{(*self.image_size, self.image_channels)}; {CONVERT_FIRST}"
            )
        return pixels

    def where(self, index: int) -> str:
        """Returns the name of image `index` for messages."""
        file, record = self._locate(index)
        return file.where(record)

    def label(self, index: int) -> np.ndarray:
        """Returns the label of image `index`, float32 [label_dim]."""
        return self.labels.row(index)

    def fingerprint(self) -> str:
        """Returns a digest of the records' checksums and of the labels."""
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(np.asarray(file.checksums, "<u4").tobytes())
        digest.update(self.labels.content())
        return digest.hexdigest()

    def split_keys(self, group: str) -> list[bytes]:
        """Returns the key of each image for a split: the length and the checksum of its record.

        Records have no names. Their index would change when records are added before them.

        Raises:
            InputError: if a group is named, because records have none.
        """
        if group:
            raise InputError(
                f"{self.name} is TFRecords, which have no groups; divide the images before they "
                "are converted, or leave the group out"
            )
        return [key for file in self._files for key in file.split_keys()]

    def verify(self) -> None:
        """Verifies the checksum of every record with TensorFlow's reader; reads all data.

        Raises:
            InputError: names the first damaged record.
        """
        import tensorflow as tf

        for file in self._files:
            count = 0
            try:
                for _ in tf.data.TFRecordDataset(os.fsencode(file.path)):
                    count += 1
            except tf.errors.OpError:
                raise InputError(
                    f"{file.where(count)} is damaged (wrong checksum); restore the file"
                ) from None

    def _locate(self, index: int) -> tuple[RecordFile, int]:
        which = bisect.bisect_right(self._ends, index)
        return self._files[which], index - (self._ends[which - 1] if which else 0)

    def _read_labels(self) -> Labels:
        found = Path(self.name)
        paths = [labels_path(found)]
        if found.is_dir():
            paths = sorted(
                path
                for path in found.glob("*.labels")
                if not path.name.startswith((".", _VALIDATION))
            )
        if not paths or not os.path.lexists(paths[0]):
            return Labels()
        if len(paths) > 1:
            raise InputError(f"{self.name} has several .labels files; keep one")
        try:
            with open_regular(paths[0]):  # np.load would wait for a pipe.
                vectors = np.load(paths[0], mmap_mode="r", allow_pickle=False)
            if not isinstance(vectors, np.ndarray):
                raise ValueError("it is an archive of arrays")
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{paths[0]} is not a .npy array ({error}); restore it") from error
        if vectors.ndim != 2 or len(vectors) != len(self) or vectors.dtype.kind not in "fiub":
            raise InputError(
                f"{paths[0]} holds {vectors.dtype} of shape {vectors.shape}; "
                f"it must hold one row of numbers for each of the {len(self)} images; restore it"
            )
        return Labels.of_vectors(vectors, str(paths[0]))


def parse_example(record: bytes, where: str) -> np.ndarray:
    """Returns the image of an official record, uint8 [H, W, C].

    Args:
        record: the record's data.
        where: name of the record in messages.

    Raises:
        InputError: names the record, if it holds no image.
    """
    import tensorflow as tf

    try:
        features = tf.train.Example.FromString(record).features.feature
        channels, height, width = features["shape"].int64_list.value
        (data,) = features["data"].bytes_list.value
    except Exception:  # protobuf's DecodeError, or a missing feature.
        raise InputError(
            f"{where} is not an official StyleGAN2 record (features shape [3] and data); "
            "give another file"
        ) from None
    size = (channels, height, width)
    if channels not in (1, 3, 4) or min(size) < 1 or len(data) != channels * height * width:
        raise InputError(
            f"{where} has {len(data)} bytes of data for the shape {size} (C, H, W); "
            "restore the file"
        )
    return np.frombuffer(data, np.uint8).reshape(size).transpose(1, 2, 0)


def labels_path(path: Path) -> Path:
    """Returns the path of the labels of the TFRecord file `path`: `NAME-rxx.labels` beside it."""
    return path.with_name(_LEVEL.sub("", path.stem) + "-rxx.labels")


def write_levels(paths: Sequence[str], images: Iterable[np.ndarray]) -> None:
    """Writes images (uint8 [H, W, C]) as official records into `paths[0]`.

    Each further path gets images of half the height and width: means over 2x2 pixels of the level
    before it. Means are computed from unrounded values. Only written pixels are rounded, half to
    even.

    Raises:
        InputError: if a file cannot be written.
    """
    import tensorflow as tf

    try:
        with contextlib.ExitStack() as stack:
            # TensorFlow takes a path that is not UTF-8 only as bytes.
            writers = [
                stack.enter_context(tf.io.TFRecordWriter(os.fsencode(path))) for path in paths
            ]
            for image in images:
                level = image.astype(np.float32)
                for depth, writer in enumerate(writers):
                    if depth:
                        height, width, channels = level.shape
                        blocks = level.reshape(height // 2, 2, width // 2, 2, channels)
                        level = blocks.mean(axis=(1, 3))
                    writer.write(_record(np.rint(level).clip(0, 255).astype(np.uint8)))
    except tf.errors.OpError as error:
        raise InputError(
            f"{paths[0]} cannot be written ({first_line(error)}); choose another path"
        ) from error


def write_records(path: str, images: Iterable[np.ndarray]) -> None:
    """Writes images (uint8 [H, W, C]) as official records into the file `path`, one level only."""
    write_levels([path], images)


def _record(image: np.ndarray) -> bytes:
    import tensorflow as tf

    planes = np.ascontiguousarray(image.transpose(2, 0, 1))
    shape = tf.train.Int64List(value=planes.shape)
    data = tf.train.BytesList(value=[planes.tobytes()])
    feature = {
        "shape": tf.train.Feature(int64_list=shape),
        "data": tf.train.Feature(bytes_list=data),
    }
    return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()


def write_labels(path: str, labels: Labels) -> None:
    """Writes labels as the .npy file `path` (float32 [N, label_dim]), row by row."""
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (len(labels), labels.dim)}
        np.lib.format.write_array_header_1_0(file, header)
        for index in range(len(labels)):
            file.write(np.asarray(labels.row(index), "<f4").tobytes())

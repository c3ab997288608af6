"""TFRecords in the official StyleGAN2 layout, read by index, and written.

A data set is a folder of `NAME-rNN.tfrecords`, one file a level of detail (NN is the log2 of
the resolution), of which the highest resolution is used, and `NAME-rxx.labels`, a .npy array of
label vectors. A record is a `tf.train.Example` with the features `shape` (int64 [3]: C, H, W)
and `data` (the uint8 pixels in that order).

TFRecord files have no index, so opening walks over the records' frames (length, checksum of the
length, data, checksum of the data; 16 bytes are read a record), after which any record is one
positional read. The frames must tile the file exactly; the data's CRC-32C is not recomputed at
each read, but becomes part of the fingerprint, and `TFRecordSource.verify` passes everything
through TensorFlow's own reader, which checks all of them: `tf-sg2 dataset` does so first.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import re
import struct
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from tf_sg2.data.labels import Labels
from tf_sg2.errors import InputError

SUFFIXES = (".tfrecord", ".tfrecords")
_LENGTH, _CHECKSUM = struct.Struct("<QI"), struct.Struct("<I")
_LEVEL = re.compile(r"-r\d\d$")


class RecordFile:
    """Random access to the records of one TFRecord file; thread safe.

    Args:
        path: the file, not compressed.

    Raises:
        InputError: if it cannot be read or its frames do not fit together.
    """

    def __init__(self, path: str):
        self.path = path
        self._starts: list[int] = []
        self._lengths: list[int] = []
        self.checksums: list[int] = []
        try:
            self._file: IO[bytes] = open(path, "rb", buffering=0)  # closed with this object
            self._index(os.fstat(self._file.fileno()).st_size)
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); restore it") from error

    def __len__(self) -> int:
        return len(self._starts)

    def where(self, index: int) -> str:
        """What messages call record `index`."""
        return f"record {index} of {self.path}"

    def read(self, index: int) -> bytes:
        """The payload of record `index`."""
        try:
            data = os.pread(self._file.fileno(), self._lengths[index], self._starts[index])
        except OSError as error:
            raise InputError(f"{self.where(index)} cannot be read ({error.strerror})") from error
        if len(data) != self._lengths[index]:
            raise InputError(
                f"{self.where(index)} is gone; the file must stay as it is while it is in use"
            )
        return data

    def _index(self, size: int) -> None:
        descriptor = self._file.fileno()
        frame = os.pread(descriptor, _LENGTH.size, 0)
        position = 0
        while position < size:
            length = _LENGTH.unpack(frame)[0] if len(frame) == _LENGTH.size else size
            start = position + _LENGTH.size
            position = start + length + _CHECKSUM.size
            if position > size:
                raise InputError(
                    f"{self.path} is truncated or not a plain TFRecord file: its record "
                    f"{len(self)} does not fit into it; restore it, decompress it if it is gzip"
                )
            # The checksum that ends this record, and the frame that begins the next.
            tail = os.pread(descriptor, _CHECKSUM.size + _LENGTH.size, position - _CHECKSUM.size)
            frame = tail[_CHECKSUM.size :]
            self._starts.append(start)
            self._lengths.append(length)
            self.checksums.append(_CHECKSUM.unpack_from(tail)[0])


class TFRecordSource:
    """An `ImageSource` over TFRecords.

    Args:
        path: a .tfrecords file, or a folder of them: the files of the highest resolution
            are used, one after the other in the order of their names if there are several.

    Raises:
        InputError: if the files cannot be read, hold no images, or the labels do not fit.
    """

    def __init__(self, path: str):
        self.name = path
        found = Path(path)
        paths = (
            sorted(c for c in found.iterdir() if c.suffix in SUFFIXES)
            if found.is_dir()
            else [found]
        )
        files = [file for file in (RecordFile(str(path)) for path in paths) if len(file)]
        if not files:
            raise InputError(f"{path} holds no records; give another path")
        shapes = [parse_example(file.read(0), file.where(0)).shape for file in files]
        best = max(shapes, key=lambda shape: shape[0] * shape[1])
        self._files = [file for file, shape in zip(files, shapes, strict=True) if shape == best]
        self.image_size = best[:2]
        self.image_channels = best[2]
        self._ends = np.cumsum([len(file) for file in self._files]).tolist()
        self._labels = self._read_labels()
        self.label_dim = self._labels.dim

    def __len__(self) -> int:
        return self._ends[-1]

    def image(self, index: int) -> np.ndarray:
        """Image `index`, uint8 [H, W, C]."""
        file, record = self._locate(index)
        pixels = parse_example(file.read(record), file.where(record))
        if pixels.shape != (*self.image_size, self.image_channels):
            raise InputError(
                f"{file.where(record)} has shape {pixels.shape} (height, width, channels), not "
                f"{(*self.image_size, self.image_channels)}; convert the data set with tf-sg2 "
                "dataset first"
            )
        return pixels

    def where(self, index: int) -> str:
        """What messages call image `index`."""
        file, record = self._locate(index)
        return file.where(record)

    def label(self, index: int) -> np.ndarray:
        """Label of image `index`, float32 [label_dim]."""
        return self._labels.row(index)

    def fingerprint(self) -> str:
        """Digest of the records' checksums and of the labels."""
        digest = hashlib.sha256()
        for file in self._files:
            digest.update(np.asarray(file.checksums, "<u4").tobytes())
        digest.update(self._labels.content())
        return digest.hexdigest()

    def verify(self) -> None:
        """Checks every record's checksum with TensorFlow's reader; reads all the data.

        Raises:
            InputError: names the first record that is damaged.
        """
        import tensorflow as tf

        for file in self._files:
            count = 0
            try:
                for _ in tf.data.TFRecordDataset(file.path):
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
        paths = sorted(found.glob("*.labels")) if found.is_dir() else [labels_path(found)]
        if not paths or not paths[0].exists():
            return Labels()
        if len(paths) > 1:
            raise InputError(f"{self.name} has several .labels files; leave one")
        try:
            vectors = np.load(paths[0], allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"{paths[0]} is not a .npy array ({error}); restore it") from error
        if vectors.ndim != 2 or len(vectors) != len(self) or vectors.dtype.kind not in "fiub":
            raise InputError(
                f"{paths[0]} holds {vectors.dtype} of shape {vectors.shape}; "
                f"there must be one row of numbers for each of the {len(self)} images"
            )
        return Labels(vectors=vectors.astype(np.float32))


def parse_example(record: bytes, where: str) -> np.ndarray:
    """The image in an official record, uint8 [H, W, C]; InputError names `where` if it has none."""
    import tensorflow as tf

    try:
        features = tf.train.Example.FromString(record).features.feature
        channels, height, width = features["shape"].int64_list.value
        (data,) = features["data"].bytes_list.value
    except Exception:  # protobuf's DecodeError, or features that are missing
        raise InputError(
            f"{where} is not an official StyleGAN2 record (features shape [3] and data)"
        ) from None
    size = (channels, height, width)
    if channels not in (1, 3, 4) or min(size) < 1 or len(data) != channels * height * width:
        raise InputError(f"{where} has {len(data)} bytes of data for the shape {size} (C, H, W)")
    return np.frombuffer(data, np.uint8).reshape(size).transpose(1, 2, 0)


def labels_path(path: Path) -> Path:
    """Where the labels of the TFRecord file `path` are: `NAME-rxx.labels` beside it."""
    return path.with_name(_LEVEL.sub("", path.stem) + "-rxx.labels")


def write_records(path: str, images: Iterable[np.ndarray]) -> None:
    """Writes images (uint8 [H, W, C]) as official records into the file `path`.

    It has one level of detail, the highest, which is the one that StyleGAN2 trains on.
    """
    import tensorflow as tf

    with tf.io.TFRecordWriter(path) as writer:
        for image in images:
            planes = np.ascontiguousarray(image.transpose(2, 0, 1))
            shape = tf.train.Int64List(value=planes.shape)
            data = tf.train.BytesList(value=[planes.tobytes()])
            feature = {
                "shape": tf.train.Feature(int64_list=shape),
                "data": tf.train.Feature(bytes_list=data),
            }
            example = tf.train.Example(features=tf.train.Features(feature=feature))
            writer.write(example.SerializeToString())


def write_labels(path: str, vectors: Sequence[np.ndarray]) -> None:
    """Writes label vectors (float32 [label_dim] each) as the .npy file `path`."""
    with open(path, "wb") as file:  # np.save would add .npy to a path
        np.save(file, np.asarray(vectors, np.float32))

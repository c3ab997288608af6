"""A data set of encoded image files of one size, in a folder or a zip.

The container (`FolderFiles` or `ArchiveFiles`) holds names, bytes and labels; `EncodedSource`
decodes them. It refuses an image whose pixel values would change (`tf_sg2.data.decode.LOSSY`).
`tf-sg2 dataset` converts such images and counts them in its report.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np

from tf_sg2.data import decode
from tf_sg2.data.labels import Labels
from tf_sg2.data.source import CONVERT_FIRST
from tf_sg2.data.split.groups import Groups, file_keys
from tf_sg2.errors import InputError

HEADERS_CHECKED = 256


class EncodedFiles(Protocol):
    """Encoded images by index.

    Attributes:
        name: path of the container.
        names: sorted paths of the images inside it, with "/".
        ignored: paths of the files whose suffix is not an image's.
    """

    name: str
    names: list[str]
    ignored: list[str]

    def read(self, index: int) -> bytes:
        """Returns the bytes of file `index`; thread safe.

        Raises:
            InputError: if they cannot be read.
        """
        ...

    def where(self, index: int) -> str:
        """Returns the name of file `index` for messages."""
        ...

    def labels(self) -> Labels:
        """Returns the labels of all files.

        Raises:
            InputError: if they are malformed.
        """
        ...

    def groups(self) -> Groups | None:
        """Returns the groups of the files, if there are any.

        Raises:
            InputError: if they are malformed.
        """
        ...

    def content(self) -> list[str]:
        """Returns one line per file that changes when the file's content changes."""
        ...


class EncodedSource:
    """An `ImageSource` over encoded files.

    Opening reads the headers of at most 256 images, evenly spread, so a mixed folder is usually
    refused at once. Every image is checked again when it is read.

    Args:
        files: the container of the images.
        image_size: (height, width) that the images must have; None takes the first image's.
        image_channels: number of channels to read: 1, 3 or 4. None takes 1 if all checked images
            are gray; 4 if all have an alpha channel and at least one uses it; else 3.

    Raises:
        InputError: names the first image that does not fit.
    """

    def __init__(
        self,
        files: EncodedFiles,
        image_size: tuple[int, int] | None = None,
        image_channels: int | None = None,
    ):
        if not files.names:
            raise no_images(files.name)
        self._files = files
        self._labels = files.labels()
        self.name = files.name
        self.label_dim = self._labels.dim
        headers = read_headers(files)
        if image_channels is None:
            image_channels = channels_of(files, headers)
        if image_channels not in decode.CHANNEL_COUNTS:
            raise decode.bad_channels(image_channels)
        self.image_channels = image_channels
        self.image_size: tuple[int, int] = image_size or headers[0].size
        for index, header in headers.items():
            if header.size != self.image_size:
                self.image(index)  # The header may lack EXIF data at the file's end: decode it.

    def __len__(self) -> int:
        return len(self._files.names)

    def image(self, index: int) -> np.ndarray:
        """Returns image `index`, uint8 [H, W, C].

        Raises:
            InputError: names the image, if it cannot be read or does not fit.
        """
        where = self._files.where(index)
        decoded = decode.decode(self._files.read(index), where, self.image_channels)
        if (decoded.image.height, decoded.image.width) != self.image_size:
            height, width = self.image_size
            raise InputError(
                f"{where} is {decoded.image.height}x{decoded.image.width} pixels (height x "
                f"width), not {height}x{width}; {CONVERT_FIRST} (--size {height}x{width})"
            )
        for treatment in decoded.treatments:
            if treatment in decode.LOSSY:
                raise InputError(
                    f"{where} cannot be used as it is ({treatment} would be needed); "
                    f"{CONVERT_FIRST}"
                )
        return decoded.array()

    def label(self, index: int) -> np.ndarray:
        """Returns the label of image `index`, float32 [label_dim]."""
        return self._labels.row(index)

    def split_keys(self, group: str) -> list[bytes]:
        """Returns the key of each image for a split: the path of its file, or its group."""
        groups = self._files.groups() if group else None
        return file_keys(self.name, self._files.names, groups, group)

    def fingerprint(self) -> str:
        """Returns a digest of the files' names and contents and of the labels."""
        digest = hashlib.sha256()
        for line in self._files.content():
            digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
        digest.update(self._labels.content())
        return digest.hexdigest()


def no_images(name: str) -> InputError:
    """Returns the error for a container without images."""
    return InputError(f"{name} holds no images ({', '.join(decode.SUFFIXES)}); give another path")


def read_headers(files: EncodedFiles, skip_bad: bool = False) -> dict[int, decode.Header]:
    """Returns the headers of at most `HEADERS_CHECKED` images, evenly spread, by index.

    Args:
        files: the container of the images.
        skip_bad: whether images without a readable header are skipped.

    Raises:
        InputError: names the first image without a readable header, unless they are skipped.
    """
    count = len(files.names)
    headers = {}
    # The first and the last image are always among them.
    for index in np.unique(np.linspace(0, count - 1, min(count, HEADERS_CHECKED)).astype(int)):
        try:
            headers[int(index)] = decode.read_header(files.read(index), files.where(index))
        except InputError:
            if not skip_bad:
                raise
    return headers


def channels_of(files: EncodedFiles, headers: dict[int, decode.Header]) -> int:
    """Returns the number of channels to read, from the images whose headers are given."""
    if all(header.is_gray and not header.has_alpha for header in headers.values()):
        return 1
    if all(header.has_alpha for header in headers.values()):
        for index in headers:
            try:
                pixels = decode.decode(files.read(index), files.where(index)).array()
            except InputError:  # A later read refuses this image.
                continue
            if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
                return 4
    return 3

"""Training directly on encoded image files, in a folder or a zip: strict, one size, one format.

The files' container (`FolderFiles`, `ArchiveFiles`) offers names, bytes and labels;
`EncodedSource` decodes them. What would change pixel values (`tf_sg2.data.decode.LOSSY`) is
refused here: `tf-sg2 dataset` does it once, and says so in its report.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np

from tf_sg2.data import decode
from tf_sg2.data.labels import Labels
from tf_sg2.errors import InputError

HEADERS_CHECKED = 256
CONVERT_FIRST = "convert the data set with tf-sg2 dataset first"


class EncodedFiles(Protocol):
    """Encoded images by index.

    Attributes:
        name: path of the container.
        names: paths of the images inside it, sorted, with "/".
        ignored: paths of files that are not taken for images (by their suffix).
    """

    name: str
    names: list[str]
    ignored: list[str]

    def read(self, index: int) -> bytes:
        """The bytes of file `index`; thread safe; raises InputError if they cannot be read."""
        ...

    def where(self, index: int) -> str:
        """What messages call file `index`."""
        ...

    def labels(self) -> Labels:
        """The labels of all files; raises InputError if they are malformed."""
        ...

    def content(self) -> list[str]:
        """One line a file, which changes when the file's content does."""
        ...


class EncodedSource:
    """An `ImageSource` over encoded files.

    Opening reads the headers of 256 images spread over the set (of all, if there are no more),
    so that a mixed folder is usually refused at once; every image is checked again when read.

    Args:
        files: where the images are.
        image_size: (height, width) that the images must have; None: that of the first image.
        image_channels: 1, 3 or 4 channels to read as; None: 1 if all checked images are gray,
            4 if all have an alpha channel and one of them uses it, otherwise 3.

    Raises:
        InputError: names the first image that is unsuitable.
    """

    def __init__(
        self,
        files: EncodedFiles,
        image_size: tuple[int, int] | None = None,
        image_channels: int | None = None,
    ):
        if not files.names:
            raise InputError(
                f"{files.name} holds no images ({', '.join(decode.SUFFIXES)}); give another path"
            )
        self._files = files
        self._labels = files.labels()
        self.name = files.name
        self.label_dim = self._labels.dim
        headers = read_headers(files)
        if image_channels is None:
            image_channels = channels_of(files, headers)
        if image_channels not in decode.CHANNEL_COUNTS:
            raise InputError(f"images have 1, 3 or 4 channels, not {image_channels}")
        self.image_channels = image_channels
        self.image_size = tuple(image_size or headers[0].size)
        for index, header in headers.items():
            if header.size != self.image_size:
                self.image(index)  # a header can miss a late EXIF block: the decoder decides

    def __len__(self) -> int:
        return len(self._files.names)

    def image(self, index: int) -> np.ndarray:
        """Image `index`, uint8 [H, W, C]; raises InputError as the class says."""
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
        """Label of image `index`, float32 [label_dim]."""
        return self._labels.row(index)

    def fingerprint(self) -> str:
        """Digest of the names and contents of the files, and of the labels."""
        digest = hashlib.sha256()
        for line in self._files.content():
            digest.update(line.encode("utf-8", "surrogateescape") + b"\n")
        digest.update(self._labels.content())
        return digest.hexdigest()


def read_headers(files: EncodedFiles, skip_bad: bool = False) -> dict[int, decode.Header]:
    """Reads the headers of `HEADERS_CHECKED` images, evenly spread, by index.

    Raises:
        InputError: names the first image that has none, unless such images are skipped.
    """
    count = len(files.names)
    headers = {}
    # Always with the first and the last image.
    for index in np.unique(np.linspace(0, count - 1, min(count, HEADERS_CHECKED)).astype(int)):
        try:
            headers[int(index)] = decode.read_header(files.read(index), files.where(index))
        except InputError:
            if not skip_bad:
                raise
    return headers


def channels_of(files: EncodedFiles, headers: dict[int, decode.Header]) -> int:
    """The channels to read as, by the images whose headers were read."""
    if all(header.is_gray and not header.has_alpha for header in headers.values()):
        return 1
    if all(header.has_alpha for header in headers.values()):
        for index in headers:
            try:
                pixels = decode.decode(files.read(index), files.where(index)).array()
            except InputError:  # It is refused when its turn comes.
                continue
            if pixels.shape[2] == 4 and pixels[..., 3].min() < 255:
                return 4
    return 3

"""Checks every image of a data set and writes the usable ones in one size and one format.

`tf_sg2.data.decode` holds the rules for unusual images. `tf_sg2.data.resize` crops and resizes
them, and `tf_sg2.data.output` writes the result. A `Report` says what was done and left out.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
from collections import Counter, deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial

import numpy as np
from PIL import Image
from tqdm import tqdm

from tf_sg2.config.image_size import base_size
from tf_sg2.data import decode, kind_of, output, resize
from tf_sg2.data.labels import Labels
from tf_sg2.data.output import Sample
from tf_sg2.data.source import ImageSource
from tf_sg2.data.split.groups import Groups, file_keys
from tf_sg2.data.tfrecord import official_levels
from tf_sg2.errors import InputError, printable

_THREADS = 2
_SHOWN = 20  # Left-out images that a printed report of a conversion lists.


@dataclasses.dataclass
class Report:
    """The result of a check or a conversion.

    Attributes:
        source: the specification of the source.
        dest: the path that was written; None for a check.
        image_size: (height, width) of the images.
        image_channels: 1, 3 or 4.
        label_dim: length of a label; 0 without labels.
        encoded: whether the source holds image files. TFRecords and cards hold pixels.
        images_found: number of images checked.
        images_usable: number of images written, or usable in a check.
        treatments: number of images per treatment.
        left_out: (name, reason) of every image that was left out.
        ignored: files whose suffix is not an image's.
        origins: name in the source of each image written, in the order of writing.
        files: names of the TFRecord files written, highest resolution first.
    """

    source: str
    dest: str | None
    image_size: tuple[int, int]
    image_channels: int
    label_dim: int = 0
    encoded: bool = True
    images_found: int = 0
    images_usable: int = 0
    treatments: Counter[str] = dataclasses.field(default_factory=Counter)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    ignored: list[str] = dataclasses.field(default_factory=list)
    origins: list[str] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)

    @property
    def usable_as_is(self) -> bool:
        """Whether the source can be trained on without a conversion."""
        return not self.obstacles()

    def obstacles(self) -> list[str]:
        """Returns the reasons why the source must be converted before training; [] if none."""
        found = [str(error) for error in [self._size_error()] if error]
        # Training on image files applies treatments that keep pixel values; on pixels it has none.
        changing = decode.LOSSY | resize.TREATMENTS if self.encoded else set(self.treatments)
        found += [treatment for treatment in self.treatments if treatment in changing]
        if self.left_out:
            found.append(f"{len(self.left_out)} images cannot be used")
        return found

    def to_json(self) -> bytes:
        """Returns the report as JSON in UTF-8; other bytes of a file name are escaped."""
        text = json.dumps(vars(self), indent=1, ensure_ascii=False) + "\n"
        return text.encode("utf-8", "backslashreplace")

    def __str__(self) -> str:
        height, width = self.image_size
        verb = "usable" if self.dest is None else f"written to {self.dest}"
        lines = [
            f"{self.source}: {self.images_usable} of {self.images_found} images {verb}, "
            f"{height}x{width} (height x width), {self.image_channels} channels, "
            + (f"labels of length {self.label_dim}" if self.label_dim else "no labels")
        ]
        lines += [f"  {count} {treatment}" for treatment, count in self.treatments.most_common()]
        if self.ignored:
            kinds = Counter(os.path.splitext(name)[1] or "no suffix" for name in self.ignored)
            counts = ", ".join(f"{count} {suffix}" for suffix, count in kinds.most_common())
            lines.append(f"  {len(self.ignored)} files skipped because of their suffix: {counts}")
        if self.left_out:
            lines.append(f"  {len(self.left_out)} images left out:")
            shown = self.left_out if self.dest is None else self.left_out[:_SHOWN]
            lines += [f"    {reason}" for _, reason in shown]
            if self.dest is not None and len(shown) < len(self.left_out):
                rest = len(self.left_out) - len(shown)
                path = output.report_path(self.dest)
                lines.append(f"    ... and {rest} more, listed in {path}")
        if self.dest is None:
            reasons = "; ".join(self.obstacles())
            can = f"must be converted first: {reasons}" if reasons else "can be trained on as it is"
            lines.append(f"  The data set {can}.")
        elif output.is_records(self.dest):
            lines.append(f"  {self._who_reads_the_records()}")
        if self.dest is not None and self._size_error():
            lines.append(f"  No network has this size: {self._size_error()}.")
        return "\n".join(lines)

    def _size_error(self) -> InputError | None:
        try:
            base_size(self.image_size)
        except InputError as error:
            return error
        return None

    def _who_reads_the_records(self) -> str:
        height, width = self.image_size
        if official_levels(self.image_size):
            return (
                f"The levels are {', '.join(self.files)}. If they are the only files of a folder, "
                "the official StyleGAN2 loaders read them too."
            )
        return (
            f"{height}x{width} is not a square power of two: only tf-sg2 reads them, the official "
            "StyleGAN2 loaders do not."
        )


@dataclasses.dataclass(frozen=True)
class Candidates:
    """The images of any source, not yet checked.

    Attributes:
        names: name of each image.
        where: returns the name of image `index` for messages.
        load: decodes image `index`.
        labels: labels of all images.
        keys: returns the key of each image by the name of a group; "" for no group.
        groups: the groups of a folder or a zip; None without.
        ignored: files whose suffix is not an image's.
        channels: number of channels that `load` gives.
        encoded: whether the source holds image files.
    """

    names: list[str]
    where: Callable[[int], str]
    load: Callable[[int], decode.Decoded]
    labels: Labels
    keys: Callable[[str], list[bytes]]
    groups: Groups | None
    ignored: list[str]
    channels: int
    encoded: bool

    def group_text(self, names: list[str], indices: list[int]) -> str:
        """Returns the text of `groups.csv` for the images `indices` under new names."""
        assert self.groups is not None
        return self.groups.renamed(names, [self.names[index] for index in indices])


def convert(
    source: str,
    dest: str | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    crop: str = "center",
    image_channels: int | None = None,
    max_images: int | None = None,
) -> Report:
    """Checks every image of a data set and, when `dest` is given, writes the usable ones.

    Args:
        source: a specification for `tf_sg2.data.open_source`. If it has TFRecords of several
            levels, the level of `image_size` is read, else the highest one.
        dest: a folder, `NAME.zip` or `NAME.tfrecords`. It must not exist, and it appears when it
            is complete. None only checks. Images of a square power of two become the official
            levels `NAME-rNN.tfrecords`; `dest` may be the name of the highest one.
        image_size: (height, width) of the result. None takes the size of the first usable image
            and leaves out images of other sizes.
        crop: "center", "stretch" or "none"; see `tf_sg2.data.resize.fit`.
        image_channels: 1, 3 or 4. None checks the number that training would read, and writes 3.
        max_images: stops after this number of usable images.

    Returns:
        The report. It is also written as JSON: `report.json` in a folder, or `NAME.report.json`
        beside a zip or TFRecords.

    Raises:
        InputError: if the source cannot be opened, has damaged TFRecords or no usable image; or
            if `dest` exists or cannot be written.
    """
    image_channels = check_options(source, dest, image_size, crop, image_channels, max_images)
    candidates = open_candidates(source, image_channels, image_size)
    size = image_size or first_size(source, candidates)
    if dest is not None:
        output.check_free(source, dest, size)
    report = Report(source, dest, size, candidates.channels, candidates.labels.dim)
    indices = range(len(candidates.names))
    run(candidates, report, dest, indices, crop, bool(image_size), max_images)
    return report


def check_options(
    source: str,
    dest: str | None,
    image_size: tuple[int, int] | None,
    crop: str,
    image_channels: int | None,
    max_images: int | None,
) -> int | None:
    """Refuses unusable options of `convert`; returns the number of channels to read."""
    if crop not in resize.CROPS:
        raise InputError(f"crop must be one of {', '.join(resize.CROPS)}, not {crop!r}")
    if image_channels not in (None, *decode.CHANNEL_COUNTS):
        raise decode.bad_channels(image_channels)
    if max_images is not None and max_images < 1:
        raise InputError(f"max_images is {max_images}; it must be at least 1")
    if image_size is not None and image_size[0] * image_size[1] > decode.MAX_PIXELS:
        raise InputError(
            f"the size {image_size[0]}x{image_size[1]} is more than "
            f"{decode.MAX_PIXELS // 10**6} megapixels; choose a smaller one"
        )
    if dest is None:
        return image_channels
    output.check_free(source, dest, image_size)
    return image_channels or 3


def run(
    candidates: Candidates,
    report: Report,
    dest: str | None,
    indices: Sequence[int],
    crop: str,
    resizes: bool,
    max_images: int | None = None,
) -> None:
    """Checks the images `indices`, writes them to `dest` if it is given, and fills the report."""
    size = report.image_size
    as_png = dest is not None and not output.is_records(dest)

    def prepare(index: int) -> tuple[Sample, list[str]]:
        decoded = candidates.load(index)
        if not resizes and (decoded.image.height, decoded.image.width) != size:
            raise InputError(
                f"{candidates.where(index)} is {decoded.image.height}x{decoded.image.width} "
                f"(height x width), the first image is {size[0]}x{size[1]}; "
                "give a size (--size) to resize all images"
            )
        image, treatments = resize.fit(decoded.image, candidates.where(index), size, crop)
        sample = Sample(index, image, encode_png(image) if as_png else b"")
        return sample, [*decoded.treatments, *treatments]

    report.encoded = candidates.encoded
    report.ignored = candidates.ignored

    def finished(files: list[str]) -> bytes:
        report.files = files
        return report.to_json()

    names = candidates.names
    groups = None if candidates.groups is None else candidates.group_text
    with contextlib.closing(_samples(names, indices, prepare, report, max_images)) as samples:
        if dest is None:
            for _ in samples:
                pass
        else:
            output.write(dest, samples, size, candidates.labels, finished, groups)


def open_candidates(
    spec: str, channels: int | None, image_size: tuple[int, int] | None
) -> Candidates:
    """Opens the images of any source.

    Args:
        spec: a specification for `tf_sg2.data.open_source`.
        channels: 1, 3 or 4; None takes the number that training would read.
        image_size: (height, width) of the level to read; None takes the highest one.

    Raises:
        InputError: if the source cannot be opened, or has damaged TFRecords or no image.
    """
    kind = kind_of(spec)
    if kind == "folder" or kind == "archive":
        from tf_sg2.data.archive import ArchiveFiles
        from tf_sg2.data.encoded import channels_of, no_images, read_headers
        from tf_sg2.data.folder import FolderFiles

        files = FolderFiles(spec) if kind == "folder" else ArchiveFiles(spec)
        if not files.names:
            raise no_images(spec)
        labels, groups = files.labels(), files.groups()
        if channels is None:
            channels = channels_of(files, read_headers(files, skip_bad=True))

        def load(index: int) -> decode.Decoded:
            data, where = files.read(index), files.where(index)
            decode.verify(data, where)
            return decode.decode(data, where, channels)

        by_file = partial(file_keys, spec, files.names, groups)
        return Candidates(
            files.names, files.where, load, labels, by_file, groups, files.ignored, channels, True
        )
    from tf_sg2.cards import CardSource
    from tf_sg2.data.tfrecord import TFRecordSource

    source: TFRecordSource | CardSource
    if kind == "tfrecord":
        records = TFRecordSource(spec, image_size)
        records.verify()
        names, labels = [records.where(index) for index in range(len(records))], records.labels
        source = records
    else:
        source = CardSource.from_spec(spec)
        names, labels = [f"image {index} of {spec}" for index in range(len(source))], Labels()
    channels = channels or source.image_channels
    load_pixels = _loader(source, channels)
    where, keys = names.__getitem__, source.split_keys
    return Candidates(names, where, load_pixels, labels, keys, None, [], channels, False)


def _loader(source: ImageSource, channels: int) -> Callable[[int], decode.Decoded]:
    def load(index: int) -> decode.Decoded:
        pixels = np.ascontiguousarray(source.image(index))
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        return decode.convert_channels(image, channels)

    return load


def first_size(source: str, candidates: Candidates) -> tuple[int, int]:
    """Returns (height, width) of the first usable image.

    Raises:
        InputError: if no image is usable.
    """
    first_error = None
    for index in range(len(candidates.names)):
        try:
            image = candidates.load(index).image
            return image.height, image.width
        except InputError as error:
            first_error = first_error or error
    raise _nothing_usable(source, str(first_error))


def _nothing_usable(source: str, first_reason: str) -> InputError:
    return InputError(f"no image of {source} is usable; the reason for the first: {first_reason}")


def _samples(
    names: list[str],
    indices: Sequence[int],
    prepare: Callable[[int], tuple[Sample, list[str]]],
    report: Report,
    max_images: int | None,
) -> Generator[Sample, None, None]:
    """Yields the usable images in order, and adds every image to the report."""
    progress = tqdm(total=len(indices), desc=printable(report.source), unit="image", disable=None)
    with progress, ThreadPoolExecutor(_THREADS) as pool:
        ahead: deque[Future] = deque()
        submitted = 0
        for index in indices:
            if report.images_usable == max_images:
                break
            while submitted < len(indices) and len(ahead) < 4 * _THREADS:
                ahead.append(pool.submit(prepare, indices[submitted]))
                submitted += 1
            report.images_found += 1
            progress.update()
            try:
                sample, treatments = ahead.popleft().result()
            except InputError as error:
                report.left_out.append((names[index], str(error)))
                continue
            report.images_usable += 1
            report.treatments.update(treatments)
            report.origins.append(names[index])
            yield sample
    if not report.images_usable:
        raise _nothing_usable(report.source, report.left_out[0][1])


def encode_png(image: Image.Image) -> bytes:
    """Returns the bytes of a PNG file of the image."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()

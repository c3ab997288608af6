"""Checks a data set image by image, and writes it anew in one size and one format.

What an unusual image becomes is laid down in `tf_sg2.data.decode`; here come crop and resize
(Lanczos). `tf_sg2.data.output` writes the result, and `tf_sg2.data.report` tells of it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from PIL import Image
from tqdm import tqdm

from tf_sg2.data import decode, kind_of, open_source, output, resize
from tf_sg2.data.labels import Labels
from tf_sg2.data.output import Sample
from tf_sg2.data.report import Report
from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError, printable

_THREADS = 2


@dataclasses.dataclass(frozen=True)
class _Candidates:
    """The images of any source, each of which may turn out to be unusable."""

    names: list[str]
    where: Callable[[int], str]
    load: Callable[[int], decode.Decoded]
    labels: Labels
    ignored: list[str]
    channels: int
    encoded: bool


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
        source: any specification that `tf_sg2.data.open_source` takes; of several levels of
            TFRecords, the one of `image_size` is read if it is there.
        dest: a folder, a file `*.zip`, or `NAME.tfrecords`, which must not exist yet and appears
            when it is complete; None only checks. TFRecords of a square power of two are the
            official levels `NAME-rNN.tfrecords`; `dest` may be the name of the highest one.
        image_size: (height, width) to bring the images to; None keeps the size of the first
            usable image and leaves out all others.
        crop: as in `tf_sg2.data.resize.fit`: "center", "stretch" or "none".
        image_channels: 1, 3 or 4; None checks for as many as training would read, and writes 3.
        max_images: stops after this number of usable images.

    Returns:
        The report, which is also written as JSON: `report.json` in a folder,
        `NAME.report.json` beside a zip or TFRecords.

    Raises:
        InputError: if the source cannot be opened or no image of it is usable, if `dest`
            exists or cannot be written, or if TFRecords are damaged.
    """
    if crop not in resize.CROPS:
        raise InputError(f"crop must be one of {', '.join(resize.CROPS)}, not {crop!r}")
    if image_channels not in (None, *decode.CHANNEL_COUNTS):
        raise InputError(f"images have 1, 3 or 4 channels, not {image_channels}")
    if max_images is not None and max_images < 1:
        raise InputError(f"max_images is {max_images}; take at least one image")
    if image_size is not None and image_size[0] * image_size[1] > decode.MAX_PIXELS:
        raise InputError(
            f"the size {image_size[0]}x{image_size[1]} is more than "
            f"{decode.MAX_PIXELS // 10**6} megapixels; choose a smaller one"
        )
    if dest is not None:
        output.check_free(source, dest, image_size)
        image_channels = image_channels or 3
    candidates = _candidates(source, image_channels, image_size)
    size = image_size or _first_size(source, candidates)
    if dest is not None:
        output.check_free(source, dest, size)
    as_png = dest is not None and not output.is_records(dest)

    def prepare(index: int) -> tuple[Sample, list[str]]:
        decoded = candidates.load(index)
        if image_size is None and (decoded.image.height, decoded.image.width) != size:
            raise InputError(
                f"{candidates.where(index)} is {decoded.image.height}x{decoded.image.width} "
                f"(height x width), unlike the first image; give a size to resize to"
            )
        image, treatments = resize.fit(decoded.image, candidates.where(index), size, crop)
        sample = Sample(index, image, encode_png(image) if as_png else b"")
        return sample, [*decoded.treatments, *treatments]

    report = Report(source, dest, size, candidates.channels, candidates.labels.dim)
    report.encoded = candidates.encoded
    report.ignored = candidates.ignored

    def finished(files: list[str]) -> bytes:
        report.files = files
        return report.to_json()

    with contextlib.closing(_samples(candidates.names, prepare, report, max_images)) as samples:
        if dest is None:
            for _ in samples:
                pass
        else:
            output.write(dest, samples, size, candidates.labels, finished)
    return report


def _candidates(spec: str, channels: int | None, image_size: tuple[int, int] | None) -> _Candidates:
    kind = kind_of(spec)
    if kind == "folder" or kind == "archive":
        from tf_sg2.data.archive import ArchiveFiles
        from tf_sg2.data.encoded import channels_of, read_headers
        from tf_sg2.data.folder import FolderFiles

        files = FolderFiles(spec) if kind == "folder" else ArchiveFiles(spec)
        if not files.names:
            raise InputError(
                f"{spec} holds no images ({', '.join(decode.SUFFIXES)}); give another path"
            )
        labels = files.labels()
        if channels is None:
            channels = channels_of(files, read_headers(files, skip_bad=True))

        def load(index: int) -> decode.Decoded:
            data, where = files.read(index), files.where(index)
            decode.verify(data, where)
            return decode.decode(data, where, channels)

        return _Candidates(files.names, files.where, load, labels, files.ignored, channels, True)
    if kind == "tfrecord":
        from tf_sg2.data.tfrecord import TFRecordSource

        source = TFRecordSource(spec, image_size)
        source.verify()
        names, labels = [source.where(index) for index in range(len(source))], source.labels
    else:
        source = open_source(spec)
        names, labels = [f"image {index} of {spec}" for index in range(len(source))], Labels()
    channels = channels or source.image_channels
    load = _loader(source, channels)
    return _Candidates(names, names.__getitem__, load, labels, [], channels, False)


def _loader(source: ImageSource, channels: int) -> Callable[[int], decode.Decoded]:
    def load(index: int) -> decode.Decoded:
        pixels = np.ascontiguousarray(source.image(index))
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        return decode.convert_channels(image, channels)

    return load


def _first_size(source: str, candidates: _Candidates) -> tuple[int, int]:
    first_error = None
    for index in range(len(candidates.names)):
        try:
            image = candidates.load(index).image
            return image.height, image.width
        except InputError as error:
            first_error = first_error or error
    raise _nothing_usable(source, str(first_error))


def _nothing_usable(source: str, first_reason: str) -> InputError:
    return InputError(f"no image of {source} is usable; the first one: {first_reason}")


def _samples(
    names: list[str],
    prepare: Callable[[int], tuple[Sample, list[str]]],
    report: Report,
    max_images: int | None,
) -> Iterator[Sample]:
    """Yields the usable images in order and fills in the report on the way."""
    progress = tqdm(total=len(names), desc=printable(report.source), unit="image", disable=None)
    with progress, ThreadPoolExecutor(_THREADS) as pool:
        ahead: deque[Future] = deque()
        submitted = 0
        for name in names:
            if report.images_usable == max_images:
                break
            while submitted < len(names) and len(ahead) < 4 * _THREADS:
                ahead.append(pool.submit(prepare, submitted))
                submitted += 1
            report.images_found += 1
            progress.update()
            try:
                sample, treatments = ahead.popleft().result()
            except InputError as error:
                report.left_out.append((name, str(error)))
                continue
            report.images_usable += 1
            report.treatments.update(treatments)
            report.origins.append(name)
            yield sample
    if not report.images_usable:
        raise _nothing_usable(report.source, report.left_out[0][1])


def encode_png(image: Image.Image) -> bytes:
    """The image as the bytes of a PNG file."""
    stream = io.BytesIO()
    image.save(stream, format="PNG")
    return stream.getvalue()

"""Checks a data set image by image, and writes it anew in one size and one format.

What an unusual image becomes is laid down in `tf_sg2.data.decode`; here come crop and resize
(Lanczos), and the three ways of writing: a folder or a zip of PNGs named as the official tool
names them (`00000/img00000000.png`, labels in `dataset.json`), or TFRecords.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from tf_sg2.data import decode, kind_of, open_source, resize
from tf_sg2.data.labels import LABEL_FILE, format_labels
from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError

REPORT_FILE = "report.json"
_THREADS = 2
_SHOWN = 20


@dataclasses.dataclass
class Report:
    """What a check or a conversion found and did.

    Attributes:
        source: the specification that was read.
        dest: what was written; None for a check.
        image_size: (height, width) of the images.
        image_channels: 1, 3 or 4.
        label_dim: length of a label; 0 without labels.
        images_found: images looked at.
        images_usable: images written, or that would have been.
        treatments: how many images were treated in which way.
        left_out: (name, reason) of every image that was not taken.
        ignored: files that are not images by their suffix.
        origins: the source's name of each image written, in their order.
    """

    source: str
    dest: str | None
    image_size: tuple[int, int]
    image_channels: int
    label_dim: int = 0
    images_found: int = 0
    images_usable: int = 0
    treatments: Counter[str] = dataclasses.field(default_factory=Counter)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    ignored: list[str] = dataclasses.field(default_factory=list)
    origins: list[str] = dataclasses.field(default_factory=list)

    @property
    def usable_as_is(self) -> bool:
        """Whether the source can be trained on without a conversion."""
        changing = decode.LOSSY | resize.TREATMENTS
        return not self.left_out and not changing & set(self.treatments)

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(vars(self), indent=1, ensure_ascii=False) + "\n"

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
            lines.append(f"  {len(self.ignored)} files passed over by their suffix: {counts}")
        if self.left_out:
            lines.append(f"  {len(self.left_out)} images left out:")
            shown = self.left_out if self.dest is None else self.left_out[:_SHOWN]
            lines += [f"    {reason}" for _, reason in shown]
            if len(shown) < len(self.left_out):
                rest = len(self.left_out) - len(shown)
                lines.append(f"    ... and {rest} more, listed in {report_path(self.dest)}")
        if self.dest is None:
            can = "can be trained on as it is" if self.usable_as_is else "must be converted first"
            lines.append(f"  The data set {can}.")
        return "\n".join(lines)


@dataclasses.dataclass(frozen=True)
class _Candidates:
    """The images of any source, each of which may turn out to be unusable."""

    names: list[str]
    where: Callable[[int], str]
    load: Callable[[int], decode.Decoded]
    label: Callable[[int], np.ndarray]
    label_dim: int
    ignored: list[str]


@dataclasses.dataclass(frozen=True)
class _Sample:
    image: Image.Image
    png: bytes
    label: np.ndarray


def convert(
    source: str,
    dest: str | None = None,
    *,
    image_size: tuple[int, int] | None = None,
    crop: str = "center",
    image_channels: int = 3,
    max_images: int | None = None,
) -> Report:
    """Checks every image of a data set and, when `dest` is given, writes the usable ones.

    Args:
        source: any specification that `tf_sg2.data.open_source` takes.
        dest: a folder, a file `*.zip`, or a file `*.tfrecords` (official programs expect the
            name `NAME-rNN.tfrecords`, NN being the log2 of the resolution), which must not
            exist yet and appears when it is complete; None only checks.
        image_size: (height, width) to bring the images to; None keeps the size of the first
            usable image and leaves out all others.
        crop: as in `tf_sg2.data.resize.fit`: "center", "stretch" or "none".
        image_channels: 1, 3 or 4.
        max_images: stops after so many usable images.

    Returns:
        The report, which is also written as JSON: `report.json` in a folder,
        `NAME.report.json` beside a zip or TFRecords.

    Raises:
        InputError: if the source cannot be opened or no image of it is usable, if `dest`
            exists or cannot be written, or if TFRecords are damaged.
    """
    if crop not in resize.CROPS:
        raise InputError(f"crop must be one of {', '.join(resize.CROPS)}, not {crop!r}")
    if image_channels not in decode.CHANNEL_COUNTS:
        raise InputError(f"images have 1, 3 or 4 channels, not {image_channels}")
    if max_images is not None and max_images < 1:
        raise InputError(f"max_images is {max_images}; take at least one image")
    if dest is not None:
        _check_free(source, dest)
    candidates = _candidates(source, image_channels)
    size = image_size or _first_size(source, candidates)
    as_png = dest is not None and not _is_records(dest)

    def prepare(index: int) -> tuple[_Sample, list[str]]:
        decoded = candidates.load(index)
        if image_size is None and (decoded.image.height, decoded.image.width) != size:
            raise InputError(
                f"{candidates.where(index)} is {decoded.image.height}x{decoded.image.width} "
                f"(height x width), unlike the first image; give a size to resize to"
            )
        image, treatments = resize.fit(decoded.image, candidates.where(index), size, crop)
        sample = _Sample(image, encode_png(image) if as_png else b"", candidates.label(index))
        return sample, [*decoded.treatments, *treatments]

    report = Report(source, dest, size, image_channels, candidates.label_dim)
    report.ignored = candidates.ignored
    samples = _samples(candidates.names, prepare, report, max_images)
    if dest is None:
        for _ in samples:
            pass
        return report
    parent = Path(dest).absolute().parent
    staging = None
    try:
        parent.mkdir(parents=True, exist_ok=True)
        staging = tempfile.mkdtemp(prefix=f".{Path(dest).name}.", dir=parent)
        _write(Path(dest), Path(staging), samples, report)
    except OSError as error:
        raise InputError(f"{dest} cannot be written ({error}); choose another place") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)
    return report


def report_path(dest: str) -> str:
    """Where the report of a conversion to `dest` is written."""
    path = Path(dest)
    if _is_records(dest) or path.suffix.lower() == ".zip":
        return str(path.with_suffix(".report.json"))
    return str(path / REPORT_FILE)


def _is_records(dest: str) -> bool:
    return Path(dest).suffix in (".tfrecord", ".tfrecords")


def _check_free(source: str, dest: str) -> None:
    """Refuses to overwrite, and to write into the source."""
    from tf_sg2.data.tfrecord import labels_path

    path = Path(dest)
    targets = [path]
    if _is_records(dest):
        targets += [labels_path(path), Path(report_path(dest))]
    elif path.suffix.lower() == ".zip":
        targets.append(Path(report_path(dest)))
    elif path.is_dir() and not any(path.iterdir()):
        return
    for target in targets:
        if target.exists():
            raise InputError(f"{target} exists already; delete it or choose another --dest")
    if os.path.isdir(source) and path.resolve().is_relative_to(Path(source).resolve()):
        raise InputError(f"{dest} lies inside the source {source}; choose a --dest outside it")


def _candidates(spec: str, channels: int) -> _Candidates:
    kind = kind_of(spec)
    if kind == "folder" or kind == "archive":
        from tf_sg2.data.archive import ArchiveFiles
        from tf_sg2.data.folder import FolderFiles

        files = FolderFiles(spec) if kind == "folder" else ArchiveFiles(spec)
        if not files.names:
            raise InputError(
                f"{spec} holds no images ({', '.join(decode.SUFFIXES)}); give another path"
            )
        labels = files.labels()

        def load(index: int) -> decode.Decoded:
            data, where = files.read(index), files.where(index)
            decode.verify(data, where)
            return decode.decode(data, where, channels)

        return _Candidates(files.names, files.where, load, labels.row, labels.dim, files.ignored)
    source = open_source(spec)
    names = [f"image {index} of {spec}" for index in range(len(source))]
    if kind == "tfrecord":
        source.verify()
        names = [source.where(index) for index in range(len(source))]
    load = _loader(source, channels)
    return _Candidates(names, names.__getitem__, load, source.label, source.label_dim, [])


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
    prepare: Callable[[int], tuple[_Sample, list[str]]],
    report: Report,
    max_images: int | None,
) -> Iterator[_Sample]:
    """Yields the usable images in order and fills in the report on the way."""
    progress = tqdm(total=len(names), desc=report.source, unit="image", disable=None)
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


def _write(dest: Path, staging: Path, samples: Iterator[_Sample], report: Report) -> None:
    """Writes everything into `staging`, then moves it into place."""
    staged = staging / dest.name
    labels: list[np.ndarray] = []
    moves = [(staged, dest)]
    if _is_records(str(dest)):
        from tf_sg2.data.tfrecord import labels_path, write_labels, write_records

        def pixels() -> Iterator[np.ndarray]:
            for sample in samples:
                labels.append(sample.label)
                yield decode.Decoded(sample.image, ()).array()

        write_records(str(staged), pixels())
        if report.label_dim:
            write_labels(str(labels_path(staged)), labels)
            moves.insert(0, (labels_path(staged), labels_path(dest)))
    elif dest.suffix.lower() == ".zip":
        with zipfile.ZipFile(staged, "w", zipfile.ZIP_STORED) as archive:
            _write_pngs(samples, report, labels, lambda name, data: _add(archive, name, data))
    else:
        staged.mkdir()
        _write_pngs(samples, report, labels, lambda name, data: _store(staged / name, data))
    if staged.is_dir():
        (staged / REPORT_FILE).write_text(report.to_json(), encoding="utf-8")
    else:
        (staging / REPORT_FILE).write_text(report.to_json(), encoding="utf-8")
        moves.append((staging / REPORT_FILE, Path(report_path(str(dest)))))
    for path, target in moves:
        os.replace(path, target)


def _write_pngs(
    samples: Iterator[_Sample],
    report: Report,
    labels: list[np.ndarray],
    put: Callable[[str, bytes], None],
) -> None:
    names = []
    for index, sample in enumerate(samples):
        names.append(f"{index // 1000:05d}/img{index:08d}.png")
        labels.append(sample.label)
        put(names[-1], sample.png)
    if report.label_dim:
        put(LABEL_FILE, format_labels(names, labels).encode())


def _add(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    # ZipInfo's fixed date (1980) makes equal data sets equal files.
    archive.writestr(zipfile.ZipInfo(name), data)


def _store(path: Path, data: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)

"""Pictures inside the file: sheets of samples over time, tables, and their encoding."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tf_sg2.images import to_pillow
from tf_sg2.report.markup import Markup, tag
from tf_sg2.report.records import Record

# Times that the slider over training and the strip of fixed latents show.
SLIDER_STEPS = 20
STRIP_STEPS = 8
STRIP_LATENTS = 4
# Sizes in pixels: of a whole sheet, and of one image in a table. Larger ones are made smaller.
SHEET_WIDTH = 1280
CELL_SIZE = 192
# Sheets of at most this number of pixels keep every pixel: a lossy file would blur small images.
LOSSLESS_PIXELS = 20_000
QUALITY = 88
# Images up to this width are enlarged without smoothing.
SMALL_WIDTH = 96
LARGEST_PIXELS = 2**28  # A PNG of more is not opened.

_NAME = re.compile(r"(.+)_(\d{6,})(?:_(\d{3}))?\.png")
REALS = "reals"


@dataclass(frozen=True)
class Sheet:
    """One picture file of `samples/`: its family, such as fakes_psi0.7, and its time."""

    family: str
    kimg: float
    path: Path


def sheets(record: Record) -> dict[str, list[Sheet]]:
    """Returns the picture files of a run by family, in the order of time."""
    found: dict[str, list[Sheet]] = {}
    names = record.directory.samples.glob("*.png") if record.directory.samples.is_dir() else ()
    for path in sorted(names):
        if match := _NAME.fullmatch(path.name):
            kimg = int(match[2]) + int(match[3] or 0) / 1000
            found.setdefault(match[1], []).append(Sheet(match[1], kimg, path))
    for family in found.values():
        family.sort(key=lambda sheet: sheet.kimg)
    return found


def thinned(items: Sequence[Any], count: int) -> list[Any]:
    """Returns at most `count` items at even distances, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[i] for i in np.linspace(0, len(items) - 1, count).round().astype(int)]


def read_sheet(path: Path) -> np.ndarray | None:
    """Returns the pixels of a picture file, uint8 [H, W, C]; None if it cannot be read."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > LARGEST_PIXELS:
                return None
            mode = picture.mode if picture.mode in ("L", "RGB", "RGBA") else "RGB"
            pixels = np.asarray(picture.convert(mode))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    return pixels[..., None] if pixels.ndim == 2 else pixels


def cells(sheet: np.ndarray, image_size: tuple[int, int], count: int) -> list[np.ndarray]:
    """Returns the first `count` images of a grid without padding, uint8 [H, W, C] each."""
    height, width = image_size
    rows, columns = sheet.shape[0] // height, sheet.shape[1] // width
    return [
        sheet[y * height : (y + 1) * height, x * width : (x + 1) * width]
        for y, x in (divmod(i, columns) for i in range(min(count, rows * columns)))
    ]


def strip(family: Sequence[Sheet], image_size: tuple[int, int]) -> tuple[list[float], np.ndarray]:
    """Returns the same latents over time: the times, and images [latents, times, H, W, C].

    Sheets that cannot be read, or are of another shape than the last one, are left out.
    """
    times, columns = [], []
    for sheet in thinned(family, STRIP_STEPS):
        pixels = read_sheet(sheet.path)
        if pixels is None:
            continue
        images = cells(pixels, image_size, STRIP_LATENTS)
        if images:
            times.append(sheet.kimg)
            columns.append(np.stack(images))
    if not columns:
        return [], np.zeros((0, 0, *image_size, 3), np.uint8)
    kept = [i for i, column in enumerate(columns) if column.shape == columns[-1].shape]
    return [times[i] for i in kept], np.stack([columns[i] for i in kept], axis=1)


def image_tag(
    pixels: np.ndarray, alt: str, width: int = SHEET_WIDTH, **attributes: object
) -> Markup:
    """Returns an image element that holds its picture.

    Args:
        pixels: uint8 [H, W, C].
        alt: what it shows, for those who do not see it.
        width: largest width in pixels; a wider picture is made smaller.
        attributes: further attributes; `class_` stands for class.
    """
    source, size = _encoded(pixels, width)
    classes = [str(attributes.pop("class_", ""))]
    if size[0] <= SMALL_WIDTH or pixels.shape[1] == size[0] <= SHEET_WIDTH // 2:
        classes.append("pixels")
    entries = {
        "src": source,
        "alt": alt,
        "width": size[0],
        "height": size[1],
        "class": " ".join(filter(None, classes)) or None,
    }
    return tag("img", {**entries, **attributes})


def _encoded(pixels: np.ndarray, width: int) -> tuple[str, tuple[int, int]]:
    """Returns a data address, and (width, height) in pixels."""
    from PIL import Image, features

    picture = to_pillow(pixels)
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    kinds: list[tuple[str, dict[str, object]]]
    if picture.width * picture.height <= LOSSLESS_PIXELS:
        kinds = [("PNG", {"optimize": True})]
        if features.check("webp"):
            kinds.append(("WEBP", {"lossless": True, "quality": 100}))
    elif features.check("webp"):
        kinds = [("WEBP", {"quality": QUALITY, "method": 4})]
    elif picture.mode == "RGBA":
        kinds = [("PNG", {"optimize": True})]
    else:
        kinds = [("JPEG", {"quality": QUALITY, "subsampling": 0})]
    files = []
    for kind, options in kinds:
        stream = io.BytesIO()
        picture.save(stream, format=kind, **options)
        files.append((len(stream.getvalue()), kind, stream.getvalue()))
    _, kind, content = min(files)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content).decode()}", picture.size

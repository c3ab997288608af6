"""The fonts of the cards, and a cache of their glyphs; thread safe.

The fonts come in ordinary wheels. Noto Sans CJK JP (regular, bold) covers Japanese; Lato, Source
Serif Pro and Caladea are Latin. A glyph is rendered at a master size, at which hinting does not
change its shape, and scaled from there. Therefore a card has the same proportions at every image
size. Scaled masks are cached, because cards use the same few thousand again and again.
"""

from __future__ import annotations

import hashlib
import threading
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL
from PIL import Image, ImageDraw, ImageFont, features

from tf_sg2.errors import InputError

# Face: (package, file inside it, name on the package index).
FACES = {
    "noto": ("noto_cjk_sans_jp_regular", "NotoSansCJKjp-Regular.otf", "noto-cjk-sans-jp-regular"),
    "noto-bold": ("noto_cjk_sans_jp_bold", "NotoSansCJKjp-Bold.otf", "noto-cjk-sans-jp-bold"),
    "lato-light": ("font_lato", "files/Lato-Light.ttf", "font-lato"),
    "lato": ("font_lato", "files/Lato-Regular.ttf", "font-lato"),
    "lato-bold": ("font_lato", "files/Lato-Bold.ttf", "font-lato"),
    "lato-black": ("font_lato", "files/Lato-Black.ttf", "font-lato"),
    "serif": (
        "font_source_serif_pro",
        "files/SourceSerifPro-Regular.ttf",
        "font-source-serif-pro",
    ),
    "serif-italic": (
        "font_source_serif_pro",
        "files/SourceSerifPro-It.ttf",
        "font-source-serif-pro",
    ),
    "serif-bold": (
        "font_source_serif_pro",
        "files/SourceSerifPro-Semibold.ttf",
        "font-source-serif-pro",
    ),
    "caladea": ("font_caladea", "files/Caladea-Regular.ttf", "font-caladea"),
    "caladea-bold": ("font_caladea", "files/Caladea-Bold.ttf", "font-caladea"),
}

# A glyph is scaled down from the smallest master that is at least as large.
_MASTER_SIZES = (32, 64, 128, 256, 512)
_MEASURE_SIZE, _INK_SIZE = 512, 128
_PADDING = 4
_CACHE_LIMIT = 40_000

_lock = threading.RLock()
_fonts: dict[tuple[str, int], ImageFont.FreeTypeFont] = {}
_metrics: dict[tuple[str, str], Metrics] = {}
_kerning: dict[tuple[str, str], float] = {}
_masters: dict[tuple[str, str, int, bool], tuple[Image.Image, int, int]] = {}
_glyphs: dict[tuple, tuple[np.ndarray, int, int]] = {}


class Metrics(NamedTuple):
    """Advance and ink bounds of a character in em; y grows downwards from the baseline."""

    advance: float
    left: float
    top: float
    right: float
    bottom: float


@cache
def font_path(face: str) -> str:
    """Returns the path of the font file of `face`.

    Raises:
        InputError: if its wheel is not installed.
    """
    package, file, distribution = FACES[face]
    try:
        path = resources.files(package).joinpath(*file.split("/"))
    except ModuleNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise InputError(
            f"the cards need the font {file.split('/')[-1]}, which is not installed; "
            f"run `pip install {distribution}`"
        )
    return str(path)


@cache
def drawn_with() -> str:
    """Returns the versions of the libraries and fonts that a card's pixels depend on."""
    content = hashlib.sha256()
    for face in FACES:
        content.update(hashlib.sha256(Path(font_path(face)).read_bytes()).digest())
    freetype = features.version("freetype2")
    return f"Pillow {PIL.__version__}, FreeType {freetype}, fonts {content.hexdigest()[:12]}"


def _font(face: str, size: int) -> ImageFont.FreeTypeFont:
    key = (face, size)
    if key not in _fonts:
        # Basic layout gives the same result with and without the optional Raqm library.
        _fonts[key] = ImageFont.truetype(
            font_path(face), size, layout_engine=ImageFont.Layout.BASIC
        )
    return _fonts[key]


def metrics(face: str, char: str) -> Metrics:
    """Returns the advance and the ink bounds of `char` in em."""
    key = (face, char)
    found = _metrics.get(key)
    if found is None:
        with _lock:
            advance = _font(face, _MEASURE_SIZE).getlength(char) / _MEASURE_SIZE
            # Not `getbbox`: it includes the space beside the ink.
            mask, (x, y) = _font(face, _INK_SIZE).getmask2(char, mode="L", anchor="ls")
            left, top, right, bottom = mask.getbbox() or (0, 0, 0, 0)
            ink = (left + x, top + y, right + x, bottom + y)
            found = Metrics(advance, *(v / _INK_SIZE for v in ink))
            _metrics[key] = found
    return found


def kerning(face: str, pair: str) -> float:
    """Returns the kerning of a pair: a correction of the first character's advance, in em."""
    if face.startswith("noto"):
        return 0.0
    key = (face, pair)
    found = _kerning.get(key)
    if found is None:
        with _lock:
            width = _font(face, _MEASURE_SIZE).getlength(pair) / _MEASURE_SIZE
        found = width - metrics(face, pair[0]).advance - metrics(face, pair[1]).advance
        _kerning[key] = found
    return found


def _master(face: str, char: str, size: int, rotated: bool) -> tuple[Image.Image, int, int]:
    """Returns the mask of `char` at a master size, and its corner's offset from the origin."""
    key = (face, char, size, rotated)
    if key not in _masters:
        font = _font(face, size)
        left, top, right, bottom = (int(v) for v in font.getbbox(char, anchor="ls"))
        left, top = left - _PADDING, top - _PADDING
        mask = Image.new("L", (right + _PADDING - left, bottom + _PADDING - top))
        ImageDraw.Draw(mask).text((-left, -top), char, font=font, fill=255, anchor="ls")
        if rotated:
            # A clockwise quarter turn about the origin maps (x, y) to (-y, x).
            left, top = -(top + mask.height), left
            mask = mask.transpose(Image.Transpose.ROTATE_270)
        _masters[key] = (mask, left, top)
    return _masters[key]


def glyph(
    face: str, char: str, size: float, rotated: bool, phase: tuple[float, float]
) -> tuple[np.ndarray, int, int]:
    """Returns the mask of `char` at `size` pixels per em, and its offset from the origin.

    Args:
        face: a key of `FACES`.
        char: one character.
        size: pixels per em.
        rotated: whether it is rotated clockwise by a quarter turn, as Latin in vertical text.
        phase: offset (x, y) of the origin from the pixel grid, each in [0, 1).

    Returns:
        The mask, uint8 [h, w], and x and y, the offset of its corner from the pixel that holds
        the origin.
    """
    key = (face, char, size, rotated, phase)
    found = _glyphs.get(key)
    if found is not None:
        return found
    with _lock:
        master_size = next((m for m in _MASTER_SIZES if m >= size), _MASTER_SIZES[-1])
        mask, left, top = _master(face, char, master_size, rotated)
        scale = size / master_size
        x0 = int(np.floor(left * scale + phase[0]))
        y0 = int(np.floor(top * scale + phase[1]))
        x1 = int(np.ceil((left + mask.width) * scale + phase[0]))
        y1 = int(np.ceil((top + mask.height) * scale + phase[1]))
        # The window of whole pixels in the master's coordinates; padding makes the master hold it.
        margin = int(np.ceil(1 / scale)) + 1
        box = (
            (x0 - phase[0]) / scale - left + margin,
            (y0 - phase[1]) / scale - top + margin,
            (x1 - phase[0]) / scale - left + margin,
            (y1 - phase[1]) / scale - top + margin,
        )
        padded = Image.new("L", (mask.width + 2 * margin, mask.height + 2 * margin))
        padded.paste(mask, (margin, margin))
        scaled = padded.resize((x1 - x0, y1 - y0), Image.Resampling.HAMMING, box=box)
        array = np.asarray(scaled)
        rows, columns = np.flatnonzero(array.any(axis=1)), np.flatnonzero(array.any(axis=0))
        if len(rows):
            array = array[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
            x0, y0 = x0 + int(columns[0]), y0 + int(rows[0])
        found = (np.ascontiguousarray(array), x0, y0)
        if len(_glyphs) >= _CACHE_LIMIT:
            _glyphs.clear()
        _glyphs[key] = found
    return found

"""Company logos: simple geometric marks and monograms, each from a seed.

A mark is a list of shapes in a unit square, painted over each other in three colours. It is drawn
at four times its size and reduced, because Pillow's shapes are not antialiased.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from tf_sg2.cards import fonts
from tf_sg2.cards.typesetting import Colour

_SUPERSAMPLING = 4

# A shape is (kind, numbers, colour); the colours are 0 card, 1 accent, 2 companion.
Shape = tuple[str, tuple[float, ...], int]


def _disc(x: float, y: float, r: float, colour: int) -> Shape:
    return ("ellipse", (x - r, y - r, x + r, y + r), colour)


def _box(left: float, top: float, right: float, bottom: float, colour: int) -> Shape:
    return ("polygon", (left, top, right, top, right, bottom, left, bottom), colour)


def _regular(x: float, y: float, r: float, corners: int, turn: float, colour: int) -> Shape:
    points = []
    for i in range(corners):
        angle = 2 * math.pi * (i / corners + turn) - math.pi / 2
        points += [x + r * math.cos(angle), y + r * math.sin(angle)]
    return ("polygon", tuple(points), colour)


def _rings(rng: random.Random) -> list[Shape]:
    inner = rng.uniform(0.2, 0.36)
    return [_disc(0.5, 0.5, 0.5, 1), _disc(0.5, 0.5, inner, 0), _disc(0.5, 0.5, inner * 0.5, 2)]


def _crescent(rng: random.Random) -> list[Shape]:
    turn = rng.uniform(0, 2 * math.pi)
    x, y = 0.5 + 0.18 * math.cos(turn), 0.5 + 0.18 * math.sin(turn)
    return [_disc(0.5, 0.5, 0.5, 1), _disc(x, y, 0.34, 0), _disc(x, y, 0.17, 2)]


def _pair(rng: random.Random) -> list[Shape]:
    if rng.random() < 0.5:
        return [_disc(0.33, 0.5, 0.33, 2), _disc(0.67, 0.5, 0.33, 1)]
    return [_disc(0.5, 0.3, 0.3, 1), _disc(0.3, 0.68, 0.3, 2), _disc(0.7, 0.68, 0.24, 1)]


def _petals(rng: random.Random) -> list[Shape]:
    count = rng.choice((4, 5, 6, 8))
    radius = 0.36 * math.sin(math.pi / count) + 0.05
    shapes = []
    for i in range(count):
        angle = 2 * math.pi * i / count - math.pi / 2
        x, y = 0.5 + 0.31 * math.cos(angle), 0.5 + 0.31 * math.sin(angle)
        shapes.append(_disc(x, y, min(radius, 0.19), 1 + i % 2 if count % 2 == 0 else 1))
    return [*shapes, _disc(0.5, 0.5, 0.11, 0)]


def _gem(rng: random.Random) -> list[Shape]:
    corners = rng.choice((4, 6, 6, 8))
    inner = rng.uniform(0.24, 0.32)
    return [
        _regular(0.5, 0.5, 0.5, corners, 0, 1),
        _regular(0.5, 0.5, inner + 0.07, corners, 0, 0),
        _regular(0.5, 0.5, inner, corners, 0, 2),
    ]


def _peaks(rng: random.Random) -> list[Shape]:
    x = rng.uniform(0.3, 0.42)
    return [
        ("polygon", (0.36, 0.92, 0.7, 0.3, 1.0, 0.92), 2),
        ("polygon", (0.0, 0.92, x, 0.12, 0.76, 0.92), 1),
    ]


def _bars(rng: random.Random) -> list[Shape]:
    heights = [0.45, 0.7, 1.0] if rng.random() < 0.5 else [0.7, 1.0, 0.55]
    return [
        _box(0.04 + 0.34 * i, 1 - h, 0.28 + 0.34 * i, 1.0, 2 if i == 1 else 1)
        for i, h in enumerate(heights)
    ]


def _chevrons(rng: random.Random) -> list[Shape]:
    shapes: list[Shape] = []
    for i in range(rng.choice((2, 3))):
        x = 0.02 + 0.3 * i
        points = (x, 0.1, x + 0.2, 0.1, x + 0.42, 0.5, x + 0.2, 0.9, x, 0.9, x + 0.22, 0.5)
        shapes.append(("polygon", points, 1 + i % 2))
    return shapes


def _tiles(rng: random.Random) -> list[Shape]:
    kept = rng.sample(range(9), rng.choice((5, 6, 7)))
    shapes = []
    for i in sorted(kept):
        x, y = (i % 3) / 3, (i // 3) / 3
        shapes.append(_box(x + 0.02, y + 0.02, x + 0.31, y + 0.31, 2 if i == kept[0] else 1))
    return shapes


def _quarters(rng: random.Random) -> list[Shape]:
    shapes: list[Shape] = []
    for i in range(4):
        left, top = 0.5 * (i % 2), 0.5 * (i // 2)
        corner = rng.randrange(4)
        x, y = left + 0.5 * (corner % 2), top + 0.5 * (corner // 2)
        start = (0, 90, 270, 180)[corner]
        box = (x - 0.48, y - 0.48, x + 0.48, y + 0.48, start, start + 90)
        shapes.append(("pie", box, 1 + (i in (0, 3))))
    return shapes


def _waves(rng: random.Random) -> list[Shape]:
    shapes = [_disc(0.5, 0.5, 0.5, 1)]
    for y, colour in ((0.46, 0), (0.56, 2), (0.74, 0)):
        points = []
        for i in range(25):
            x = i / 24
            points += [x, y + 0.05 * math.sin(2 * math.pi * (x * 1.5 + y))]
        for i in reversed(range(25)):
            x = i / 24
            thick = 0.06 if colour == 0 else 0.12
            points += [x, y + thick + 0.05 * math.sin(2 * math.pi * (x * 1.5 + y))]
        shapes.append(("polygon", tuple(points), colour))
    # Hide the parts of the waves outside the disc.
    return [*shapes, ("ring", (0.5, 0.72), 0)]


def _sun(rng: random.Random) -> list[Shape]:
    rays = rng.choice((8, 12))
    shapes: list[Shape] = []
    for i in range(rays):
        a, half = 2 * math.pi * i / rays, 0.5 * math.pi / rays
        points = [0.5, 0.5]
        for angle in (a - half, a + half):
            points += [0.5 + 0.5 * math.cos(angle), 0.5 + 0.5 * math.sin(angle)]
        shapes.append(("polygon", tuple(points), 1))
    return [*shapes, _disc(0.5, 0.5, 0.3, 0), _disc(0.5, 0.5, 0.22, 2)]


_MARKS: tuple[Callable[[random.Random], list[Shape]], ...] = (
    _rings, _crescent, _pair, _petals, _gem, _peaks, _bars, _chevrons, _tiles, _quarters, _waves,
    _sun,
)  # fmt: skip


def _monogram_ground(rng: random.Random) -> tuple[list[Shape], int]:
    """Returns the shapes behind a monogram, and the colour of its letter."""
    kind = rng.randrange(5)
    if kind == 0:
        return [_disc(0.5, 0.5, 0.5, 1)], 0
    if kind == 1:
        return [_box(0.03, 0.03, 0.97, 0.97, 1)], 0
    if kind == 2:
        return [_disc(0.5, 0.5, 0.5, 1), _disc(0.5, 0.5, 0.43, 0)], 1
    if kind == 3:
        return [_regular(0.5, 0.5, 0.5, 6, 0, 1)], 0
    return [_box(0.0, 0.0, 1.0, 1.0, 2), _box(0.07, 0.07, 0.93, 0.93, 0)], 1


def _paint(draw: ImageDraw.ImageDraw, side: int, shape: Shape, palette: list[Colour]) -> None:
    kind, numbers, colour = shape
    fill = palette[colour]
    scaled = [v * (side - 1) for v in numbers]
    if kind == "ellipse":
        draw.ellipse(scaled, fill=fill)
    elif kind == "polygon":
        draw.polygon(scaled, fill=fill)
    elif kind == "pie":
        draw.pieslice(scaled[:4], numbers[4], numbers[5], fill=fill)
    else:  # A ring around the middle.
        inner, outer = scaled
        middle = (side - 1) / 2
        box = (middle - outer, middle - outer, middle + outer, middle + outer)
        draw.ellipse(box, outline=fill, width=max(1, round(outer - inner)))


def draw_logo(
    canvas: Image.Image,
    box: tuple[int, int, int, int],
    seed: int,
    letter: str | None,
    face: str,
    palette: list[Colour],
) -> None:
    """Paints a logo into a square of `canvas`.

    Args:
        canvas: an RGB image, changed in place.
        box: the square: left, top, right, bottom in pixels.
        seed: seed of the logo.
        letter: the letter of a monogram; None paints a geometric mark.
        face: face of the letter.
        palette: colours of the background, the accent and the companion. The background shows
            through where no shape is painted.
    """
    rng = random.Random(seed)
    width = max(1, box[2] - box[0])
    side = width * _SUPERSAMPLING
    letter_colour = 0
    if letter is None:
        shapes = rng.choice(_MARKS)(rng)
    else:
        shapes, letter_colour = _monogram_ground(rng)
    ground = canvas.crop((box[0], box[1], box[0] + width, box[1] + width))
    tile = ground.resize((side, side), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(tile)
    for shape in shapes:
        _paint(draw, side, shape, palette)
    tile = tile.reduce(_SUPERSAMPLING)
    canvas.paste(tile, box[:2])
    if letter is not None:
        ink = fonts.metrics(face, letter)
        size = round(0.62 * width / max(ink.right - ink.left, ink.bottom - ink.top, 0.7), 1)
        mask, _x, _y = fonts.glyph(face, letter, size, False, (0.0, 0.0))
        corner = (
            box[0] + (width - mask.shape[1] + 1) // 2,
            box[1] + (width - mask.shape[0] + 1) // 2,
        )
        canvas.paste(palette[letter_colour], corner, Image.fromarray(np.asarray(mask)))

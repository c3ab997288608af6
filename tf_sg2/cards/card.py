"""Draws a business card of an invented person from a seed and an index."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

from tf_sg2.cards import fonts
from tf_sg2.cards.design import Design, draw_design
from tf_sg2.cards.layouts import lay_out
from tf_sg2.cards.logos import draw_logo
from tf_sg2.cards.paper import print_ground, shade
from tf_sg2.cards.people import person_fields
from tf_sg2.cards.sheet import Sheet
from tf_sg2.cards.typesetting import Colour, Mark
from tf_sg2.errors import InputError

LANGUAGES = ("ja", "en")
SMALLEST_SIDE = 16
# Short side of a Japanese business card, 91 by 55 mm.
_SHORT_SIDE_MM = 55.0
# A small card is drawn at an integer multiple of its size, then reduced. This is the smallest
# short side that is drawn, in pixels.
_DRAWN_SIDE = 190


@dataclass(frozen=True)
class Card:
    """A drawn card.

    Attributes:
        image: uint8 [H, W, 3].
        fields: the texts on the card by field name, as they are printed. A label ("TEL") is not
            part of its field. Vertical cards print numbers in kanji, and their fields hold kanji.
            Every card has name, company, title, phone and address. A card may have department,
            mail, url, fax, mobile, name_kana, name_latin, company_latin, postal_code, building and
            locality.
        boxes: [left, top, right, bottom] by field name: the bounds of the ink in pixels of
            `image`, right and bottom exclusive. Text thinner than a pixel gets one pixel. Only
            such boxes can intersect another one.
        language: "ja" or "en".
        orientation: writing direction, "horizontal" or "vertical" (only Japanese).
        layout: name of the layout.
    """

    image: np.ndarray = field(repr=False)
    fields: dict[str, str]
    boxes: dict[str, list[int]]
    language: str
    orientation: str
    layout: str


def draw_card(
    seed: int,
    index: int,
    image_size: tuple[int, int] = (96, 160),
    languages: Sequence[str] = LANGUAGES,
) -> Card:
    """Returns card `index` of the series `seed`, drawn at any size; thread safe.

    The card depends only on the arguments; its pixels depend also on `fonts.drawn_with()`. Sizes
    of equal proportions, such as 96x160 and 384x640, show the same card. Other proportions keep
    the texts and colours and change the layout.

    Args:
        seed: seed of the series, 0 or more.
        index: index of the card, 0 or more.
        image_size: (height, width) in pixels.
        languages: languages to choose from, of "ja" and "en".

    Raises:
        InputError: if an argument is out of range, or a font is not installed.
    """
    check_request(seed, index, image_size, languages)
    rng, design, fields = _begin(seed, index, languages)
    return draw(rng, design, fields, image_size)


def card_texts(seed: int, index: int, languages: Sequence[str] = LANGUAGES) -> dict[str, str]:
    """Returns all texts of the person of card `index`, printed or not, without drawing."""
    return _begin(seed, index, languages)[2]


def _begin(
    seed: int, index: int, languages: Sequence[str]
) -> tuple[random.Random, Design, dict[str, str]]:
    # A string seeds Python's generator by its SHA-512, so every process draws the same card.
    rng = random.Random(f"tf_sg2 cards {seed} {index}")
    design = draw_design(rng, tuple(languages))
    return rng, design, person_fields(design.language, rng.getrandbits(48))


def draw(
    rng: random.Random, design: Design, fields: dict[str, str], image_size: tuple[int, int]
) -> Card:
    """Returns the card of a design and a person.

    Args:
        rng: what is random in the paint; the order of the draws from it must not change.
        design: the look of the card.
        fields: all texts of the person, by field name.
        image_size: (height, width) in pixels.
    """
    height, width = image_size
    mm = _SHORT_SIDE_MM / min(height, width)
    sheet = lay_out(design, fields, width * mm, height * mm)
    image = _paint(sheet, image_size, rng)
    return Card(
        image=shade(image, design, rng.getrandbits(48)),
        fields=sheet.page.texts,
        boxes={name: _pixels(box, mm, image_size) for name, box in sheet.page.boxes.items()},
        language=design.language,
        orientation=design.orientation,
        layout=design.layout,
    )


def check_request(
    seed: int, index: int, image_size: tuple[int, int], languages: Sequence[str]
) -> None:
    """Raises `InputError` if an argument of `draw_card` is out of range."""
    if seed < 0 or index < 0:
        raise InputError(
            f"a card's seed and index must be 0 or more, but seed is {seed} and index is {index}"
        )
    if min(image_size) < SMALLEST_SIDE:
        raise InputError(
            f"cards of {image_size[0]}x{image_size[1]} pixels are too small; give at least "
            f"{SMALLEST_SIDE} pixels per side"
        )
    unknown = [language for language in languages if language not in LANGUAGES]
    if unknown or not languages:
        what = f"no {unknown[0]!r} cards" if unknown else "no cards without a language"
        raise InputError(f"there are {what}; choose from {', '.join(LANGUAGES)}")


def _paint(sheet: Sheet, image_size: tuple[int, int], rng: random.Random) -> np.ndarray:
    """Paints the sheet; uint8 [H, W, 3]."""
    height, width = image_size
    times = max(1, math.ceil(_DRAWN_SIDE / min(height, width)))
    scale = times * min(height, width) / _SHORT_SIDE_MM
    canvas = Image.new("RGB", (width * times, height * times), sheet.design.paper)
    print_ground(canvas, sheet.design, scale, rng)
    draw = ImageDraw.Draw(canvas)
    for rect, colour in sheet.panels:
        left, top = round(rect.left * scale), round(rect.top * scale)
        right = max(left + 1, round(rect.right * scale))
        bottom = max(top + 1, round(rect.bottom * scale))
        draw.rectangle((left, top, right - 1, bottom - 1), fill=colour)
    _paint_logo(canvas, sheet, scale)
    _paint_text(canvas, sheet.page.marks, scale, phases=1 if times > 1 else 4)
    if times > 1:
        canvas = canvas.resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(canvas)


def _paint_logo(canvas: Image.Image, sheet: Sheet, scale: float) -> None:
    if sheet.logo is None:
        return
    rect, ground = sheet.logo
    design: Design = sheet.design
    left, top = round(rect.left * scale), round(rect.top * scale)
    side = round(rect.width * scale)
    palette = [ground, design.accent, design.companion]
    if ground != design.paper:
        palette = [ground, sheet.on(ground), design.companion]
    letter, face = sheet.monogram() if design.logo == "monogram" else (None, design.display)
    box = (left, top, left + side, top + side)
    draw_logo(canvas, box, design.logo_seed, letter, face, palette)


def _paint_text(canvas: Image.Image, marks: list[Mark], scale: float, phases: int) -> None:
    """Paints the glyphs with one mask per colour, at positions of 1/`phases` pixel."""
    by_colour: dict[Colour, list[Mark]] = {}
    for mark in marks:
        by_colour.setdefault(mark.colour, []).append(mark)
    for colour, group in by_colour.items():
        mask = np.zeros((canvas.height, canvas.width), np.uint8)
        for mark in group:
            # Along its line a glyph may be placed between pixels, across it only at whole pixels.
            px, py = mark.x * scale, mark.y * scale
            steps_x, steps_y = (1, phases) if mark.rotated else (phases, 1)
            qx, qy = round(px * steps_x), round(py * steps_y)
            x, y = qx // steps_x, qy // steps_y
            phase = (qx % steps_x / steps_x, qy % steps_y / steps_y)
            size = round(mark.size * scale, 3)
            glyph, dx, dy = fonts.glyph(mark.face, mark.char, size, mark.rotated, phase)
            _stamp(mask, glyph, x + dx, y + dy)
        canvas.paste(colour, (0, 0), Image.fromarray(mask))


def _stamp(mask: np.ndarray, glyph: np.ndarray, x: int, y: int) -> None:
    """Adds a glyph to the mask in place; the mask's edges cut it off."""
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + glyph.shape[1], mask.shape[1]), min(y + glyph.shape[0], mask.shape[0])
    if right > left and bottom > top:
        view = mask[top:bottom, left:right]
        np.maximum(view, glyph[top - y : bottom - y, left - x : right - x], out=view)


def _pixels(box: list[float], mm: float, image_size: tuple[int, int]) -> list[int]:
    """Returns a box in mm rounded to pixels, at least one pixel high and wide.

    Rounding is monotone, so disjoint boxes stay disjoint unless one of them would be empty.
    """
    height, width = image_size
    left, top, right, bottom = (math.floor(v / mm + 0.5) for v in box)
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return [left, top, min(max(right, left + 1), width), min(max(bottom, top + 1), height)]

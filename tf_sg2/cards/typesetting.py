"""Sets text in a rectangle: lines from left to right, or Japanese columns from top to bottom.

All lengths are in mm on a card whose short side is 55 mm, so a card is the same at every image
size. `stack` sets rows and `columns` sets vertical writing. Both shrink text that does not fit, so
it stays inside its rectangle and rows do not touch. A single stroke may pass the end of its line by
at most a tenth of the text size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tf_sg2.cards import fonts

Colour = tuple[int, int, int]

# Height of a row, its baseline from the top, and width of a column, in em. They hold the highest
# kanji and the deepest descender.
_ROW_HEIGHT, _BASELINE = 1.22, 0.94
_COLUMN_WIDTH = 1.1
# The em box of Noto Sans CJK: from 0.88 above the baseline to 0.12 below it.
_EM_TOP, _EM_MIDDLE = 0.88, 0.38

# Characters that vertical writing rotates (Unicode UTR 50). Latin text is rotated too.
_ROTATED = frozenset("ー−–—-〜～…（）()「」『』【】［］〔〕〈〉《》＝=：:｜|/")  # noqa: RUF001 Japanese
_SMALL_KANA = frozenset("ぁぃぅぇぉっゃゅょゎァィゥェォッャュョヮヵヶ")
_UPPER_RIGHT = frozenset("、。，．")  # noqa: RUF001 Japanese punctuation


@dataclass(frozen=True)
class Rect:
    """A rectangle in mm."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Width in mm."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in mm."""
        return self.bottom - self.top

    def inset(self, x: float, y: float | None = None) -> Rect:
        """Returns the rectangle made smaller by `x` and `y` (None: `x`) on each side."""
        y = x if y is None else y
        return Rect(self.left + x, self.top + y, self.right - x, self.bottom - y)

    def rows(self, *shares: float, gap: float = 0.0) -> list[Rect]:
        """Divides the rectangle into rows whose heights have these proportions."""
        unit = (self.height - gap * (len(shares) - 1)) / sum(shares)
        parts, top = [], self.top
        for share in shares:
            parts.append(Rect(self.left, top, self.right, top + share * unit))
            top += share * unit + gap
        return parts

    def cells(self, *shares: float, gap: float = 0.0) -> list[Rect]:
        """Divides the rectangle into cells, left to right, whose widths have these proportions."""
        unit = (self.width - gap * (len(shares) - 1)) / sum(shares)
        parts, left = [], self.left
        for share in shares:
            parts.append(Rect(left, self.top, left + share * unit, self.bottom))
            left += share * unit + gap
        return parts


@dataclass(frozen=True)
class Text:
    """A piece of text in one face, size (mm per em) and colour.

    `field` is the name of its field, None for a label. `tracking` is extra space after each
    character, and `room` is the minimum length of the piece, both in em.
    """

    content: str
    face: str
    size: float
    colour: Colour
    field: str | None = None
    tracking: float = 0.0
    room: float = 0.0


@dataclass(frozen=True)
class Row:
    """Pieces of text on one line (or in one column), `gap` em apart.

    `before` is the distance to the row before, in mm. Rows of one `group` shrink by one factor.
    """

    texts: Sequence[Text]
    gap: float = 0.6
    before: float = 0.0
    group: str | None = None


class Mark(NamedTuple):
    """One glyph with its origin on the baseline (mm) and its size (mm per em)."""

    face: str
    char: str
    x: float
    y: float
    size: float
    colour: Colour
    rotated: bool


@dataclass
class Page:
    """The text that has been set: glyphs, and per field its text and ink bounds in mm."""

    marks: list[Mark] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    boxes: dict[str, list[float]] = field(default_factory=dict)

    def add(self, text: Text, marks: list[Mark]) -> None:
        """Adds a piece of text and its glyphs."""
        self.marks += marks
        if text.field is None or not marks:
            return
        bounds = [_ink(mark) for mark in marks]
        box = [min(b[0] for b in bounds), min(b[1] for b in bounds)]
        box += [max(b[2] for b in bounds), max(b[3] for b in bounds)]
        if text.field in self.texts:  # The second line of a field.
            old = self.boxes[text.field]
            box = [*map(min, old[:2], box[:2]), *map(max, old[2:], box[2:])]
            # Japanese is broken between two characters, other text at a space.
            between = " " if text.content[0].isascii() else ""
            self.texts[text.field] += between + text.content
        else:
            self.texts[text.field] = text.content
        self.boxes[text.field] = box


def _ink(mark: Mark) -> tuple[float, float, float, float]:
    m = fonts.metrics(mark.face, mark.char)
    if mark.rotated:
        bounds = (-m.bottom, m.left, -m.top, m.right)
    else:
        bounds = (m.left, m.top, m.right, m.bottom)
    left, top, right, bottom = (v * mark.size for v in bounds)
    return mark.x + left, mark.y + top, mark.x + right, mark.y + bottom


def ladder(size: float) -> float:
    """Returns a size rounded down to steps of 4%: few distinct sizes allow caching of glyphs."""
    return 1.04 ** math.floor(math.log(max(size, 1e-3), 1.04) + 1e-6)


def _advances(text: Text) -> list[float]:
    """Returns the advance of every character in em, with kerning and tracking."""
    content = text.content
    advances = [fonts.metrics(text.face, char).advance + text.tracking for char in content]
    for i in range(len(content) - 1):
        advances[i] += fonts.kerning(text.face, content[i : i + 2])
    if advances:
        advances[-1] -= text.tracking
    return advances


def _cells(text: Text) -> list[tuple[str, float, bool]]:
    """Returns (character, advance in em, rotated) from top to bottom, for vertical writing."""
    cells = []
    for char, advance in zip(text.content, _advances(replace(text, tracking=0.0)), strict=True):
        rotated = char in _ROTATED or char.isascii()
        if char == " ":
            advance = 0.35
        elif not rotated:
            advance = 1.0
        cells.append((char, advance + text.tracking, rotated))
    return cells


def _length(text: Text, vertical: bool) -> float:
    """Returns the length of the piece in em."""
    if vertical:
        length = sum(advance for _, advance, _ in _cells(text)) - text.tracking
    else:
        length = sum(_advances(text))
    return max(length, text.room)


def _row_length(row: Row, vertical: bool) -> float:
    """Returns the length of the row in mm, before shrinking."""
    size = max(text.size for text in row.texts)
    lengths = [_length(text, vertical) * text.size for text in row.texts]
    return sum(lengths) + row.gap * size * (len(lengths) - 1)


def _fit(rows: Sequence[Row], length: float, thickness: float, vertical: bool) -> list[Row]:
    """Returns the rows shrunk: each fits into `length`, all together into `thickness`."""
    pitch = _COLUMN_WIDTH if vertical else _ROW_HEIGHT
    total = sum(pitch * max(t.size for t in row.texts) for row in rows)
    total += sum(row.before for row in rows[1:])
    common = min(1.0, thickness / total)
    factors = [min(common, length / max(_row_length(row, vertical), 1e-6)) for row in rows]
    groups: dict[str, float] = {}
    for row, factor in zip(rows, factors, strict=True):
        if row.group is not None:
            groups[row.group] = min(groups.get(row.group, 1.0), factor)
    # The sizes of groups differ by at most 20%, so they look alike.
    limit = 1.2 * min(groups.values(), default=1.0)
    groups = {group: min(factor, limit) for group, factor in groups.items()}
    fitted = []
    for row, factor in zip(rows, factors, strict=True):
        factor = groups.get(row.group, factor) if row.group is not None else factor
        texts = [replace(text, size=ladder(text.size * factor)) for text in row.texts]
        fitted.append(replace(row, texts=texts, before=row.before * common))
    return fitted


def _offset(free: float, where: str) -> float:
    return {"start": 0.0, "middle": free / 2, "end": free}[where]


def stack(
    page: Page, rows: Sequence[Row], rect: Rect, align: str = "start", anchor: str = "start"
) -> None:
    """Sets rows below each other inside `rect`.

    `align` is the horizontal position of each row, `anchor` the vertical position of all rows.
    Both are "start", "middle" or "end".
    """
    rows = _fit([row for row in rows if row.texts], rect.width, rect.height, vertical=False)
    sizes = [max(text.size for text in row.texts) for row in rows]
    height = _ROW_HEIGHT * sum(sizes) + sum(row.before for row in rows[1:])
    y = rect.top + _offset(rect.height - height, anchor)
    for i, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        y += row.before if i else 0.0
        x = rect.left + _offset(rect.width - _row_length(row, vertical=False), align)
        for text in row.texts:
            marks, pen = [], x
            for char, advance in zip(text.content, _advances(text), strict=True):
                if char != " ":
                    baseline = y + _BASELINE * size
                    marks.append(
                        Mark(text.face, char, pen, baseline, text.size, text.colour, False)
                    )
                pen += advance * text.size
            page.add(text, marks)
            x += _length(text, vertical=False) * text.size + row.gap * size
        y += _ROW_HEIGHT * size


def columns(
    page: Page, rows: Sequence[Row], rect: Rect, align: str = "start", anchor: str = "start"
) -> None:
    """Sets rows as columns of vertical writing, from right to left inside `rect`.

    `align` is the vertical position of each column, `anchor` the horizontal position of all
    columns: "start" is right, "end" is left.
    """
    rows = _fit([row for row in rows if row.texts], rect.height, rect.width, vertical=True)
    sizes = [max(text.size for text in row.texts) for row in rows]
    width = _COLUMN_WIDTH * sum(sizes) + sum(row.before for row in rows[1:])
    right = rect.right - _offset(rect.width - width, anchor)
    for i, (row, size) in enumerate(zip(rows, sizes, strict=True)):
        right -= row.before if i else 0.0
        middle = right - _COLUMN_WIDTH * size / 2
        y = rect.top + _offset(rect.height - _row_length(row, vertical=True), align)
        for text in row.texts:
            page.add(text, _column_marks(text, middle, y))
            y += _length(text, vertical=True) * text.size + row.gap * size
        right -= _COLUMN_WIDTH * size


def _column_marks(text: Text, middle: float, top: float) -> list[Mark]:
    marks, pen = [], top
    for char, advance, rotated in _cells(text):
        if char == " ":
            pass
        elif rotated:
            x = middle - _EM_MIDDLE * text.size
            marks.append(Mark(text.face, char, x, pen, text.size, text.colour, True))
        else:
            x = middle - fonts.metrics(text.face, char).advance / 2 * text.size
            y = pen + _EM_TOP * text.size
            if char in _SMALL_KANA:
                x, y = x + 0.1 * text.size, y - 0.1 * text.size
            elif char in _UPPER_RIGHT:
                x, y = x + 0.6 * text.size, y - 0.6 * text.size
            marks.append(Mark(text.face, char, x, y, text.size, text.colour, False))
        pen += advance * text.size
    return marks

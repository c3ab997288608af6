"""The layouts of a card: one function per layout, which divides the card into rectangles.

A layout depends only on the design and the proportions of the card. It draws no random numbers and
does not know the number of pixels. Rectangles are disjoint and text stays inside its rectangle, so
two texts cannot overlap.
"""

from __future__ import annotations

from collections.abc import Callable

from tf_sg2.cards.design import Design, mix
from tf_sg2.cards.people import for_vertical_writing
from tf_sg2.cards.sheet import Sheet
from tf_sg2.cards.typesetting import Colour, Rect, Row, Text, columns, stack


def lay_out(design: Design, fields: dict[str, str], width: float, height: float) -> Sheet:
    """Returns a card of `width` by `height` mm with all its content placed."""
    sheet = Sheet(design, fields, Rect(0.0, 0.0, width, height))
    LAYOUTS[design.layout](sheet)
    return sheet


def _square(rect: Rect, side: float, x: float = 0.0, y: float = 0.5) -> Rect:
    """Returns a square inside `rect`; `x` and `y` are the shares of free space before it."""
    side = min(side, rect.width, rect.height)
    left = rect.left + x * (rect.width - side)
    top = rect.top + y * (rect.height - side)
    return Rect(left, top, left + side, top + side)


def _brand(sheet: Sheet, rect: Rect, align: str, size: float = 3.6, ground: Colour | None = None):
    """Places logo and company side by side; with `align` "end" the logo is on the right."""
    ground = sheet.design.paper if ground is None else ground
    ink = sheet.on(ground)
    if sheet.design.logo is not None:
        side = min(rect.height, 9.0)
        if align == "end":
            sheet.put_logo(_square(rect, side, 1.0), ground)
            rect = Rect(rect.left, rect.top, rect.right - side - 2.0, rect.bottom)
        else:
            sheet.put_logo(_square(rect, side, 0.0), ground)
            rect = Rect(rect.left + side + 2.0, rect.top, rect.right, rect.bottom)
    stack(sheet.page, sheet.company_rows(size, ink), rect, align, "middle")


def _rule(sheet: Sheet, rect: Rect, colour: Colour, upright: bool = False) -> None:
    """Adds a thin line through the middle of `rect`."""
    half = 0.13
    if upright:
        x = (rect.left + rect.right) / 2
        sheet.panels.append((Rect(x - half, rect.top, x + half, rect.bottom), colour))
    else:
        y = (rect.top + rect.bottom) / 2
        sheet.panels.append((Rect(rect.left, y - half, rect.right, y + half), colour))


def _classic(sheet: Sheet) -> None:
    design = sheet.design
    label = sheet.label_colour(design.paper)
    head, middle, foot = sheet.inner.rows(0.24, 0.36, 0.40, gap=1.4)
    _brand(sheet, head, "end" if design.coin[0] < 0.25 else "start")
    start = design.coin[1] < 0.5 or sheet.tall
    if not start:
        foot = foot.cells(0.28, 0.72)[1]
        middle = middle.cells(0.28, 0.72)[1]
    stack(sheet.page, sheet.person_rows(design.ink, label), middle, "start", "middle")
    stack(sheet.page, sheet.contact_rows(design.ink, label), foot, "start", "end")


def _centred(sheet: Sheet) -> None:
    design = sheet.design
    label = sheet.label_colour(design.paper)
    head, middle, line, foot = sheet.inner.rows(0.30, 0.32, 0.03, 0.35, gap=0.8)
    if design.logo is not None:
        top, head = head.rows(0.58, 0.42, gap=0.6)
        sheet.put_logo(_square(top, 9.0, 0.5))
    stack(sheet.page, sheet.company_rows(3.3, label), head, "middle", "middle")
    stack(sheet.page, sheet.person_rows(design.ink, design.ink), middle, "middle", "middle")
    if design.coin[0] < 0.7:
        _rule(sheet, line.cells(0.3, 0.4, 0.3)[1], design.companion)
    stack(sheet.page, sheet.contact_rows(design.ink, label), foot, "middle", "middle")


def _panel(sheet: Sheet, share: float) -> tuple[Rect, Rect, Colour]:
    """Adds a coloured panel on one side; returns its text area, the rest, and its colour."""
    design, card = sheet.design, sheet.card
    margin = design.margin * 0.8
    colour = design.accent if design.coin[3] < 0.75 else mix(design.paper, design.accent, 0.14)
    if sheet.tall:
        panel, rest = card.rows(share, 1 - share)
    elif design.coin[2] < 0.7:
        panel, rest = card.cells(share, 1 - share)
    else:
        rest, panel = card.cells(1 - share, share)
    sheet.panels.append((panel, colour))
    return panel.inset(margin * 0.8, margin), rest.inset(margin), colour


def _split(sheet: Sheet) -> None:
    design = sheet.design
    panel, rest, colour = _panel(sheet, 0.34)
    label = sheet.label_colour(design.paper)
    if design.logo is not None:
        top, panel = panel.rows(0.55, 0.45, gap=1.5)
        sheet.put_logo(_square(top, 14.0, 0.5, 0.8), colour)
    company = sheet.company_rows(3.2, sheet.on(colour), split_at=14)
    stack(sheet.page, company, panel, "middle", "start" if design.logo else "middle")
    top, foot = rest.rows(0.48, 0.52, gap=1.0)
    stack(sheet.page, sheet.person_rows(design.ink, label), top, "start", "middle")
    contact = sheet.contact_rows(design.ink, label, pairs=False)
    stack(sheet.page, contact, foot, "start", "end")


def _columns(sheet: Sheet) -> None:
    design = sheet.design
    label = sheet.label_colour(design.paper)
    if sheet.tall:
        left, gap, right = sheet.inner.rows(0.5, 0.04, 0.46, gap=0.6)
    else:
        left, gap, right = sheet.inner.cells(0.46, 0.05, 0.49, gap=0.4)
    _rule(sheet, gap, design.companion, upright=not sheet.tall)
    head, foot = left.rows(0.42, 0.58, gap=1.0)
    if design.logo is not None:
        top, head = head.rows(0.6, 0.4, gap=0.8)
        sheet.put_logo(_square(top, 10.0, 0.0))
    stack(sheet.page, sheet.company_rows(3.3, design.ink), head, "start", "start")
    stack(sheet.page, sheet.person_rows(design.ink, label), foot, "start", "end")
    contact = sheet.contact_rows(design.ink, label, pairs=False)
    stack(sheet.page, contact, right, "start", "middle" if design.coin[1] < 0.5 else "end")


def _footer(sheet: Sheet) -> None:
    design, card = sheet.design, sheet.card
    upper, bar = card.rows(0.66, 0.34)
    colour = design.accent if design.coin[3] < 0.6 else mix(design.paper, design.companion, 0.3)
    sheet.panels.append((bar, colour))
    upper = upper.inset(design.margin, design.margin * 0.8)
    head, middle = upper.rows(0.38, 0.62, gap=1.2)
    _brand(sheet, head, "start" if design.coin[0] < 0.6 else "end")
    label = sheet.label_colour(design.paper)
    stack(sheet.page, sheet.person_rows(design.ink, label), middle, "start", "middle")
    ink = sheet.on(colour)
    bar = bar.inset(design.margin, 2.2)
    numbers = sheet.number_rows(ink, mix(ink, colour, 0.25), pairs=False)
    if sheet.tall:
        stack(sheet.page, [*sheet.address_rows(ink, True), *numbers], bar, "start", "middle")
        return
    left, right = bar.cells(0.52, 0.48, gap=3.0)
    # The telephone row stands under the address, so both columns have about the same height.
    stack(sheet.page, [*sheet.address_rows(ink, True), numbers[0]], left, "start", "middle")
    stack(sheet.page, numbers[1:], right, "start", "middle")


def _header(sheet: Sheet) -> None:
    design, card = sheet.design, sheet.card
    bar, lower = card.rows(0.27, 0.73)
    colour = design.accent
    sheet.panels.append((bar, colour))
    _brand(sheet, bar.inset(design.margin, 2.4), "start", 3.9, colour)
    lower = lower.inset(design.margin, design.margin * 0.8)
    label = sheet.label_colour(design.paper)
    middle, foot = lower.rows(0.44, 0.56, gap=1.2)
    right = design.coin[1] < 0.4
    stack(sheet.page, sheet.person_rows(design.ink, label), middle, "start", "middle")
    contact = sheet.contact_rows(design.ink, label)
    stack(sheet.page, contact, foot, "end" if right else "start", "end")


def _wide(sheet: Sheet) -> None:
    design = sheet.design
    label = sheet.label_colour(design.paper)
    head, middle, line, foot = sheet.inner.rows(0.2, 0.44, 0.03, 0.33, gap=0.9)
    _brand(sheet, head, "end" if design.coin[0] < 0.6 else "start", 3.3)
    person = sheet.person_rows(design.ink, label, design.name_size * 1.12)
    stack(sheet.page, person, middle, "start", "middle")
    _rule(sheet, line, label if design.coin[1] < 0.5 else design.companion)
    numbers = sheet.number_rows(design.ink, label, pairs=False)
    if sheet.tall:
        stack(sheet.page, [*sheet.address_rows(design.ink, True), *numbers], foot, "start", "start")
        return
    left, right = foot.cells(0.53, 0.47, gap=2.5)
    stack(sheet.page, [*sheet.address_rows(design.ink, True), numbers[0]], left, "start", "start")
    stack(sheet.page, numbers[1:], right, "start", "start")


def _corner(sheet: Sheet) -> None:
    design = sheet.design
    label = sheet.label_colour(design.paper)
    upper, foot = sheet.inner.rows(0.52, 0.48, gap=1.4)
    left, right = upper.cells(0.74, 0.26, gap=2.0)
    if design.logo is None:
        left = upper
    else:
        sheet.put_logo(_square(right, 17.0, 1.0, 0.0))
    stack(sheet.page, sheet.person_rows(design.ink, label), left, "start", "start")
    company, contact = foot.rows(0.24, 0.76, gap=0.6)
    stack(sheet.page, sheet.company_rows(3.2, label), company, "start", "end")
    stack(sheet.page, sheet.contact_rows(design.ink, label), contact, "start", "end")


# Vertical writing


def _kanji(sheet: Sheet) -> None:
    sheet.fields = for_vertical_writing(sheet.fields)


def _company_columns(sheet: Sheet, rect: Rect, ink: Colour, ground: Colour, size: float) -> None:
    if sheet.design.logo is not None:
        side = min(8.5, rect.width)
        sheet.put_logo(_square(rect, side, 1.0, 0.0), ground)
        rect = Rect(rect.left, rect.top + side + 1.8, rect.right, rect.bottom)
    rows = [row for row in sheet.company_rows(size, ink) if row.texts[0].field == "company"]
    columns(sheet.page, rows, rect, "start", "start")


def _name_columns(sheet: Sheet, ink: Colour) -> list[Row]:
    """Returns columns of title, reading and name, from right to left."""
    design = sheet.design
    rows = []
    if sheet.shows("department"):
        rows.append(Row([sheet.text("department", design.size * 1.1, ink, "noto", 0.06)]))
    rows.append(Row([sheet.text("title", design.size * 1.1, ink, "noto", 0.1)], before=0.3))
    if sheet.shows("name_kana"):
        kana = sheet.text("name_kana", design.size * 0.8, ink, "noto", design.tracking)
        rows.append(Row([kana], before=0.8))
    name = sheet.text("name", design.name_size, ink, design.display, design.tracking)
    return [*rows, Row([name], before=0.6 if sheet.shows("name_kana") else 1.2)]


def _contact_columns(sheet: Sheet, ink: Colour, mail: bool) -> list[Row]:
    design = sheet.design
    size = design.size
    rows = [Row([sheet.text("postal_code", size, ink, "noto")], group="contact")]
    lead = 0.4
    for part in sheet.address_parts(16):
        text = Text(part, "noto", size, ink, field="address")
        rows.append(Row([text], before=lead, group="contact"))
    if sheet.shows("building"):
        rows.append(Row([sheet.text("building", size, ink, "noto")], before=lead, group="contact"))
    for name, label in (("phone", "電話"), ("fax", "ファックス"), ("mobile", "携帯")):
        if sheet.shows(name) and (name != "mobile" or not sheet.shows("fax")):
            texts = [
                Text(label, "noto", 0.9 * size, ink),
                sheet.text(name, size, ink, "noto"),
            ]
            rows.append(Row(texts, gap=0.6, before=lead, group="contact"))
    if mail:
        rows.append(
            Row([sheet.text("mail", size, ink, design.latin)], before=lead, group="contact")
        )
    return rows


def _tate_classic(sheet: Sheet) -> None:
    _kanji(sheet)
    design = sheet.design
    left, middle, right = sheet.inner.cells(0.40, 0.40, 0.20, gap=1.5)
    label = sheet.label_colour(design.paper)
    _company_columns(sheet, right, label if design.coin[0] < 0.4 else design.ink, design.paper, 3.8)
    columns(sheet.page, _name_columns(sheet, design.ink), middle, "start", "middle")
    contact = _contact_columns(sheet, design.ink, mail=design.coin[1] < 0.6)
    columns(sheet.page, contact, left, "end", "end")


def _tate_mixed(sheet: Sheet) -> None:
    design = sheet.design
    left, middle, right = sheet.inner.cells(0.46, 0.36, 0.18, gap=1.2)
    label = sheet.label_colour(design.paper)
    _company_columns(sheet, right, design.ink, design.paper, 3.8)
    columns(sheet.page, _name_columns(sheet, design.ink), middle, "start", "middle")
    contact = sheet.contact_rows(design.ink, label, pairs=False)
    stack(sheet.page, contact, left, "start", "end")


def _tate_centred(sheet: Sheet) -> None:
    _kanji(sheet)
    design = sheet.design
    left, middle, right = sheet.inner.cells(0.36, 0.24, 0.40, gap=1.5)
    label = sheet.label_colour(design.paper)
    name = sheet.text(
        "name", design.name_size * 1.15, design.ink, design.display, design.tracking + 0.1
    )
    columns(sheet.page, [Row([name])], middle, "middle", "middle")
    company, titles = right.cells(0.5, 0.5)[::-1]
    _company_columns(sheet, company, label, design.paper, 3.5)
    rows = [Row([row.texts[0]], group="title") for row in sheet.title_rows(design.ink, False)]
    columns(sheet.page, rows, titles, "start", "end")
    columns(sheet.page, _contact_columns(sheet, design.ink, mail=False), left, "end", "end")


def _tate_split(sheet: Sheet) -> None:
    design, card = sheet.design, sheet.card
    rest, panel = card.cells(0.8, 0.2)
    sheet.panels.append((panel, design.accent))
    ink = sheet.on(design.accent)
    panel = panel.inset(2.6, design.margin)
    if design.logo is not None:
        side = min(panel.width, 10.0)
        sheet.put_logo(_square(panel, side, 0.5, 0.0), design.accent)
        panel = Rect(panel.left, panel.top + side + 1.8, panel.right, panel.bottom)
    rows = [row for row in sheet.company_rows(4.0, ink) if row.texts[0].field == "company"]
    columns(sheet.page, rows, panel, "start", "middle")
    left, middle = rest.inset(design.margin).cells(0.56, 0.44, gap=1.2)
    columns(sheet.page, _name_columns(sheet, design.ink), middle, "start", "middle")
    label = sheet.label_colour(design.paper)
    stack(sheet.page, sheet.contact_rows(design.ink, label, pairs=False), left, "start", "end")


LAYOUTS: dict[str, Callable[[Sheet], None]] = {
    "classic": _classic,
    "centred": _centred,
    "split": _split,
    "columns": _columns,
    "footer": _footer,
    "header": _header,
    "wide": _wide,
    "corner": _corner,
    "tate-classic": _tate_classic,
    "tate-mixed": _tate_mixed,
    "tate-centred": _tate_centred,
    "tate-split": _tate_split,
}

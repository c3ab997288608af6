"""A card during layout: its rows of text, its panels, and the place of its logo."""

from __future__ import annotations

from dataclasses import dataclass, field

from tf_sg2.cards.design import Design, luminance, mix
from tf_sg2.cards.typesetting import Colour, Page, Rect, Row, Text

_JA_LABELS = (
    {"phone": "TEL", "fax": "FAX", "mobile": "携帯", "mail": "E-mail", "url": "URL"},
    {"phone": "Tel", "fax": "Fax", "mobile": "Mobile", "mail": "Mail", "url": "Web"},
    {"phone": "電話", "fax": "FAX", "mobile": "携帯", "mail": "メール", "url": "URL"},
)
_EN_LABELS = (
    {"phone": "T", "fax": "F", "mobile": "M", "mail": "E", "url": "W"},
    {"phone": "Tel", "fax": "Fax", "mobile": "Cell", "mail": "Mail", "url": "Web"},
    {"phone": "Phone", "fax": "Fax", "mobile": "Mobile", "mail": "", "url": ""},
)
_FORMS = ("株式会社", "有限会社", "合同会社")


@dataclass
class Sheet:
    """The content that a layout places on a card; lengths in mm.

    Attributes:
        design: the look of the card.
        fields: all texts of the person, by field name.
        card: the whole card.
        page: the text that has been set.
        panels: filled rectangles and rules, in the order of painting.
        logo: the square of the logo and the colour under it; None without a logo.
    """

    design: Design
    fields: dict[str, str]
    card: Rect
    page: Page = field(default_factory=Page)
    panels: list[tuple[Rect, Colour]] = field(default_factory=list)
    logo: tuple[Rect, Colour] | None = None

    @property
    def inner(self) -> Rect:
        """The card without its margins."""
        return self.card.inset(self.design.margin)

    @property
    def tall(self) -> bool:
        """Whether the card is about square or higher than wide."""
        return self.card.height > 0.95 * self.card.width

    @property
    def japanese(self) -> bool:
        """Whether the card is Japanese."""
        return self.design.language == "ja"

    def on(self, ground: Colour) -> Colour:
        """Returns a text colour that is readable on the background `ground`."""
        if ground == self.design.paper:
            return self.design.ink
        return (250, 250, 248) if luminance(ground) < 0.58 else (28, 28, 32)

    def shows(self, name: str) -> bool:
        """Returns whether the card shows the field `name`."""
        optional = {
            "fax", "mobile", "url", "department", "building", "name_kana", "name_latin",
            "company_latin",
        }  # fmt: skip
        return bool(self.fields.get(name)) and (name in self.design.shown or name not in optional)

    def text(self, name: str, size: float, ink: Colour, face: str, tracking: float = 0.0) -> Text:
        """Returns the text of the field `name`; see `typesetting.Text` for the arguments."""
        return Text(self.fields[name], face, size, ink, field=name, tracking=tracking)

    def put_logo(self, square: Rect, ground: Colour | None = None) -> None:
        """Places the logo; `ground` is the colour under it, None the paper's."""
        self.logo = (square, self.design.paper if ground is None else ground)

    def monogram(self) -> tuple[str, str]:
        """Returns the letter of a monogram, and its face."""
        company = self.fields["company"]
        if not self.japanese:
            return company[0].upper(), self.design.display
        if self.design.coin[5] < 0.5:
            return self.fields["company_latin"][0].upper(), "lato-black"
        for form in _FORMS:
            company = company.replace(form, "")
        return company[0], "noto-bold"

    # Rows of text

    def company_rows(self, size: float, ink: Colour, split_at: int | None = None) -> list[Row]:
        """Returns the rows of the company's name, and of its Latin name if the design shows it.

        A name of more than `split_at` characters is broken at the space nearest to its middle.
        """
        design = self.design
        face = "noto-bold" if self.japanese and design.coin[4] < 0.7 else design.display
        tracking = 0.06 if self.japanese else 0.02
        company = self.fields["company"]
        parts = [company]
        spaces = [i for i, char in enumerate(company) if char == " "]
        if split_at is not None and len(company) > split_at and spaces:
            at = min(spaces, key=lambda i: abs(i - len(company) / 2))
            parts = [company[:at], company[at + 1 :]]
        rows = [
            Row([Text(part, face, size, ink, field="company", tracking=tracking)], group="company")
            for part in parts
        ]
        if self.shows("company_latin"):
            latin = self.text("company_latin", 0.62 * size, ink, design.latin)
            rows.append(Row([latin], before=0.2))
        return rows

    def title_rows(self, ink: Colour, together: bool = True) -> list[Row]:
        """Returns the rows of department and title: one row if `together`, else two."""
        size = self.design.size * 1.06
        face = self.design.body
        texts = [
            self.text(name, size, ink, face, 0.04 if self.japanese else 0.0)
            for name in ("department", "title")
            if self.shows(name)
        ]
        if not self.japanese:
            texts.reverse()
        if together and not self.japanese and len(texts) == 2:
            texts.insert(1, Text("|", face, size, self.design.companion))
        if together:
            return [Row(texts, gap=0.7 if self.japanese else 0.45)]
        return [Row([text], group="title") for text in texts]

    def name_rows(self, size: float, ink: Colour) -> list[Row]:
        """Returns the name, its reading above it, and its Latin form beside or below it."""
        design = self.design
        name = self.text("name", size, ink, design.display, design.tracking)
        rows = []
        if self.shows("name_kana"):
            kana = self.text("name_kana", 0.33 * size, ink, "noto", 2 * design.tracking)
            rows.append(Row([kana]))
        row = [name]
        if self.shows("name_latin"):
            latin = self.text("name_latin", 0.44 * size, ink, design.latin, 0.02)
            if design.coin[3] < 0.5 and not self.tall:
                row.append(latin)
            else:
                return [*rows, Row(row), Row([latin], before=0.3)]
        return [*rows, Row(row, gap=0.45)]

    def person_rows(self, ink: Colour, accent: Colour, size: float | None = None) -> list[Row]:
        """Returns name and title; the title is above a Japanese name, and below an English one."""
        name = self.name_rows(size or self.design.name_size, ink)
        together = self.japanese or self.design.coin[2] < 0.5
        title = self.title_rows(accent, together)
        first, second = (title, name) if self.japanese else (name, title)
        second[0] = Row(second[0].texts, second[0].gap, 0.9, second[0].group)
        return [*first, *second]

    def address_rows(self, ink: Colour, narrow: bool = False) -> list[Row]:
        """Returns the rows of postal code and address; `narrow` breaks long rows."""
        size, face = self.design.size, self.design.body
        if not self.japanese:
            return [
                Row([self.text(name, size, ink, face)], group="address")
                for name in ("address", "locality")
            ]
        post = self.text("postal_code", size, ink, face)
        parts = [
            Text(part, face, size, ink, field="address")
            for part in self.address_parts(13 if narrow else 22)
        ]
        if self.design.coin[1] < 0.6 and not narrow and len(parts) == 1:
            rows = [Row([post, *parts], gap=0.5, group="address")]
        else:
            rows = [Row([text], group="address") for text in (post, *parts)]
        if self.shows("building"):
            rows.append(Row([self.text("building", size, ink, face)], group="address"))
        return rows

    def address_parts(self, longest: int) -> list[str]:
        """Returns a Japanese address in parts.

        It is broken before the house number if it has more than `longest` characters.
        """
        address, number = self.fields["address"], self.fields["house_number"]
        if len(address) <= longest:
            return [address]
        return [address.removesuffix(number), number]

    def number_rows(self, ink: Colour, accent: Colour, pairs: bool = True) -> list[Row]:
        """Returns the rows of telephone numbers, mail and web address, each after its label.

        With `pairs`, telephone and fax share a row.
        """
        design = self.design
        styles = _JA_LABELS if self.japanese else _EN_LABELS
        labels = styles[int(design.coin[0] * len(styles))]
        names = [n for n in ("phone", "fax", "mobile", "mail", "url") if self.shows(n)]
        room = max(0.62 * max(len(labels[n]) for n in names), 1.2)

        def labelled(name: str, first: bool) -> list[Text]:
            value = self.text(name, design.size, ink, design.latin)
            label = labels[name]
            if not label:
                return [value]
            face = design.latin if label.isascii() else "noto"
            least = room if first and not pairs else 0.0
            return [Text(label, face, 0.9 * design.size, accent, room=least), value]

        rows, waiting = [], list(names)
        while waiting:
            name = waiting.pop(0)
            texts = labelled(name, True)
            if pairs and name == "phone" and "fax" in waiting:
                waiting.remove("fax")
                texts += labelled("fax", False)
            rows.append(Row(texts, gap=0.45, group="contact"))
        return rows

    def contact_rows(self, ink: Colour, accent: Colour, pairs: bool = True) -> list[Row]:
        """Returns address and numbers; without `pairs` each number has its own, narrow row."""
        numbers = self.number_rows(ink, accent, pairs)
        numbers[0] = Row(numbers[0].texts, numbers[0].gap, 0.5, "contact")
        return [*self.address_rows(ink, not pairs), *numbers]

    def label_colour(self, ground: Colour) -> Colour:
        """Returns the accent colour if it is readable on `ground`, else a softer text colour."""
        accent = self.design.accent
        if abs(luminance(accent) - luminance(ground)) > 0.3:
            return accent
        return mix(self.on(ground), ground, 0.15)

"""The look of a card: colours, fonts, sizes in mm. It is the same at every image size."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tf_sg2.cards.typesetting import Colour

# Paper colours: white, ivory, cream, cool grey, pale tints.
_PAPERS = (
    (254, 254, 253), (252, 251, 248), (250, 247, 240), (247, 242, 230), (245, 245, 246),
    (240, 243, 246), (243, 247, 243), (249, 243, 241), (238, 235, 228), (232, 236, 240),
)  # fmt: skip
_INKS = ((26, 26, 28), (35, 38, 46), (44, 40, 36), (20, 28, 52), (52, 54, 58))
# Accent colour, companion colour.
_ACCENTS = (
    ((18, 62, 124), (92, 150, 212)),
    ((168, 28, 40), (222, 120, 96)),
    ((0, 104, 88), (126, 186, 120)),
    ((196, 104, 16), (240, 184, 72)),
    ((84, 44, 116), (176, 132, 196)),
    ((0, 112, 152), (96, 192, 208)),
    ((120, 84, 40), (200, 164, 104)),
    ((40, 40, 44), (150, 150, 156)),
    ((200, 40, 96), (244, 152, 176)),
    ((48, 92, 44), (160, 184, 72)),
    ((16, 40, 72), (204, 160, 72)),
    ((140, 20, 60), (60, 60, 66)),
    ((0, 84, 168), (236, 100, 44)),
    ((216, 60, 32), (250, 172, 60)),
)
# Dark cards: paper, ink, accent, companion.
_DARK = (
    ((24, 28, 44), (240, 240, 236), (204, 168, 96), (148, 124, 80)),
    ((30, 30, 32), (242, 242, 240), (232, 96, 64), (160, 160, 164)),
    ((16, 58, 60), (238, 242, 236), (232, 200, 120), (112, 172, 160)),
    ((84, 20, 36), (248, 240, 232), (228, 192, 136), (188, 120, 112)),
    ((44, 52, 62), (244, 246, 248), (112, 196, 224), (148, 164, 180)),
)

_JA_HORIZONTAL = ("classic", "centred", "split", "columns", "footer", "header", "wide")
_JA_VERTICAL = ("tate-classic", "tate-mixed", "tate-centred", "tate-split")
# Layouts with a coloured panel get neither a band nor a border.
_PANELLED = ("split", "footer", "header", "tate-split")
_EN = ("classic", "centred", "split", "columns", "footer", "header", "wide", "corner")

_LATIN_FACES = (
    ("lato", "lato-bold"),
    ("lato", "lato-black"),
    ("lato-light", "lato"),
    ("lato-light", "lato-bold"),
    ("serif", "serif-bold"),
    ("serif", "serif"),
    ("serif-italic", "serif-bold"),
    ("caladea", "caladea-bold"),
    ("lato", "serif-bold"),
    ("lato-light", "caladea-bold"),
)

BANDS = ("left", "right", "top", "bottom", "double", "corner", "disc")
TEXTURES = ("plain", "grain", "linen", "laid", "washi")


@dataclass(frozen=True)
class Design:
    """All of a card's look except its geometry.

    Attributes:
        language: "ja" or "en".
        orientation: writing direction; "vertical" is Japanese from top to bottom.
        layout: key of `layouts.LAYOUTS`.
        paper, ink, accent, companion: colours.
        body, display, latin: faces of small print, of the name, and of Latin small print.
        size, name_size: text sizes of small print and of the name, in mm.
        tracking: extra space between the characters of the name, in em.
        margin: distance of text from the edge, in mm.
        logo: "mark", "monogram" or None.
        logo_seed: seed of the logo.
        band: a coloured shape at the edge, of `BANDS`; or None.
        border: "line", "double", "accent" or None.
        texture: surface of the paper, of `TEXTURES`.
        shown: names of the optional fields that the card shows.
        coin: random numbers in [0, 1) for the choices of the layouts.
    """

    language: str
    orientation: str
    layout: str
    paper: Colour
    ink: Colour
    accent: Colour
    companion: Colour
    body: str
    display: str
    latin: str
    size: float
    name_size: float
    tracking: float
    margin: float
    logo: str | None
    logo_seed: int
    band: str | None
    border: str | None
    texture: str
    shown: frozenset[str]
    coin: tuple[float, ...]


def draw_design(rng: random.Random, languages: tuple[str, ...]) -> Design:
    """Returns a random design; the order of the draws from `rng` must not change."""
    language = _language(rng.random(), languages)
    japanese = language == "ja"
    vertical = rng.random() < 0.36 and japanese
    layout = rng.choice(_JA_VERTICAL if vertical else _JA_HORIZONTAL if japanese else _EN)
    paper, ink = rng.choice(_PAPERS), rng.choice(_INKS)
    accent, companion = rng.choice(_ACCENTS)
    dark = rng.choice(_DARK)
    if rng.random() < 0.09:
        paper, ink, accent, companion = dark
    latin, latin_display = rng.choice(_LATIN_FACES)
    bold = rng.random()
    band = rng.choice(BANDS) if rng.random() < 0.5 else None
    border = rng.choice(("line", "double", "accent")) if rng.random() < 0.22 else None
    if layout in _PANELLED:
        band = border = None
    shown = {"phone", "mail"}
    for field, chance in (
        ("fax", 0.6), ("mobile", 0.5), ("url", 0.7), ("department", 0.85), ("building", 0.45),
        ("name_kana", 0.22), ("name_latin", 0.35), ("company_latin", 0.22),
    ):  # fmt: skip
        if rng.random() < chance:
            shown.add(field)
    return Design(
        language=language,
        orientation="vertical" if vertical else "horizontal",
        layout=layout,
        paper=paper,
        ink=ink,
        accent=accent,
        companion=companion,
        body="noto" if japanese else latin,
        display=("noto-bold" if bold < 0.5 else "noto") if japanese else latin_display,
        latin=latin if rng.random() < 0.6 or not japanese else "noto",
        size=rng.uniform(2.35, 2.75),
        name_size=rng.uniform(5.4, 7.2),
        tracking=rng.choice((0.05, 0.1, 0.2, 0.32)) if japanese else rng.choice((0, 0, 0.02, 0.06)),
        margin=rng.uniform(5.0, 7.0),
        logo=rng.choice(("mark", "mark", "monogram")) if rng.random() < 0.8 else None,
        logo_seed=rng.getrandbits(32),
        band=band,
        border=border if band is None else None,
        texture=rng.choice(TEXTURES),
        shown=frozenset(shown),
        coin=tuple(rng.random() for _ in range(6)),
    )


def _language(draw: float, languages: tuple[str, ...]) -> str:
    """Returns Japanese for six cards of ten if both languages are allowed."""
    if len(languages) == 1:
        return languages[0]
    return "ja" if draw < 0.6 else "en"


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Returns colour `a` mixed with the share `share` of colour `b`."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def luminance(colour: Colour) -> float:
    """Returns the luma (ITU-R 601-2) of a colour, 0 to 1."""
    return (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255

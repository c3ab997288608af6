"""Which cards each set holds, and which canaries are planted: a function of a few numbers."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from tf_sg2.cards.card import LANGUAGES, Card, draw
from tf_sg2.cards.design import Design, draw_design
from tf_sg2.cards.source import CardSource
from tf_sg2.cards.split.texts import Texts, owned_texts
from tf_sg2.data.split.shares import HOLDOUT, TRAINING, position
from tf_sg2.errors import InputError

REFERENCE = "reference"
CANARIES = "canaries"
REPEATS = (1, 4, 16, 64)
# Share of all texts that canaries own, whatever their number.
_CANARY_TEXTS = 0.02
# A set owns at least this share, so that its cards are not all of the same few companies.
_LEAST_TEXTS = 0.01


@dataclass(frozen=True)
class Canary:
    """A card that is planted in the training set, or not.

    Attributes:
        index: number of the card in the set of canaries.
        repeats: how many times the training set holds it if it is planted.
        planted: the coin's outcome.
    """

    index: int
    repeats: int
    planted: bool


@dataclass(frozen=True)
class Deal:
    """Cards in a training, a held-out, a reference and a canary set, with no text in two of them.

    Attributes:
        count: number of different cards in the first three sets.
        seed: seed of the cards and of the coins, 0 or more.
        image_size: (height, width) in pixels.
        languages: languages of the cards, of "ja" and "en".
        holdout: share of the held-out cards.
        reference: share of the reference cards.
        canaries: number of canaries for each number of repeats.

    Raises:
        InputError: if an argument is out of range.
    """

    count: int
    seed: int = 0
    image_size: tuple[int, int] = (96, 160)
    languages: Sequence[str] = LANGUAGES
    holdout: float = 0.1
    reference: float = 0.1
    canaries: int = 16
    sizes: dict[str, int] = field(init=False)
    shares: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        series = CardSource(self.count, self.seed, self.image_size, self.languages)
        for name in (HOLDOUT, REFERENCE):
            if not 0 <= getattr(self, name) <= 0.45:
                raise InputError(
                    f"--{name} is {getattr(self, name):g}; give a share from 0 to 0.45"
                )
        if self.canaries < 0:
            raise InputError(f"--canaries is {self.canaries}; give 0 or more")
        sizes = {name: round(self.count * getattr(self, name)) for name in (HOLDOUT, REFERENCE)}
        sizes = {TRAINING: self.count - sum(sizes.values()), **sizes}
        sizes[CANARIES] = self.canaries * len(REPEATS)
        for name in (HOLDOUT, REFERENCE):
            if getattr(self, name) and not sizes[name]:
                raise InputError(
                    f"--{name}={getattr(self, name):g} of {self.count} cards is none; give more "
                    "cards or a larger share"
                )
        object.__setattr__(self, "languages", series.languages)
        object.__setattr__(self, "sizes", sizes)
        shares = {name: max(getattr(self, name), _LEAST_TEXTS) for name in (HOLDOUT, REFERENCE)}
        object.__setattr__(self, "shares", {**shares, CANARIES: _CANARY_TEXTS})

    def canary(self, index: int) -> Canary:
        """Returns canary `index` with its coin, which depends only on the seed and the index."""
        planted = position(f"coin {self.seed} {index}".encode()) < 0.5
        return Canary(index, REPEATS[index % len(REPEATS)], planted)

    def texts(self, name: str, index: int) -> Texts:
        """Returns all texts of a card's person, printed or not, without drawing."""
        return self._begin(name, index)[2]

    def card(self, name: str, index: int) -> Card:
        """Returns card `index` of a set."""
        return draw(*self._begin(name, index), self.image_size)

    def _begin(self, name: str, index: int) -> tuple[random.Random, Design, Texts]:
        if not 0 <= index < self.sizes[name]:
            raise IndexError(f"card {index} of {self.sizes[name]} in {name}")
        rng = random.Random(f"tf_sg2 split {self.seed} {name} {index}")
        design = draw_design(rng, tuple(self.languages))
        return rng, design, owned_texts(design.language, rng, name, self.shares)

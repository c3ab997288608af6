"""A data set of drawn cards: every image is drawn when it is read, and no file is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from tf_sg2.cards import fonts
from tf_sg2.cards.card import LANGUAGES, Card, card_texts, check_request, draw_card
from tf_sg2.config import parse_image_size
from tf_sg2.config.whole_number import whole_number
from tf_sg2.data.open import CARDS_PREFIX
from tf_sg2.errors import InputError

# The order of an epoch needs memory for every image.
LARGEST_COUNT = 10_000_000
# Increase it with every change of the drawing: a run then refuses to resume on other images.
_DRAWING_VERSION = 2
_GROUPS = ("name", "company")


class CardSource:
    """An `ImageSource` of cards 0 to count - 1 of a seed.

    Args:
        count: number of cards, from 1 to `LARGEST_COUNT`.
        seed: seed of the series, 0 or more.
        image_size: (height, width) in pixels.
        languages: languages of the cards, of "ja" and "en".
        name: name of the source in messages; None takes the specification.

    Raises:
        InputError: if an argument is out of range.
    """

    image_channels = 3
    label_dim = 0

    def __init__(
        self,
        count: int = 10_000,
        seed: int = 0,
        image_size: tuple[int, int] = (96, 160),
        languages: Sequence[str] = LANGUAGES,
        name: str | None = None,
    ):
        if count < 1:
            raise InputError(f"a set of {count} cards is empty; give a count of 1 or more")
        if count > LARGEST_COUNT:
            raise InputError(
                f"a set of {count} cards is too large; give a count of at most {LARGEST_COUNT}"
            )
        check_request(seed, 0, image_size, languages)
        self.seed = seed
        self.image_size: tuple[int, int] = (image_size[0], image_size[1])
        # In a fixed order: "en+ja" means the same cards as "ja+en".
        self.languages = tuple(language for language in LANGUAGES if language in languages)
        self._count = count
        self.name = self.spec if name is None else name

    @classmethod
    def from_spec(cls, spec: str) -> CardSource:
        """Reads "cards:count=2000,seed=1,size=96x160,languages=ja+en"; every part has a default.

        Raises:
            InputError: for a part that is unknown, repeated or has a bad value.
        """
        if not spec.startswith(CARDS_PREFIX):
            raise InputError(f"{spec!r} does not start with {CARDS_PREFIX!r}; add it")
        given: dict[str, str] = {}
        for part in filter(None, spec[len(CARDS_PREFIX) :].split(",")):
            key, _, value = part.partition("=")
            if key not in ("count", "seed", "size", "languages"):
                raise InputError(
                    f"{spec!r} has an unknown part {part!r}; the parts are count=..., seed=..., "
                    "size=HEIGHTxWIDTH and languages=ja+en"
                )
            if key in given:
                raise InputError(f"{spec!r} gives {key} twice; keep one")
            given[key] = value
        options: dict = {"name": spec}
        for key in ("count", "seed"):
            if key in given:
                options[key] = whole_number(given[key])
                if options[key] is None:
                    raise InputError(
                        f"{spec!r}: {key} is {given[key]!r}; give a whole number, such as {key}=1"
                    )
        if "size" in given:
            options["image_size"] = parse_image_size(given["size"])
        if "languages" in given:
            options["languages"] = tuple(given["languages"].split("+"))
        return cls(**options)

    @property
    def spec(self) -> str:
        """The complete specification of this source."""
        height, width = self.image_size
        return (
            f"{CARDS_PREFIX}count={self._count},seed={self.seed},size={height}x{width},"
            f"languages={'+'.join(self.languages)}"
        )

    def __len__(self) -> int:
        """Returns the number of cards."""
        return self._count

    def card(self, index: int) -> Card:
        """Returns card `index` with its texts and boxes.

        Raises:
            IndexError: if there is no such card.
        """
        if not 0 <= index < self._count:
            raise IndexError(f"card {index} of {self._count}")
        return draw_card(self.seed, int(index), self.image_size, self.languages)

    def image(self, index: int) -> np.ndarray:
        """Returns card `index`, uint8 [H, W, 3]; thread safe."""
        return self.card(index).image

    def label(self, index: int) -> np.ndarray:
        """Returns an empty vector, float32 [0], because cards have no labels."""
        return np.zeros(0, np.float32)

    def split_keys(self, group: str) -> list[bytes]:
        """Returns the key of each card for a split: its seed and index, or one of its texts.

        Args:
            group: "name" or "company"; "" for no group.

        Raises:
            InputError: for another group.
        """
        if not group:
            return [f"card {self.seed} {index}".encode() for index in range(self._count)]
        if group not in _GROUPS:
            raise InputError(
                f"cards have no group {group!r}; the groups are {' and '.join(_GROUPS)}"
            )
        texts = (card_texts(self.seed, i, self.languages)[group] for i in range(self._count))
        return [text.encode() for text in texts]

    def fingerprint(self) -> str:
        """Returns a digest of the specification, and the versions of the drawing libraries."""
        digest = hashlib.sha256(f"{self.spec},drawing={_DRAWING_VERSION}".encode()).hexdigest()
        return f"{digest} ({fonts.drawn_with()})"

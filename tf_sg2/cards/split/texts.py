"""Texts of a card that belong to one set only.

A hash decides which set owns a name, a company, an address, a building or a number. Each part of a
person is drawn again until the set owns it. So no such text can be in two sets, whatever their
sizes, and a card depends on no other card. All sets have the same distribution of designs and
forms; only the owned words differ.

A key is coarser than its text. The Latin name decides, so two ways to write one name belong to the
same set. The first word of a company decides for its names, its domain, and the mail and web
addresses in it. Departments and titles are a few common words, so all sets share them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from functools import partial

from tf_sg2.cards.people import person_fields
from tf_sg2.data.split.shares import set_of
from tf_sg2.errors import InputError

# Fields that many persons have in common.
SHARED_FIELDS = ("department", "title")
_NUMBERS = ("phone", "fax", "mobile")
# The end of a number that is drawn again: what comes before it keeps the number unassigned.
_LAST_DIGITS = {"ja": 4, "en": 2}
# A set that owns one text of a thousand finds one in this number of draws, but for one in 10^40.
_MOST_DRAWS = 100_000
_MOST_ENDS = 200

Texts = dict[str, str]


def owned_texts(language: str, rng: random.Random, name: str, shares: Mapping[str, float]) -> Texts:
    """Returns all texts of a person whose identifying texts belong to one set.

    Args:
        language: "ja" or "en".
        rng: the draws of this card.
        name: the set.
        shares: share of all texts that each set besides training owns.

    Raises:
        InputError: if the set owns so few texts that none is found.
    """

    def owns(kind: str, key: str) -> bool:
        return set_of(f"{kind} {key}".encode(), shares) == name

    def draw(accepts: Callable[[Texts], bool]) -> Texts:
        for _ in range(_MOST_DRAWS):
            texts = person_fields(language, rng.getrandbits(48))
            if accepts(texts):
                return texts
        raise InputError(f"the set {name} owns too few texts for its cards; give it a larger share")

    person = draw(lambda texts: owns("name", name_key(texts)))
    company = draw(lambda texts: _has_domain(texts) and owns("company", company_key(texts)))
    place = draw(lambda texts: owns("address", texts["address"]))
    texts = {**person, **{key: company[key] for key in company if key.startswith("company")}}
    texts |= {key: place[key] for key in ("address", "house_number") if key in place}
    texts["mail"] = person["mail"].split("@")[0] + "@" + company["mail"].split("@")[1]
    texts["url"] = company["url"]
    for field in ("postal_code", "locality"):
        if field in person:
            texts[field] = draw(partial(_owns_field, owns, field))[field]
    if "building" in person:
        texts["building"] = draw(lambda texts: owns("building", building_key(texts)))["building"]
    texts |= _numbers(language, rng, draw, lambda number: owns("number", number_key(number)))
    return texts


def _numbers(
    language: str,
    rng: random.Random,
    draw: Callable[[Callable[[Texts], bool]], Texts],
    owns: Callable[[str], bool],
) -> Texts:
    """Returns the numbers of one office: one area, other ends."""
    count = _LAST_DIGITS[language]
    numbers: Texts = {}

    def has_ends(texts: Texts) -> bool:
        for field in _NUMBERS:
            for _ in range(_MOST_ENDS):
                end = "".join(rng.choice("0123456789") for _ in range(count))
                numbers[field] = texts[field][:-count] + end
                if owns(numbers[field]):
                    break
            else:
                return False
        return True

    draw(has_ends)
    return numbers


def name_key(texts: Texts) -> str:
    """Returns the Latin name without a middle initial."""
    words = texts.get("name_latin", texts["name"]).split()
    return f"{words[0]} {words[-1]}".lower()


def company_key(texts: Texts) -> str:
    """Returns the invented word that the company's names and its domain begin with."""
    return texts.get("company_latin", texts["company"]).split()[0].lower()


def building_key(texts: Texts) -> str:
    """Returns the building without its floor."""
    return re.sub(r"\d+(F|階)$", "", texts["building"])


def number_key(number: str) -> str:
    """Returns the digits of a telephone number without a country code."""
    return re.sub(r"\D", "", number)[-10:]


def _owns_field(owns: Callable[[str, str], bool], field: str, texts: Texts) -> bool:
    return owns(field, texts[field])


def _has_domain(texts: Texts) -> bool:
    # Every set could have mail at a bare "example.com", so no set has it.
    return company_key(texts) in texts["mail"].split("@")[1]

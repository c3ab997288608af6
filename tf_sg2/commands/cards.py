"""The command `tf-sg2 cards`: draws a set of dummy business cards into a folder or a zip."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tf_sg2.commands.exit_status import signals_as_exceptions
from tf_sg2.commands.flags import CommandFlags, FlagValues, parse
from tf_sg2.config import parse_image_size
from tf_sg2.errors import InputError

USAGE = """
Draws dummy business cards, Japanese and English. Firms, addresses and numbers on them do not exist.
Personal names are common ones, put together at random.

  tf-sg2 cards --out=cards.zip --count=2000 --seed=1 --size=96x160

Card i of a seed always shows the same texts. Its pixels are also the same with one version of
Pillow, FreeType and the fonts. cards.json, beside the PNGs, holds the texts of each card and their
positions. Training can also draw the same cards as it runs, without any file:

  tf-sg2 train --data=cards:count=2000,seed=1,size=96x160 ...

With --split, --out is a folder of zips: training, holdout, reference and canaries. No name,
company, address, number, mail or web address is in two of them. Canaries are cards for an audit of
privacy. A coin decides whether one is planted in training.zip, 1, 4, 16 or 64 times. split.json
holds the coins, the copies and the texts of every card.

  tf-sg2 cards --split --out=data/split --count=20000 --seed=1 --size=48x80
  tf-sg2 train --data=data/split/training.zip --data.heldout=data/split/holdout.zip ...
"""

# Flags that only a split has, with their values in `Deal` if they are not given.
_SPLIT_FLAGS = {"holdout": 0.1, "reference": 0.1, "canaries": 16}


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    flags.string("out", None, "folder or .zip file to create; with --split a folder", required=True)
    flags.integer("count", 2000, "number of cards; with --split without the canaries")
    flags.integer("seed", 0, "seed of the set of cards, 0 or more")
    flags.string("size", "96x160", "HEIGHTxWIDTH in pixels; a card fills the image")
    flags.strings("languages", ["ja", "en"], "languages of the cards: ja, en")
    flags.integer(
        "processes",
        None,
        "processes that draw in parallel; default: one per core",
        lower_bound=1,
    )
    flags.boolean("split", False, "deal the cards into sets that have no person in common")
    flags.number("holdout", None, "with --split: share of held-out cards; default: 0.1")
    flags.number("reference", None, "with --split: share of reference cards; default: 0.1")
    flags.integer(
        "canaries", None, "with --split: canaries per number of repeats, 1 to 64; default: 16"
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 cards`."""
    values = parse("cards", arguments, define_flags, USAGE)
    size = parse_image_size(values.size)
    if values.split:
        _write_split(values, size)
        return
    for name in _SPLIT_FLAGS:
        if values[name].value is not None:
            raise InputError(f"--{name} is only for --split; add --split, or leave --{name} out")

    from tf_sg2.cards.writing import write_cards

    with signals_as_exceptions():
        out = write_cards(
            values.out, values.count, values.seed, size, tuple(values.languages), values.processes
        )
    print(f"{values.count} cards of {size[0]}x{size[1]} pixels in {out}")


def _write_split(values: FlagValues, size: tuple[int, int]) -> None:
    from tf_sg2.cards.split import Deal, write_split

    options: dict[str, Any] = {
        name: default if values[name].value is None else values[name].value
        for name, default in _SPLIT_FLAGS.items()
    }
    with signals_as_exceptions():
        deal = Deal(values.count, values.seed, size, tuple(values.languages), **options)
        document = write_split(values.out, deal, values.processes)
    for name, found in document["sets"].items():
        print(f"{name}: {found['images']} images of {found['cards']} cards in {found['file']}")
    print(f"{size[0]}x{size[1]} pixels in {values.out}")

"""The command `tf-sg2 cards`: draws a set of dummy business cards into a folder or a zip."""

from __future__ import annotations

from collections.abc import Sequence

from tf_sg2.commands.exit_status import signals_as_exceptions
from tf_sg2.commands.flags import CommandFlags, parse
from tf_sg2.config import parse_image_size

USAGE = """
Draws dummy business cards, Japanese and English. Firms, addresses and numbers on them do not exist.
Personal names are common ones, put together at random.

  tf-sg2 cards --out=cards.zip --count=2000 --seed=1 --size=96x160

Card i of a seed always shows the same texts. Its pixels are also the same with one version of
Pillow, FreeType and the fonts. cards.json, beside the PNGs, holds the texts of each card and their
positions. Training can also draw the same cards as it runs, without any file:

  tf-sg2 train --data=cards:count=2000,seed=1,size=96x160 ...
"""


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    flags.string("out", None, "folder or .zip file to create", required=True)
    flags.integer("count", 2000, "number of cards")
    flags.integer("seed", 0, "seed of the set of cards, 0 or more")
    flags.string("size", "96x160", "HEIGHTxWIDTH in pixels; a card fills the image")
    flags.strings("languages", ["ja", "en"], "languages of the cards: ja, en")
    flags.integer(
        "processes",
        None,
        "processes that draw in parallel; default: one per core",
        lower_bound=1,
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 cards`."""
    values = parse("cards", arguments, define_flags, USAGE)
    size = parse_image_size(values.size)

    from tf_sg2.cards.writing import write_cards

    with signals_as_exceptions():
        out = write_cards(
            values.out, values.count, values.seed, size, tuple(values.languages), values.processes
        )
    print(f"{values.count} cards of {size[0]}x{size[1]} pixels in {out}")

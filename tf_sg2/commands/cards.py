"""`tf-sg2 cards`: draws a set of dummy business cards into a folder or a zip."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags

from tf_sg2.commands import flags as command_line
from tf_sg2.config import parse_image_size
from tf_sg2.errors import InputError

USAGE = """\
tf-sg2 cards: draws dummy business cards, Japanese and English, that lead to nobody.

  tf-sg2 cards --out=cards.zip --count=2000 --seed=1 --size=96x160

Card i of a seed always shows the same texts, and the same pixels with one version of Pillow,
FreeType and the fonts. Beside the PNGs, cards.json holds what is written on each card
and where. Training can also draw the same cards as it goes, without any file:

  tf-sg2 train --data=cards:count=2000,seed=1,size=96x160 ...
"""


def _define_flags(values: flags.FlagValues) -> None:
    flags.DEFINE_string("out", None, "Folder or .zip file to create.", flag_values=values)
    flags.DEFINE_integer("count", 2000, "Number of cards.", flag_values=values)
    flags.DEFINE_integer("seed", 0, "Of the series of cards, 0 or more.", flag_values=values)
    flags.DEFINE_string(
        "size", "96x160", "HEIGHTxWIDTH in pixels; cards fill the image.", flag_values=values
    )
    flags.DEFINE_list(
        "languages", ["ja", "en"], "Languages to draw from: ja, en.", flag_values=values
    )
    flags.DEFINE_integer(
        "processes",
        None,
        "Processes that draw at once (default: one a core).",
        lower_bound=1,
        flag_values=values,
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 cards ARGUMENTS`."""
    values = command_line.parse("cards", arguments, _define_flags, USAGE)
    if not values.out:
        raise InputError("tf-sg2 cards needs --out, the folder or .zip file to create")
    size = parse_image_size(values.size)

    from tf_sg2.cards.writing import write_cards

    with command_line.signals_as_exceptions():
        out = write_cards(
            values.out, values.count, values.seed, size, tuple(values.languages), values.processes
        )
    print(f"{values.count} cards of {size[0]}x{size[1]} pixels in {out}")

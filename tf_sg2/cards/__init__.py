"""Drawn business cards of invented people, Japanese and English, each from a seed and an index.

    card = draw_card(seed=1, index=0, image_size=(96, 160))
    card.image, card.fields["name"], card.boxes["name"]

`tf-sg2 cards` writes them to files. `CardSource` is a data set of them for training.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tf_sg2.cards.card import Card, draw_card
    from tf_sg2.cards.source import CardSource
    from tf_sg2.cards.writing import write_cards

_MODULES = {"Card": "card", "draw_card": "card", "CardSource": "source", "write_cards": "writing"}

__all__ = ["Card", "CardSource", "draw_card", "write_cards"]


def __getattr__(name: str):
    # Loaded at first use: `--help` must not wait for Pillow and NumPy.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)

"""Data sets: readers, conversion, and the input pipeline of training."""

from tf_sg2.data.open import CARDS_PREFIX, kind_of, open_source

__all__ = ["CARDS_PREFIX", "kind_of", "open_source"]

"""Data sets: readers, conversion, and the pipeline that feeds training."""

from tf_sg2.data.open import CARDS_PREFIX, kind_of, open_source

__all__ = ["CARDS_PREFIX", "kind_of", "open_source"]

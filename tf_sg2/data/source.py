"""What every data set offers, whatever it is stored in: images and labels by index."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class ImageSource(Protocol):
    """Images of one size, by index, with or without labels.

    Attributes:
        name: what the user gave: a path or a specification.
        image_size: (height, width) in pixels.
        image_channels: 1 (gray), 3 (RGB) or 4 (RGBA).
        label_dim: length of a label vector; 0 when there are no labels.
    """

    name: str
    image_size: tuple[int, int]
    image_channels: int
    label_dim: int

    def __len__(self) -> int: ...

    def image(self, index: int) -> np.ndarray:
        """Image `index`, uint8 [H, W, C]; safe to call from several threads at once.

        Raises:
            InputError: if the image cannot be read, or differs from the data set's format.
        """
        ...

    def label(self, index: int) -> np.ndarray:
        """Label of image `index`, float32 [label_dim]: one-hot or soft."""
        ...

    def fingerprint(self) -> str:
        """A hex digest that changes when the content changes, and not with time or place.

        Drawn images add in words the libraries that they are drawn with.
        """
        ...

"""The interface of every data set: images and labels by index."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

# The advice of every error about an image that does not fit.
CONVERT_FIRST = "convert the data set with tf-sg2 dataset first"


@runtime_checkable
class ImageSource(Protocol):
    """Images of one size, by index, with or without labels.

    Attributes:
        name: the path or the specification that the user gave.
        image_size: (height, width) in pixels.
        image_channels: 1 (gray), 3 (RGB) or 4 (RGBA).
        label_dim: length of a label vector; 0 when there are no labels.
    """

    name: str
    image_size: tuple[int, int]
    image_channels: int
    label_dim: int

    def __len__(self) -> int:
        """Returns the number of images."""
        ...

    def image(self, index: int) -> np.ndarray:
        """Returns image `index`, uint8 [H, W, C]; thread safe.

        Raises:
            InputError: if the image cannot be read, or has another size or number of channels.
        """
        ...

    def label(self, index: int) -> np.ndarray:
        """Returns the label of image `index`, float32 [label_dim]: one-hot or soft."""
        ...

    def fingerprint(self) -> str:
        """Returns a hexadecimal digest of the content, independent of time and place.

        A source that draws its images adds the names and versions of the drawing libraries.
        """
        ...

"""Data sets that are parts of another one, and the training and held-out parts of a run's data."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from tf_sg2.config import DataConfig
from tf_sg2.data.open import open_source
from tf_sg2.data.source import ImageSource
from tf_sg2.data.split.shares import HOLDOUT, TRAINING, divide
from tf_sg2.errors import InputError


@runtime_checkable
class Divisible(Protocol):
    """A data set whose images have keys."""

    def split_keys(self, group: str) -> list[bytes]:
        """Returns the key of each image.

        Args:
            group: name of the group whose values are the keys; "" takes what identifies an image.

        Raises:
            InputError: if there is no such group.
        """
        ...


class Subset:
    """An `ImageSource` of some images of another one.

    Args:
        source: the whole data set.
        indices: the images, int64 [n].
        name: name of this part in messages.
    """

    def __init__(self, source: ImageSource, indices: np.ndarray, name: str):
        self.name = name
        self.image_size = source.image_size
        self.image_channels = source.image_channels
        self.label_dim = source.label_dim
        self.indices = indices
        self._source = source

    def __len__(self) -> int:
        return len(self.indices)

    def image(self, index: int) -> np.ndarray:
        """Returns image `index` of this part, uint8 [H, W, C]."""
        return self._source.image(int(self.indices[index]))

    def label(self, index: int) -> np.ndarray:
        """Returns the label of image `index` of this part, float32 [label_dim]."""
        return self._source.label(int(self.indices[index]))

    def fingerprint(self) -> str:
        """Returns a digest of the whole data set and of the choice of images.

        What a source adds to its digest, such as the versions of libraries, stays readable.
        """
        whole, space, versions = self._source.fingerprint().partition(" ")
        digest = hashlib.sha256(f"part of {whole}\n".encode())
        digest.update(self.indices.astype("<i8").tobytes())
        return digest.hexdigest() + space + versions


@dataclass(frozen=True)
class Split:
    """The data of a run.

    Attributes:
        training: the images to train on.
        heldout: images that are never trained on; None if nothing is held out.
    """

    training: ImageSource
    heldout: ImageSource | None


def split(source: ImageSource, holdout: float, group: str = "") -> Split:
    """Holds out a share of a data set, by a hash of each image's key.

    The key is the path of the file in a folder or a zip, the checksum of a TFRecord's data, or the
    seed and the index of a drawn card. With a group, all images of one group are on the same side.
    The share holds for a large number of images or groups; a small one may differ.

    Args:
        source: the whole data set.
        holdout: the share in [0, 1); 0 holds out nothing.
        group: a column of `groups.csv`, or "name" or "company" of drawn cards; "" for no groups.

    Raises:
        InputError: if a part is empty, or there is no such group.
    """
    if not holdout:
        return Split(source, None)
    if not isinstance(source, Divisible):
        raise InputError(f"{source.name} has no keys to divide it by; set data.holdout to 0")
    found = divide(source.split_keys(group), {HOLDOUT: holdout})
    for name, verb in ((HOLDOUT, "holds out none"), (TRAINING, "leaves none")):
        if not len(found[name]):
            raise InputError(
                f"data.holdout={holdout:g} {verb} of the {len(source)} images of {source.name}; "
                "give another share or more images" + (" or groups" if group else "")
            )
    return Split(
        Subset(source, found[TRAINING], source.name),
        Subset(source, found[HOLDOUT], f"the held-out part of {source.name}"),
    )


def open_split(
    data: DataConfig,
    image_size: tuple[int, int] | None = None,
    image_channels: int | None = None,
) -> Split:
    """Opens the training images and the held-out images of a configuration.

    Args:
        data: the configuration; its source is not empty.
        image_size: (height, width) that the images must have; None takes the stored size.
        image_channels: 1, 3 or 4; None takes the stored number.

    Raises:
        InputError: if a data set cannot be opened or divided, or the two do not fit together.
    """
    source = open_source(data.source, image_size, image_channels)
    if not data.heldout:
        return split(source, data.holdout, data.group)
    heldout = open_source(data.heldout, source.image_size, source.image_channels)
    if heldout.label_dim != source.label_dim:
        raise InputError(
            f"{heldout.name} has labels of width {heldout.label_dim}, but {source.name} has labels "
            f"of width {source.label_dim}; give held-out images with the same labels"
        )
    return Split(source, heldout)

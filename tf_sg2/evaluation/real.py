"""The real images that something is compared with: a part of a run's data, or a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tf_sg2.config import Config
from tf_sg2.data.open import open_source
from tf_sg2.data.source import ImageSource
from tf_sg2.data.split import open_split
from tf_sg2.errors import InputError
from tf_sg2.evaluation.judged import Judged

PARTS = ("heldout", "training", "all")


@dataclass(frozen=True)
class Real:
    """Real images.

    Attributes:
        source: the images.
        part: which part of a run's data they are, or "given".
        mirrored: whether training mirrors them.
    """

    source: ImageSource
    part: str
    mirrored: bool = False

    @property
    def about(self) -> Mapping[str, Any]:
        """What the recipe of a result says about them."""
        return {"part": self.part, "of": len(self.source)}


def real_of_run(config: Config, part: str | None = None) -> Real:
    """Returns a part of the data of a run.

    Args:
        config: the run's configuration.
        part: one of `PARTS`; None takes the held-out images if there are any, else all.

    Raises:
        InputError: if the run names no data set, it cannot be opened, or nothing is held out.
    """
    generator = config.generator
    if not config.data.source:
        raise InputError("the run names no data set; give the real images with --data")
    data = open_split(config.data, generator.image_size, generator.image_channels)
    if part is None:
        part = "all" if data.heldout is None else "heldout"
    if part == "heldout":
        if data.heldout is None:
            raise InputError(
                "the run holds out no images (data.holdout); give --real=training or --data"
            )
        return Real(data.heldout, part)
    source = data.training
    if part == "all" and config.data.holdout:
        source = open_source(config.data.source, generator.image_size, generator.image_channels)
    return Real(source, part, config.data.mirror)


def real_of_data(path: str, judged: Judged) -> Real:
    """Returns a data set whose images have the size and the channels of those that are judged.

    Raises:
        InputError: if it cannot be opened, or its images have another size or other channels.
    """
    return Real(open_source(path, judged.image_size, judged.image_channels), "given")


def require_labels(real: Real, judged: Judged) -> None:
    """Refuses real images without the labels that a conditional model needs.

    Raises:
        InputError: if the widths of the labels differ.
    """
    if judged.label_dim and real.source.label_dim != judged.label_dim:
        raise InputError(
            f"{judged.name} needs labels of width {judged.label_dim}, and {real.source.name} has "
            f"labels of width {real.source.label_dim}; give the data set that it was trained on"
        )

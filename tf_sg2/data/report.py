"""What a check or a conversion of a data set found and did."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter

from tf_sg2.config.image_size import base_size
from tf_sg2.data import decode, resize
from tf_sg2.data.output import is_records, report_path
from tf_sg2.data.tfrecord import official_levels
from tf_sg2.errors import InputError

_SHOWN = 20


@dataclasses.dataclass
class Report:
    """What a check or a conversion found and did.

    Attributes:
        source: the specification that was read.
        dest: what was written; None for a check.
        image_size: (height, width) of the images.
        image_channels: 1, 3 or 4.
        label_dim: length of a label; 0 without labels.
        encoded: whether the source is image files; TFRecords and cards are pixels.
        images_found: images looked at.
        images_usable: images written, or that would have been.
        treatments: how many images were treated in which way.
        left_out: (name, reason) of every image that was not taken.
        ignored: files that are not images by their suffix.
        origins: the source's name of each image written, in their order.
        files: names of the TFRecord files written, highest resolution first.
    """

    source: str
    dest: str | None
    image_size: tuple[int, int]
    image_channels: int
    label_dim: int = 0
    encoded: bool = True
    images_found: int = 0
    images_usable: int = 0
    treatments: Counter[str] = dataclasses.field(default_factory=Counter)
    left_out: list[tuple[str, str]] = dataclasses.field(default_factory=list)
    ignored: list[str] = dataclasses.field(default_factory=list)
    origins: list[str] = dataclasses.field(default_factory=list)
    files: list[str] = dataclasses.field(default_factory=list)

    @property
    def usable_as_is(self) -> bool:
        """Whether the source can be trained on without a conversion."""
        return not self.obstacles()

    def obstacles(self) -> list[str]:
        """Why the source cannot be trained on without a conversion; [] if it can."""
        found = [str(error) for error in [self._size_error()] if error]
        # Training on image files does what changes no pixel value; of pixels it changes nothing.
        changing = decode.LOSSY | resize.TREATMENTS if self.encoded else set(self.treatments)
        found += [treatment for treatment in self.treatments if treatment in changing]
        if self.left_out:
            found.append(f"{len(self.left_out)} images cannot be used")
        return found

    def to_json(self) -> bytes:
        """The report as JSON in UTF-8; bytes of a file name that are not UTF-8 are escaped."""
        text = json.dumps(vars(self), indent=1, ensure_ascii=False) + "\n"
        return text.encode("utf-8", "backslashreplace")

    def __str__(self) -> str:
        height, width = self.image_size
        verb = "usable" if self.dest is None else f"written to {self.dest}"
        lines = [
            f"{self.source}: {self.images_usable} of {self.images_found} images {verb}, "
            f"{height}x{width} (height x width), {self.image_channels} channels, "
            + (f"labels of length {self.label_dim}" if self.label_dim else "no labels")
        ]
        lines += [f"  {count} {treatment}" for treatment, count in self.treatments.most_common()]
        if self.ignored:
            kinds = Counter(os.path.splitext(name)[1] or "no suffix" for name in self.ignored)
            counts = ", ".join(f"{count} {suffix}" for suffix, count in kinds.most_common())
            lines.append(f"  {len(self.ignored)} files passed over by their suffix: {counts}")
        if self.left_out:
            lines.append(f"  {len(self.left_out)} images left out:")
            shown = self.left_out if self.dest is None else self.left_out[:_SHOWN]
            lines += [f"    {reason}" for _, reason in shown]
            if len(shown) < len(self.left_out):
                rest = len(self.left_out) - len(shown)
                lines.append(f"    ... and {rest} more, listed in {report_path(self.dest)}")
        if self.dest is None:
            reasons = "; ".join(self.obstacles())
            can = f"must be converted first: {reasons}" if reasons else "can be trained on as it is"
            lines.append(f"  The data set {can}.")
        elif is_records(self.dest):
            lines.append(f"  {self._who_reads_the_records()}")
        if self.dest is not None and self._size_error():
            lines.append(f"  No network has this size: {self._size_error()}.")
        return "\n".join(lines)

    def _size_error(self) -> InputError | None:
        try:
            base_size(self.image_size)
        except InputError as error:
            return error
        return None

    def _who_reads_the_records(self) -> str:
        height, width = self.image_size
        if official_levels(self.image_size):
            return (
                f"The levels are {', '.join(self.files)}; in a folder of their own, "
                "the official StyleGAN2 loaders read them too."
            )
        return (
            f"{height}x{width} is not a square power of two: the official StyleGAN2 loaders do "
            "not take these TFRecords, only tf-sg2 reads them."
        )

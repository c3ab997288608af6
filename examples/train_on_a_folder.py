"""Trains on a folder of images that all have one size.

python examples/train_on_a_folder.py photos runs/photos

`tf-sg2 dataset` brings images to one size. Run the same line again to resume. The command
`tf-sg2 train --preset=auto --data=photos --run=runs/photos` does the same.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

import tf_sg2
from tf_sg2.training.loop import train


def train_on_a_folder(folder: str, run: str, changes: Mapping[str, object] | None = None) -> None:
    """Trains with the preset `auto`, whose numbers follow from the image size.

    Args:
        folder: images of one size.
        run: the run directory.
        changes: configuration fields to change, such as {"training.total_kimg": 1000}.
    """
    source = tf_sg2.data.open_source(folder)
    preset = tf_sg2.config.presets.get("auto", source.image_size, source.image_channels)
    fields = {"data.source": folder, "data.mirror": True, **(changes or {})}
    train(tf_sg2.config.override(preset, fields), run)


if __name__ == "__main__":
    train_on_a_folder(*sys.argv[1:])

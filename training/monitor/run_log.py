"""The log of a run: TensorBoard events, `log.jsonl`, picture files and a progress line."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tqdm import tqdm

from tf_sg2 import images as image_values
from tf_sg2.config import Config, to_json
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.runs.lines import forget_lines
from tf_sg2.training.cluster.tf_config import Cluster


class RunLog:
    """Writes the scalars and pictures of a run. TensorBoard's steps are images shown.

    Args:
        run: the run directory.
        config: the run's configuration, which TensorBoard shows as text.
        images_seen: how many images the run has seen. Entries after it are removed.
        progress: whether the terminal gets a progress line.
    """

    def __init__(self, run: RunDirectory, config: Config, images_seen: int, progress: bool = True):
        self.run, self.config = run, config
        self._open(images_seen)
        run.samples.mkdir(exist_ok=True)
        self.bar = tqdm(
            total=config.training.total_kimg,
            initial=images_seen / 1000,
            unit="kimg",
            bar_format="{l_bar}{bar}| {n:.1f}/{total:.1f} kimg [{elapsed}<{remaining}]{postfix}",
            disable=not progress,
            file=sys.stderr,
        )
        with self.writer.as_default(step=images_seen):
            tf.summary.text("config", f"```\n{to_json(config)}```")

    def tick(self, images_seen: int, scalars: Mapping[str, float]) -> None:
        """Writes scalars to TensorBoard and as one line of `log.jsonl`."""
        with self.writer.as_default(step=images_seen):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
        self.writer.flush()
        line = {"kimg": images_seen / 1000, "time": time.time(), **scalars}
        self.jsonl.write(json.dumps(line) + "\n")
        self.jsonl.flush()

    def forget_after(self, images_seen: int) -> None:
        """Removes all entries after `images_seen`, for a run that goes on from there."""
        self.writer.close()
        self.jsonl.close()
        self._open(images_seen)

    def _open(self, images_seen: int) -> None:
        forget_after(self.run, images_seen)
        self.writer = tf.summary.create_file_writer(str(self.run.path))
        self.jsonl = open(self.run.log_path, "a", encoding="utf-8")  # noqa: SIM115 (see `close`)

    def progress(self, images_seen: int, postfix: str) -> None:
        """Moves the progress line."""
        self.bar.set_postfix_str(postfix, refresh=False)
        self.bar.update(min(images_seen / 1000, self.bar.total) - self.bar.n)

    def picture(self, name: str, images: np.ndarray, images_seen: int, columns: int) -> None:
        """Writes uint8 images [N, H, W, C] as one grid, to TensorBoard and to `samples/`.

        The file is NAME_KIMG.png. Images beyond a whole kimg are added as a second number.
        """
        grid = image_values.grid(images, -(-len(images) // columns), columns)
        kimg, rest = divmod(images_seen, 1000)
        suffix = f"{kimg:06d}_{rest:03d}" if rest else f"{kimg:06d}"
        image_values.save_png(self.run.samples / f"{name}_{suffix}.png", grid)
        with self.writer.as_default(step=images_seen):
            tf.summary.image(f"samples/{name}", grid[None])

    def histograms(self, images_seen: int, values: Mapping[str, np.ndarray]) -> None:
        """Writes the distributions of some values to TensorBoard."""
        with self.writer.as_default(step=images_seen):
            for name, some in values.items():
                tf.summary.histogram(name, some)

    def close(self) -> None:
        """Ends the progress line and closes the files."""
        self.bar.close()
        self.writer.close()
        self.jsonl.close()


def say(cluster: Cluster, sentence: str) -> None:
    """Prints a line above the progress line; several workers print their names before it."""
    name = f"{cluster.name(cluster.index)}: " if cluster.size > 1 else ""
    tqdm.write(name + sentence, file=sys.stderr)


def forget_after(run: RunDirectory, images_seen: int) -> None:
    """Removes entries after `images_seen` from TensorBoard's files and from files of JSON lines.

    A process wrote them after its last checkpoint, and a resumed run repeats those iterations.
    An incomplete last line or event is removed too. At 0 the run begins again, and all entries
    are removed.
    """
    last = images_seen or -1
    # The events of a file are in the order of their steps, and each process opened a new file.
    for path in sorted(run.path.glob("events.out.tfevents.*.v2"), reverse=True):
        if _cut_events(path, last):
            break
    for path in (run.log_path, *run.metrics.glob("*.jsonl")):
        forget_lines(path, images_seen)


def _cut_events(path: Path, last: int) -> bool:
    """Cuts off a file's events after step `last`; returns whether summaries are left."""
    left, size = False, path.stat().st_size
    with open(path, "r+b") as file:
        # A record: 8 bytes of length, 4 of checksum, the event, 4 of checksum.
        while (start := file.tell()) < size:
            length = int.from_bytes(file.read(12)[:8], "little")
            if start + length + 16 > size:
                file.truncate(start)
                break
            try:
                event = tf.compat.v1.Event.FromString(file.read(length))
            except DecodeError:
                file.truncate(start)
                break
            file.seek(4, os.SEEK_CUR)
            if event.HasField("summary"):
                if event.step > last:
                    file.truncate(start)
                    break
                left = True
    return left

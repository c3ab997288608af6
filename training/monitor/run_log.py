"""What a run tells: TensorBoard events, `log.jsonl`, sample pictures and a progress line."""

from __future__ import annotations

import json
import os
import resource
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
from tf_sg2.files import new_file
from tf_sg2.latent.seeds import latents, noise_seeds
from tf_sg2.networks.generator import Generator
from tf_sg2.networks.synthesis import to_rgb_outputs
from tf_sg2.runs.directory import RunDirectory

# Samples are generated this many at a time, so that a grid needs no more memory than a step.
SAMPLE_BATCH = 16


class RunLog:
    """Writes the scalars and pictures of one run. Steps of TensorBoard are images shown.

    Args:
        run: where to write.
        config: of the run; shown as text.
        images_seen: where the run stands.
        progress: whether the terminal gets a progress line.
        name: before each sentence, where there are several workers.
    """

    def __init__(
        self,
        run: RunDirectory,
        config: Config,
        images_seen: int,
        progress: bool = True,
        name: str = "",
    ):
        self.run, self.config, self.name = run, config, name
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
        """Writes one tick's scalars to TensorBoard and as a line of `log.jsonl`."""
        with self.writer.as_default(step=images_seen):
            for name, value in scalars.items():
                tf.summary.scalar(name, value)
        self.writer.flush()
        line = {"kimg": images_seen / 1000, "time": time.time(), **scalars}
        self.jsonl.write(json.dumps(line) + "\n")
        self.jsonl.flush()

    def forget_after(self, images_seen: int) -> None:
        """Takes back what was told after `images_seen`, for a run that goes on from there."""
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

    def say(self, sentence: str) -> None:
        """Prints a line above the progress line."""
        self.bar.write(self.name + sentence, file=sys.stderr)

    def picture(self, name: str, images: np.ndarray, images_seen: int, columns: int) -> None:
        """Writes uint8 images [N, H, W, C] as one grid, to TensorBoard and to `samples/`.

        The file is NAME_KIMG.png; where that is no whole kimg, the images beyond it follow.
        """
        grid = image_values.grid(images, -(-len(images) // columns), columns)
        kimg, rest = divmod(images_seen, 1000)
        place = f"{kimg:06d}_{rest:03d}" if rest else f"{kimg:06d}"
        image_values.save_png(self.run.samples / f"{name}_{place}.png", grid)
        with self.writer.as_default(step=images_seen):
            tf.summary.image(f"samples/{name}", grid[None])

    def close(self) -> None:
        """Ends the progress line and closes the files."""
        self.bar.close()
        self.writer.close()
        self.jsonl.close()


class WorkerLog:
    """The log of a worker that is not the chief: its sentences alone.

    Args:
        name: before each.
    """

    def __init__(self, name: str):
        self.name = name

    def say(self, sentence: str) -> None:
        """Prints a line."""
        print(self.name + sentence, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Does nothing: no file is open."""


def forget_after(run: RunDirectory, images_seen: int) -> None:
    """Takes what was told after `images_seen` out of `log.jsonl` and of TensorBoard's files.

    A process wrote it between its last checkpoint and its end, and those iterations will come
    again. A last line or event that was not written whole goes too. At 0 the run begins again,
    and everything goes.
    """
    last = images_seen or -1
    # Each file's events are in the order of their steps, and each process opened a new file.
    for path in sorted(run.path.glob("events.out.tfevents.*.v2"), reverse=True):
        if _cut_events(path, last):
            break
    if not run.log_path.exists():
        return
    kept, lines = [], run.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        try:
            if round(json.loads(line)["kimg"] * 1000) <= last:
                kept.append(line)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue
    if len(kept) < len(lines):
        with new_file(run.log_path) as file:
            file.write("".join(line + "\n" for line in kept).encode())


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


def memory_gib() -> dict[str, float]:
    """Returns the process's peak memory in GiB, and that of each GPU in use."""
    scale = 2**30 if sys.platform == "darwin" else 2**20  # ru_maxrss: bytes there, KiB here.
    found = {"memory/process_peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale}
    for i, device in enumerate(tf.config.list_logical_devices("GPU")):
        info = tf.config.experimental.get_memory_info(device.name.removeprefix("/device:"))
        found[f"memory/gpu{i}_peak_gib"] = info["peak"] / 2**30
    return found


class SampleGrid:
    """Generates the same latents again and again, so that pictures of a run can be compared.

    Args:
        generator: whose images are shown, the EMA one.
        config: of the run.
        labels: float32 [count, label_dim], or None for an unconditional model.
    """

    def __init__(self, generator: Generator, config: Config, labels: np.ndarray | None):
        self.generator, self.config = generator, config
        self.count = config.training.sample_rows * config.training.sample_columns
        seeds = list(range(self.count))
        self.z = latents(seeds, config.generator.z_dim)
        self.noise_seeds = noise_seeds(seeds)
        self.labels = labels
        self._generate = tf.function(self._images, reduce_retracing=True)

    def images(self, truncation_psi: float) -> np.ndarray:
        """Returns uint8 [count, H, W, C]."""
        parts = []
        for start in range(0, self.count, SAMPLE_BATCH):
            rows = slice(start, start + SAMPLE_BATCH)
            labels = None if self.labels is None else tf.constant(self.labels[rows])
            images, _ = self._generate(
                self.z[rows], self.noise_seeds[rows], labels, tf.constant(truncation_psi)
            )
            parts.append(image_values.to_uint8(images))
        return np.concatenate([np.asarray(part) for part in parts])

    def to_rgb_shares(self) -> dict[str, float]:
        """Returns each resolution's share of the output: paper section 4.2 and figure 8.

        The standard deviation, over pixels and samples, of what the level's ToRGB adds, as a
        share of the sum over levels. Empty for architectures with one ToRGB.
        """
        rows = slice(0, SAMPLE_BATCH)
        labels = None if self.labels is None else tf.constant(self.labels[rows])
        _, deviations = self._generate(
            self.z[rows], self.noise_seeds[rows], labels, tf.constant(1.0)
        )
        deviations = np.asarray(deviations)
        if len(deviations) < 2:
            return {}
        squares = [level.square for level in self.config.generator.levels]
        shares = deviations / deviations.sum()
        return {
            f"to_rgb_share/{square:04d}": float(share)
            for square, share in zip(squares, shares, strict=True)
        }

    def _images(self, z, seeds, labels, psi):
        w = self.generator.mapping(z, labels, truncation_psi=psi)
        images = self.generator.synthesis.images(w, "random", seeds)
        added = to_rgb_outputs(images, self.config.generator)
        return images[-1], tf.stack([tf.math.reduce_std(image) for image in added])

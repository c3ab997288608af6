"""Images per second of the data pipeline, beside a plain Pillow decoding loop in one thread.

    python benchmarks/pipeline.py

Both read the same zip of PNGs, in turns, in one process, so the ratios also hold on a busy machine.
A ratio of 1 with one worker means that the pipeline adds no cost to decoding. With two workers and
two free cores, 2 is the ceiling.
"""

from __future__ import annotations

import io
import os
import statistics
import tempfile
import time
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from PIL import Image, ImageFilter

from tf_sg2.data import open_source
from tf_sg2.data.pipeline import batches, iterate

BATCH = 32
ROUNDS = 5
CASES = ((64, 512, 64), (256, 128, 12))  # resolution, images, timed batches per round


def write_zip(path: str, resolution: int, count: int) -> None:
    """Writes smooth random images, which compress about as well as photographs."""
    rng = np.random.default_rng(0)
    with zipfile.ZipFile(path, "w") as archive:
        for index in range(count):
            pixels = rng.integers(0, 256, (resolution, resolution, 3), dtype=np.uint8)
            stream = io.BytesIO()
            Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)).save(stream, format="PNG")
            archive.writestr(f"img{index:08d}.png", stream.getvalue())


def bare_loop(files: list[bytes], count: int) -> float:
    """Returns the images per second of only Pillow."""
    begin = time.perf_counter()
    for index in range(count):
        np.asarray(Image.open(io.BytesIO(files[index % len(files)])).convert("RGB"))
    return count / (time.perf_counter() - begin)


def stream(source, batch_count: int, num_parallel: int) -> float:
    """Returns the images per second of the pipeline, with mirroring, without start-up."""
    iterator = iterate(batches(source, BATCH, seed=0, mirror=True, num_parallel=num_parallel))
    # Batches prefetched before the clock starts balance those prefetched at the end.
    for _ in range(4):
        next(iterator)
    begin = time.perf_counter()
    for _ in range(batch_count):
        next(iterator)
    return batch_count * BATCH / (time.perf_counter() - begin)


def main() -> None:
    """Prints one line per resolution."""
    print(f"{os.cpu_count()} cores, batches of {BATCH}, median of {ROUNDS} paired rounds")
    for resolution, count, batch_count in CASES:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "images.zip")
            write_zip(path, resolution, count)
            source = open_source(path)
            with zipfile.ZipFile(path) as archive:
                files = [archive.read(name) for name in archive.namelist()]
            rounds = [
                (
                    bare_loop(files, batch_count * BATCH),
                    stream(source, batch_count, 1),
                    stream(source, batch_count, 2),
                )
                for _ in range(ROUNDS)
            ]
        bare, one, two = (statistics.median(column) for column in zip(*rounds, strict=True))
        one_ratio = statistics.median(r[1] / r[0] for r in rounds)
        two_ratio = statistics.median(r[2] / r[0] for r in rounds)
        print(
            f"{resolution:4d} px, {len(files[0]) / 1024:.0f} KiB: bare loop {bare:6.0f} images/s, "
            f"1 worker {one:6.0f} (x{one_ratio:.2f}), 2 workers {two:6.0f} (x{two_ratio:.2f})"
        )


if __name__ == "__main__":
    main()

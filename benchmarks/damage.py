"""What distances say about damage of a known kind and size, under the default eye.

    python benchmarks/damage.py --record
    python benchmarks/damage.py --preparations --record

The first command compares drawn cards with other drawn cards, whole and damaged. The second one
shows why the default eye prepares its images as it does: the same distances under other resizes and
normalisations. Features are cached, so a stopped run goes on where it was; `--cache` says where.
"""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
from PIL import Image, ImageFilter

import results
from tf_sg2 import metrics
from tf_sg2.cards import CardSource
from tf_sg2.metrics.evaluator import Images, extract, generated_images
from tf_sg2.metrics.feature_cache import FeatureCache
from tf_sg2.metrics.features.onnx import IMAGENET, OnnxFeatures

SIZE = (48, 80)
SEEDS = 4  # Sets of undamaged cards, for the spread.
TILE = 4
PREPARATION_IMAGES = 500
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

Picture = Callable[[Image.Image], Image.Image]


def each(change: Picture) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that changes each image of uint8 [N, H, W, 3]."""
    return lambda images: np.stack([np.asarray(change(Image.fromarray(x))) for x in images])


def jpeg(image: Image.Image) -> Image.Image:
    """Returns the image after JPEG compression with quality 20."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=20)
    return Image.open(file).convert("RGB")


def noise(images: np.ndarray) -> np.ndarray:
    """Returns images with normal noise of standard deviation 10, rounded."""
    drawn = np.random.default_rng(0).normal(0, 10, images.shape)
    return np.clip(np.round(images + drawn), 0, 255).astype(np.uint8)


def shuffle_tiles(images: np.ndarray) -> np.ndarray:
    """Returns images whose tiles of 4 × 4 pixels have changed places, each image in its own way."""
    count, height, width, channels = images.shape
    tiles = images.reshape(count, height // TILE, TILE, width // TILE, TILE, channels)
    tiles = tiles.transpose(0, 1, 3, 2, 4, 5).reshape(count, -1, TILE, TILE, channels)
    random = np.random.default_rng(0)
    mixed = np.stack([image[random.permutation(len(image))] for image in tiles])
    mixed = mixed.reshape(count, height // TILE, width // TILE, TILE, TILE, channels)
    return mixed.transpose(0, 1, 3, 2, 4, 5).reshape(images.shape)


DAMAGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "blur, half a pixel": each(lambda image: image.filter(ImageFilter.GaussianBlur(0.5))),
    "noise of 10 levels": noise,
    "JPEG, quality 20": each(jpeg),
    "blur, one pixel": each(lambda image: image.filter(ImageFilter.GaussianBlur(1))),
    "tiles of 4 × 4 pixels shuffled": shuffle_tiles,
}


def drawn(seed: int, count: int, layouts: set[str] | None = None) -> np.ndarray:
    """Returns the first cards of a seed, uint8 [count, 48, 80, 3].

    Args:
        seed: of the series.
        count: how many.
        layouts: leaves cards of other layouts out.
    """
    source = CardSource(count=20 * count, seed=seed, image_size=SIZE)
    images: list[np.ndarray] = []
    for index in range(len(source)):
        card = source.card(index)
        if layouts is None or card.layout in layouts:
            images.append(card.image)
        if len(images) == count:
            return np.stack(images)
    raise ValueError(f"only {len(images)} cards have the layouts {layouts}")


def layouts_of(seed: int, count: int) -> list[str]:
    """Returns the layouts of the first cards of a seed, sorted."""
    source = CardSource(count=count, seed=seed, image_size=SIZE)
    return sorted({source.card(index).layout for index in range(count)})


def untrained(count: int) -> np.ndarray:
    """Returns images of a generator that was never trained."""
    from tf_sg2 import Generator, presets

    generator = Generator(presets.get("cards", image_size=SIZE).generator)
    images = generated_images(generator, "untrained", seed=0)
    return np.concatenate([images.read(start, 50) for start in range(0, count, 50)])[:count]


class Eye:
    """Features of a set of images, cached."""

    def __init__(self, eye: OnnxFeatures, cache: FeatureCache, count: int):
        self.eye, self.cache, self.count = eye, cache, count

    def __call__(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """Returns features [count, d] of the images that `make` returns; prints the name."""
        made: list[np.ndarray] = []

        def read(first: int, count: int) -> np.ndarray:
            if not made:
                made.append(make())
            return made[0][first : first + count]

        print(name, flush=True)
        images = Images(read, self.count, f"{name} {self.count} {SIZE}")
        return extract(self.eye, images, self.count, batch_size=16, cache=self.cache)


def damage_table(eye: Eye) -> tuple[list[str], list[list[str]], list[str]]:
    """Returns columns, rows and notes of the table of damage."""
    count = eye.count
    real = eye("real cards", lambda: drawn(1, count))
    clean = [
        eye(f"other cards {seed}", lambda seed=seed: drawn(seed, count))
        for seed in range(2, 2 + SEEDS)
    ]
    layouts = layouts_of(1, count)
    sets = {
        f"1 of {len(layouts)} layouts missing": eye(
            "one missing", lambda: drawn(2, count, set(layouts[1:]))
        ),
        "half of the layouts missing": eye(
            "half missing", lambda: drawn(2, count, set(layouts[::2]))
        ),
    }
    for name, change in DAMAGES.items():
        sets[name] = eye(name, lambda change=change: change(drawn(2, count)))
    sets["untrained generator"] = eye("untrained", lambda: untrained(count))
    order = np.random.RandomState(0).permutation(count)
    halves = real[order[: count // 2]], real[order[count // 2 :]]
    rows = [
        row("two halves of the real cards (floor)", *halves, neighbours=False),
        row("other cards, whole", real, clean[0]),
        *(row(name, real, features) for name, features in sets.items()),
    ]
    spread = metrics.spread_over_seeds(
        lambda seed: metrics.frechet_distance(real, clean[seed]), range(SEEDS)
    )
    notes = [
        f"{count} real cards of {SIZE[0]}x{SIZE[1]} pixels against as many others. A half of the "
        "floor has half as many, so its bias is larger.",
        f"`fd_ppocr` of {SEEDS} sets of other cards: mean {spread.mean:.3g}, standard deviation "
        f"{spread.std:.2g}.",
        "`kd_ppocr` is multiplied by 1,000.",
    ]
    columns = ["Images", "`fd_ppocr`", "`kd_ppocr`", "Precision", "Recall", "Density", "Coverage"]
    return columns, rows, notes


def row(name: str, real: np.ndarray, others: np.ndarray, neighbours: bool = True) -> list[str]:
    """Returns a row of the table: every metric of two sets of features."""
    distance = metrics.frechet_distance(real, others)
    kernel = 1000 * metrics.kernel_distance_of_all(real, others)
    cells = [name, f"{distance:.3g}", f"{kernel:.3g}"]
    if not neighbours:
        return [*cells, "", "", "", ""]
    near = (*metrics.precision_recall(real, others), *metrics.density_coverage(real, others))
    return cells + [f"{value:.2f}" for value in near]


PREPARATIONS = {
    "bilinear, -1 to 1": ("bilinear", HALF),
    "bicubic, -1 to 1": ("bicubic", HALF),
    "bilinear, ImageNet": ("bilinear", IMAGENET),
    "lanczos, ImageNet": ("lanczos", IMAGENET),
    "**bicubic, ImageNet**": ("bicubic", IMAGENET),
}


def preparation_table(cache: FeatureCache) -> tuple[list[str], list[list[str]], list[str]]:
    """Returns columns, rows and notes of the table of the eye's preparations."""
    own = metrics.features.PPOCR()
    names = list(DAMAGES)[:-1]
    rows = []
    for label, (resample, constants) in PREPARATIONS.items():
        network = OnnxFeatures(
            own.path, own.tensor, own.size, *constants, "bgr", name="ppocr", resample=resample
        )
        eye = Eye(network, cache, PREPARATION_IMAGES)
        real = eye("real cards", lambda: drawn(1, PREPARATION_IMAGES))
        others = [eye("other cards 2", lambda: drawn(2, PREPARATION_IMAGES))]
        for name in names:
            change = DAMAGES[name]
            others.append(eye(name, lambda change=change: change(drawn(2, PREPARATION_IMAGES))))
        distances = [metrics.frechet_distance(real, features) for features in others]
        rows.append([label, *(f"{distance:.3g}" for distance in distances)])
        print(rows[-1], flush=True)
    notes = [
        f"`fd_ppocr` of {PREPARATION_IMAGES} cards against as many others; channels are BGR.",
        "The bold row is the one that the eye uses.",
    ]
    return ["Resize and values", "whole", *names], rows, notes


def main() -> None:
    """Prints a table, and writes it into `benchmarks/results/` where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=1000, help="cards per set")
    parser.add_argument("--preparations", action="store_true", help="other resizes and values")
    parser.add_argument(
        "--cache", type=Path, default=Path(tempfile.gettempdir()) / "tf_sg2-damage", help="a folder"
    )
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/*.json")
    arguments = parser.parse_args()
    cache = FeatureCache(arguments.cache)
    if arguments.preparations:
        name, title = "default-eye", "The default eye: preparations of its images"
        columns, rows, notes = preparation_table(cache)
    else:
        name, title = "damage", "Known damage under the default eye"
        eye = Eye(metrics.features.PPOCR(), cache, arguments.images)
        columns, rows, notes = damage_table(eye)
    flag = " --preparations" if arguments.preparations else ""
    command = f"python benchmarks/damage.py{flag}"
    table = results.table_of_now(title, command, columns, rows, notes)
    print(results.to_markdown(table))
    if arguments.record:
        results.write(name, table)


if __name__ == "__main__":
    main()

"""The speed of evaluation: feature extraction, the Fréchet distance, and torch-fidelity's FID.

    python benchmarks/evaluation.py --part=extraction --record
    python benchmarks/evaluation.py --part=distance --record
    python benchmarks/evaluation.py --part=fidelity --weights=pt_inception-2015-12-05-6726825d.pth

Extraction goes from uint8 images to cached rows, as an evaluation does, and takes turns with the
bare network on inputs that are ready. The distance is that of two sets of 2,048 features, beside
SciPy's matrix root of the product of the same covariances. The last part needs PyTorch,
torch-fidelity and the weights of the 2015 Inception graph; without them it says so and ends.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np

import results
from tf_sg2 import metrics
from tf_sg2.metrics.evaluator import Images, extract
from tf_sg2.metrics.feature_cache import FeatureCache
from tf_sg2.metrics.features.onnx import PART_IMAGES
from timing import time_of

WANTED_SHARE = 0.90  # Of the bare network's throughput.
WANTED_SECONDS = 20.0
WIDTH = 2048
EXTRACTED = {"ppocr": (192, 64), "inception": (64, 64)}  # Images, batch size.

Report = tuple[str, list[str], list[list[str]], list[str]]


def in_turns(functions: list[Callable[[], object]], rounds: int) -> list[list[float]]:
    """Returns the wall seconds of each function per round; the first round does not count."""
    found: list[list[float]] = [[] for _ in functions]
    for turn in range(rounds + 1):
        for function, times in zip(functions, found, strict=True):
            seconds, _ = time_of(function)
            if turn:
                times.append(seconds)
    return found


def missed(text: str, good: bool) -> str:
    """Returns the text, bold where a target was missed."""
    return text if good else f"**{text}**"


def untrained_inception() -> metrics.features.Inception:
    """Returns the Inception graph with random weights, which is as fast as a trained one."""
    from tf_sg2.metrics.features import inception
    from tf_sg2.metrics.features.assignment import PARTS

    random = np.random.default_rng(0)
    arrays = {"fc.bias": np.zeros(inception.CLASSES, np.float32)}
    for layer in inception.build().layers:
        for part, weight in zip(PARTS.get(type(layer), ()), layer.weights, strict=False):
            values = np.abs(random.normal(0, 0.05, weight.shape)).astype(np.float32)
            rank = len(weight.shape)
            order = (3, 2, 0, 1) if rank == 4 else tuple(reversed(range(rank)))
            arrays[f"{layer.name}.{part}"] = values.transpose(order)
    return metrics.features.Inception(arrays)


class Pool3:
    """An eye of an Inception network, as `InceptionEye` without its weight file."""

    name = "inception"

    def __init__(self) -> None:
        self.network = untrained_inception()
        self.recipe = {"eye": "untrained inception"}

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Returns features [N, 2048] of uint8 images."""
        return self.network(images)["2048"].numpy()


def bare_ppocr(eye: metrics.features.PPOCR, images: np.ndarray) -> Callable[[], object]:
    """Returns a function that runs only the model of the default eye, on prepared images."""
    inputs = eye.network_input(images)
    parts = [inputs[i : i + PART_IMAGES] for i in range(0, len(inputs), PART_IMAGES)]
    return lambda: [eye.session.run([eye.tensor], {eye.input: part}) for part in parts]


def bare_inception(eye: Pool3, images: np.ndarray) -> Callable[[], object]:
    """Returns a function that runs only the model of Inception, on prepared images."""
    import tensorflow as tf

    from tf_sg2.metrics.features.inception import network_input

    inputs = network_input(tf.constant(images))
    run = tf.function(lambda x: eye.network.model(x, training=False))
    return lambda: run(inputs)["2048"].numpy()


def extraction(rounds: int) -> Report:
    """Measures extraction beside the bare network, in turns."""
    rows = []
    cases = {
        "ppocr": (metrics.features.PPOCR, bare_ppocr, (48, 80)),
        "inception": (Pool3, bare_inception, (64, 64)),
    }
    for name, (make, bare_of, size) in cases.items():
        eye = make()
        count, batch_size = EXTRACTED[name]
        pixels = np.random.default_rng(0).integers(0, 256, [count, *size, 3], np.uint8)
        bare = bare_of(eye, pixels[:batch_size])
        images = Images(lambda first, n, pixels=pixels: pixels[first : first + n], count, "noise")

        def bare_calls(bare=bare, calls=count // batch_size):
            for _ in range(calls):
                bare()

        def whole(eye=eye, images=images, count=count, batch_size=batch_size):
            with tempfile.TemporaryDirectory() as folder:  # Else the second round reads the cache.
                extract(eye, images, count, batch_size, FeatureCache(folder))

        bare_times, whole_times = in_turns([bare_calls, whole], rounds)
        shares = [a / b for a, b in zip(bare_times, whole_times, strict=True)]
        share = statistics.median(shares)
        rows.append(
            [
                f"{name}, {size[0]}x{size[1]}",
                f"{count / statistics.median(bare_times):.1f}",
                f"{count / statistics.median(whole_times):.1f}",
                missed(f"{share:.0%}", share >= WANTED_SHARE),
            ]
        )
    columns = ["Eye, images", "Bare network, images/s", "Extraction, images/s", "Share"]
    notes = [
        f"Median of {rounds} rounds in turns. At least {WANTED_SHARE:.0%} is wanted.",
        "Extraction resizes, normalises, runs the network, checks the rows and caches them.",
        "Inception has random weights here.",
    ]
    return "Feature extraction", columns, rows, notes


def official_distance(real: np.ndarray, generated: np.ndarray) -> float:
    """Returns the distance by SciPy's matrix root, as the official metrics compute it."""
    from scipy.linalg import sqrtm

    (mean_r, cov_r), (mean_g, cov_g) = (
        (x.mean(axis=0), np.cov(x, rowvar=False, bias=True)) for x in (real, generated)
    )
    root = sqrtm(cov_g @ cov_r)
    return float(np.square(mean_r - mean_g).sum() + np.real(np.trace(cov_r + cov_g - 2 * root)))


def correlated(count: int, seed: int) -> np.ndarray:
    """Returns features of falling variance, float32 [count, 2048], as networks give them."""
    random = np.random.default_rng(seed)
    mixing = np.random.default_rng(9).normal(size=(WIDTH, WIDTH)) / np.sqrt(WIDTH)
    scales = np.exp(-np.arange(WIDTH) / 200)
    rows = (random.normal(size=(count, WIDTH)) * scales) @ mixing + 0.01 * seed
    return rows.astype(np.float32)


def distance(count: int) -> Report:
    """Measures the Fréchet distance and its official formula once each, on the same features."""
    real, generated = correlated(count, 1), correlated(count, 2)
    found, rows = [], []
    for name, function in (
        ("`frechet_distance`", metrics.frechet_distance),
        ("SciPy's matrix root", official_distance),
    ):
        begin = time.perf_counter()
        value = function(real.astype(np.float64), generated.astype(np.float64))
        seconds = time.perf_counter() - begin
        found.append(value)
        good = len(found) > 1 or seconds <= WANTED_SECONDS
        rows.append([name, missed(f"{seconds:.1f} s", good), f"{value:.9g}"])
        print(rows[-1], flush=True)
    columns = ["2,048 features", "Time", "Distance"]
    apart = abs(found[0] - found[1]) / found[1]
    notes = [
        f"Two sets of {count} rows, from features to the distance, once each in one process.",
        f"The two distances differ by {apart:.1e}, relative.",
        f"At most {WANTED_SECONDS:.0f} s on two cores is wanted of the first one.",
    ]
    return "The Fréchet distance", columns, rows, notes


def fidelity(weights: Path | None, count: int) -> Report:
    """Measures FID of 64x64 images beside torch-fidelity, with the same weights."""
    absent = [name for name in ("torch", "torch_fidelity") if not importlib.util.find_spec(name)]
    if absent or weights is None:
        lacking = f"{' and '.join(absent)} cannot be imported" if absent else "--weights is missing"
        sys.exit(f"FID beside torch-fidelity was not measured: {lacking}.")
    import torch
    import torch_fidelity

    real, generated = (
        np.random.default_rng(seed).integers(0, 256, [count, 64, 64, 3], np.uint8)
        for seed in (1, 2)
    )
    begin = time.perf_counter()
    eye = metrics.features.InceptionEye(weights)
    rows = [
        extract(eye, Images(lambda first, n, x=x: x[first : first + n], count, ""), count)
        for x in (real, generated)
    ]
    ours = metrics.frechet_distance(*rows)
    our_seconds = time.perf_counter() - begin

    class Pictures(torch.utils.data.Dataset):
        def __init__(self, pixels):
            self.pixels = pixels

        def __len__(self):
            return len(self.pixels)

        def __getitem__(self, index):
            return torch.from_numpy(self.pixels[index].transpose(2, 0, 1))

    begin = time.perf_counter()
    theirs = torch_fidelity.calculate_metrics(
        input1=Pictures(real),
        input2=Pictures(generated),
        fid=True,
        cuda=torch.cuda.is_available(),
        cache=False,
        feature_extractor_weights_path=str(weights),
    )["frechet_inception_distance"]
    their_seconds = time.perf_counter() - begin
    ratio = their_seconds / our_seconds
    table = [
        ["tf_sg2", f"{our_seconds:.0f} s", f"{ours:.6g}", missed(f"{ratio:.2f}", ratio >= 1)],
        ["torch-fidelity", f"{their_seconds:.0f} s", f"{theirs:.6g}", ""],
    ]
    notes = [f"FID of {count} against {count} random images of 64x64, weights loaded."]
    return "FID beside torch-fidelity", ["Program", "Time", "FID", "Speed"], table, notes


def main() -> None:
    """Prints the table of a part, and writes it into `benchmarks/results/` where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("extraction", "distance", "fidelity"), required=True)
    parser.add_argument("--rounds", type=int, default=5, help="of extraction")
    parser.add_argument("--rows", type=int, default=5000, help="features per set of the distance")
    parser.add_argument("--images", type=int, default=10_000, help="images per set of fidelity")
    parser.add_argument("--weights", type=Path, help="the 2015 Inception graph, for fidelity")
    parser.add_argument("--record", action="store_true", help="write benchmarks/results/*.json")
    arguments = parser.parse_args()
    if arguments.part == "extraction":
        report = extraction(arguments.rounds)
    elif arguments.part == "distance":
        report = distance(arguments.rows)
    else:
        report = fidelity(arguments.weights, arguments.images)
    title, columns, rows, notes = report
    command = f"python benchmarks/evaluation.py --part={arguments.part}"
    table = results.table_of_now(title, command, columns, rows, notes)
    print(results.to_markdown(table))
    if arguments.record:
        results.write(f"evaluation-{arguments.part}", table)


if __name__ == "__main__":
    main()

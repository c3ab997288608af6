"""The native 3x3 convolution beside TensorFlow's: each shape of the networks, and whole networks.

    python benchmarks/convolutions.py --repeats=5              # every shape, all three passes
    python benchmarks/convolutions.py --networks --repeats=5   # inference and training iterations

Everything runs in one process and in turns, so other load slows both implementations equally.
Ratios are medians over pairs of neighbouring runs. The shapes are those of config-e at 64x64 and
256x256, of the preset cards, and of networks for 48x80 and 96x160 images. Each is computed by the
native op even if the rule of `tf_sg2.ops.conv2d_tiles` leaves it to TensorFlow; such rows are
marked. The ceiling is TensorFlow's best rate over all shapes: direct convolution is as fast as the
processor multiplies. With --networks, both sides use the native filters and activations, so the
ratio shows the convolution only.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import tensorflow as tf

from networks import configuration
from ops import training_passes
from tf_sg2.config import Config, presets
from tf_sg2.networks.generator import Generator
from tf_sg2.ops import conv2d_tiles, native, use_implementation
from timing import time_of

# Channels (from this on): wanted speed-up of each pass.
WANTED = ((512, 3.0), (128, 2.5), (64, 1.8), (32, 1.3), (0, 1.0))
# Seconds of one turn at least: small convolutions are repeated.
TURN = 0.02

Shape = tuple[int, int, int, int]  # Batch, height, width, channels.


def shapes() -> dict[Shape, str]:
    """Returns the shapes of the stride-1 convolutions, each with the network that has it."""
    cards = presets.get("cards")
    sized = {
        "cards": (cards, cards.training.batch_size),
        "config-e 64x64": (configuration(64, 8), 8),
        "config-e 256x256": (configuration(256, 4), 4),
        "cards 48x80": (presets.get("cards", image_size=(48, 80)), 8),
        "cards 96x160": (presets.get("cards", image_size=(96, 160)), 8),
    }
    found: dict[Shape, str] = {}
    for name, (config, batch) in sized.items():
        for level in config.generator.levels:
            found.setdefault((batch, level.height, level.width, level.channels), name)
    return found


def passes(shape: Shape) -> dict[str, tuple[Callable, Callable, int | None]]:
    """Returns TensorFlow's and the native function of each pass, and the tile of the rule."""
    batch, height, width, channels = shape
    x = tf.random.normal([batch, height, width, channels])
    dy = tf.random.normal(x.shape)
    weight = tf.random.normal([3, 3, channels, channels])
    tile = conv2d_tiles.tile_for(x.shape, weight.shape)
    forced = tile or (4 if min(height, width) >= 8 else 2)
    same = {"strides": [1] * 4, "padding": "SAME"}
    return {
        "forward": (
            lambda: tf.nn.conv2d(x, weight, 1, "SAME"),
            lambda: native.conv2d(x, weight, forced),
            tile,
        ),
        "gradient by x": (
            lambda: tf.raw_ops.Conv2DBackpropInput(
                input_sizes=x.shape, filter=weight, out_backprop=dy, **same
            ),
            lambda: native.conv2d(dy, weight, forced, turned=True),
            tile,
        ),
        "gradient by weight": (
            lambda: tf.raw_ops.Conv2DBackpropFilter(
                input=x, filter_sizes=weight.shape, out_backprop=dy, **same
            ),
            lambda: native.conv2d_filter_gradient(x, dy),
            tile,
        ),
    }


def pairs(first: Callable, second: Callable, repeats: int) -> tuple[float, float, float]:
    """Returns the median seconds of both, and the median of the ratios first / second."""
    for run in (first, second):
        run()
    times = max(1, round(TURN / time_of(first)[0]))

    def turn(run):
        def repeated():
            for _ in range(times):
                run()

        return time_of(repeated)[0] / times

    measured = [(turn(first), turn(second)) for _ in range(repeats)]
    ratio = statistics.median(a / b for a, b in measured)
    return (*(statistics.median(column) for column in zip(*measured, strict=True)), ratio)


def print_shapes(repeats: int) -> None:
    """Prints one line per shape: TensorFlow's rate, and the speed-up of each pass."""
    rows, best = [], 0.0
    for shape, name in shapes().items():
        batch, height, width, channels = shape
        operations = 2 * batch * height * width * 9 * channels * channels
        wanted = next(least for from_, least in WANTED if channels >= from_)
        cells, tile = [], None
        for first, second, tile in passes(shape).values():
            seconds, _, ratio = pairs(first, second, repeats)
            best = max(best, operations / seconds / 1e9)
            cells.append(f"{ratio:.2f}x{'' if ratio >= wanted or tile is None else ' missed'}")
            if len(cells) == 1:
                cells.insert(0, f"{operations / seconds / 1e9:.0f}")
        size = f"{batch}x{height}x{width}x{channels}"
        left = "TensorFlow" if tile is None else f"{tile}x{tile} tiles"
        rows.append((size, name, left, *cells, f"{wanted:.1f}x"))
        print(" | ".join(rows[-1]), flush=True)
    print(f"ceiling: {best:.0f} GFLOP/s")


@contextlib.contextmanager
def without_native_convolution() -> Iterator[None]:
    """Leaves every convolution that is traced in the block to TensorFlow."""
    known, conv2d_tiles.MINIMUM_CHANNELS = conv2d_tiles.MINIMUM_CHANNELS, 1 << 30
    try:
        yield
    finally:
        conv2d_tiles.MINIMUM_CHANNELS = known


def inference(config: Config, batch: int) -> Callable[[], object]:
    """Returns a traced function that makes images from z."""
    z = tf.random.normal([batch, config.generator.z_dim])
    concrete = tf.function(Generator(config.generator)).get_concrete_function(z)
    return lambda: concrete(z)


def print_networks(repeats: int) -> None:
    """Prints the speed-up of inference and of whole training iterations."""
    for name, config, wanted in (
        ("config-e 64x64, batch 8", configuration(64, 8), 1.7),
        ("preset cards", presets.get("cards"), 1.4),
    ):
        batch = config.training.batch_size
        with use_implementation("native"):
            with without_native_convolution():
                old, old_passes = inference(config, batch), training_passes(config, "native")
            new, new_passes = inference(config, batch), training_passes(config, "native")
        before, after, ratio = pairs(old, new, repeats)
        print(
            f"inference, {name} | {before * 1e3:.0f} ms | {after * 1e3:.0f} ms | {ratio:.2f}x",
            flush=True,
        )
        before = after = 0.0
        for (old, interval), (new, _) in zip(old_passes, new_passes, strict=True):
            times = pairs(old, new, repeats)
            before, after = before + times[0] / interval, after + times[1] / interval
        ratio = before / after
        print(
            f"iteration, {name} | {before * 1e3:.0f} ms | {after * 1e3:.0f} ms | {ratio:.2f}x | "
            f"wanted {wanted}x{'' if ratio >= wanted else ' missed'}",
            flush=True,
        )


def main() -> None:
    """Prints the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="rounds; more are steadier")
    parser.add_argument("--networks", action="store_true", help="whole networks, not shapes")
    flags = parser.parse_args()
    print(f"{os.cpu_count()} cores, TensorFlow {tf.__version__}, {flags.repeats} rounds")
    (print_networks if flags.networks else print_shapes)(flags.repeats)


if __name__ == "__main__":
    main()

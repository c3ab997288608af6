"""Inference and a training iteration as shares of the machine's ceiling.

    python benchmarks/networks.py --size=64 --batch=8 --repeats=3

The ceiling is the best rate of a plain 3x3 convolution, forward, over the shapes of the networks.
It is measured in the same process, in turns with everything else, so the ratios also hold on a
machine with other load. The shares are medians over pairs of a run and the neighbouring runs of the
ceiling, by wall time ("ceiling") and by processor time ("processor"). A rate counts only
convolutions, at two operations per multiply-add. The counts come from the traced graphs of the
timed functions, with backward and second-order convolutions; all other work is overhead. A training
iteration is the sum of the passes of the real step, each divided by its interval. Peak memory is
that of a fresh process that makes and runs one function.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import tensorflow as tf

from tf_sg2.config import Config, presets
from tf_sg2.inspect.multiply_adds import count
from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator
from tf_sg2.training.state import create_state
from tf_sg2.training.step import TrainStep
from timing import in_turns, others_share, peak_memory, time_of

WANTED = {"inference": 0.85, "iteration": 0.60}


@dataclasses.dataclass(frozen=True)
class Work:
    """A function to time; `operations` are the floating-point operations of its convolutions."""

    name: str
    run: Callable[[], object]
    operations: int


def configuration(size: int, batch: int) -> Config:
    """Returns config E, with channel_base 16384, at this size and batch."""
    config = presets.get("config-e", image_size=(size, size))
    return dataclasses.replace(
        config, training=dataclasses.replace(config.training, batch_size=batch)
    )


def _work(name: str, function: Any, *inputs: tf.Tensor) -> Work:
    """Returns the work of a `tf.function`."""
    concrete = function.get_concrete_function(*inputs)
    return Work(name, lambda: function(*inputs), 2 * count(concrete).convolution)


def generator_work(size: int, batch: int) -> Work:
    """Returns inference from z, with random noise."""
    config = configuration(size, batch).generator
    z = tf.random.normal([batch, config.z_dim])
    return _work(f"generator {size}x{size}, inference", tf.function(Generator(config)), z)


def discriminator_work(size: int, batch: int) -> Work:
    """Returns the scores of a batch."""
    config = configuration(size, batch).discriminator
    images = tf.random.normal([batch, *config.image_size, config.image_channels])
    function = tf.function(Discriminator(config))
    return _work(f"discriminator {size}x{size}, forward", function, images)


def training_work(size: int, batch: int) -> dict[str, tuple[Work, int]]:
    """Returns the passes of the training step by name, each with its interval in iterations."""
    config = configuration(size, batch)
    strategy = tf.distribute.get_strategy()
    step = TrainStep(create_state(config, strategy), config, strategy)
    shape = [batch, size, size, 3]
    inputs = (
        tf.range(batch, dtype=tf.int64),
        tf.cast(tf.random.uniform(shape, 0, 256, tf.int32), tf.uint8),
        tf.zeros([batch, 0]),
    )
    training = config.training
    return {
        "generator": (_work("training: generator", step.generator_main, *inputs), 1),
        "path length": (
            _work("training: path length", step.generator_regularize, *inputs),
            training.path_length_interval,
        ),
        "discriminator": (_work("training: discriminator", step.discriminator_main, *inputs), 1),
        "R1": (
            _work("training: R1", step.discriminator_regularize, *inputs),
            training.r1_interval,
        ),
        "average": (_work("training: average (EMA)", step.average), 1),
    }


def ceiling(size: int, batch: int, seconds: float = 0.15) -> Work:
    """Returns the fastest 3x3 convolution over the shapes of the networks, forward, stride 1."""
    found = []
    for level in configuration(size, batch).generator.levels:
        x = tf.random.normal([batch, level.height, level.width, level.channels])
        weight = tf.random.normal([3, 3, level.channels, level.channels])
        convolve = tf.function(lambda x, weight: tf.nn.conv2d(x, weight, 1, "SAME"))
        one = _work(f"{level.height}x{level.width}x{level.channels}", convolve, x, weight)
        one.run()
        estimate = time_of(one.run)[0]
        times = max(1, round(seconds / estimate))
        best = min(time_of(one.run)[0] for _ in range(times))
        found.append((one.operations / best, one, times))
    _rate, work, times = max(found, key=lambda entry: entry[0])

    def run():
        for _ in range(times):
            work.run()

    return Work(work.name, run, times * work.operations)


def print_peak_memory(name: str, size: int, batch: int) -> None:
    """Makes and runs one work twice, and prints the peak memory; for a fresh process."""
    if name.startswith("generator "):
        work = generator_work(int(name.split()[1]), batch)
    elif name.startswith("discriminator "):
        work = discriminator_work(int(name.split()[1]), batch)
    else:  # A training run holds all passes in memory.
        works = [work for work, _ in training_work(size, batch).values()]
        for work in works:
            work.run()
        work = works[0]
    work.run()
    print(peak_memory())


def memory_of(name: str, size: int, batch: int) -> float:
    """Returns the GiB that a fresh process needs for one work."""
    command = [sys.executable, __file__, f"--size={size}", f"--batch={batch}", f"--alone={name}"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return int(output.split()[-1]) / 2**30


def main() -> None:
    """Prints one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64, help="image size of training")
    parser.add_argument("--batch", type=int, default=8, help="images per batch")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; more are steadier")
    parser.add_argument("--inference_only", action="store_true", help="leave training out")
    parser.add_argument("--no_memory", action="store_true", help="leave the peak memory out")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    size, batch = flags.size, flags.batch
    if flags.alone:
        print_peak_memory(flags.alone, size, batch)
        return

    best = ceiling(size, batch)
    print(
        f"{os.cpu_count()} cores, TensorFlow {tf.__version__}, batch {batch}, {flags.repeats} "
        f"rounds in turns with the ceiling, a 3x3 convolution at {best.name}"
    )
    inference = {
        f"generator {size}": generator_work(size, batch),
        "generator 256": generator_work(256, batch),
        f"discriminator {size}": discriminator_work(size, batch),
    }
    passes = {} if flags.inference_only else training_work(size, batch)
    works = [*inference.values(), *(work for work, _ in passes.values())]
    _, since = others_share((0.0, 0.0))
    timings = in_turns([work.run for work in works], best.run, flags.repeats)
    others, _ = others_share(since)
    timed = {work.name: timing for work, timing in zip(works, timings, strict=True)}

    def show(name, seconds, median, operations, shares, memory_name=None):
        memory = ""
        if memory_name and not flags.no_memory:
            memory = f"{memory_of(memory_name, size, batch):.2f}"
        columns = "".join(f"{share:11.1%}" for share in shares)
        print(
            f"{name:<34}{seconds * 1e3:9.0f}{median * 1e3:9.0f}"
            f"{operations / seconds / 1e9:9.1f}{columns}{memory:>10}",
            flush=True,
        )

    def shares_of(work):
        """Returns the shares of the ceiling's rate by wall time and by processor time."""
        scale = work.operations / best.operations
        return [scale / timed[work.name].in_yardsticks(kind) for kind in (0, 1)]

    print(
        f"{'':<34}{'best ms':>9}{'median':>9}{'GFLOP/s':>9}{'ceiling':>11}{'processor':>11}"
        f"{'peak GiB':>10}"
    )
    walls = [wall for timing in timings for wall, _ in timing.yardstick]
    show("ceiling", min(walls), statistics.median(walls), best.operations, (1, 1))
    for key, work in inference.items():
        timing = timed[work.name]
        show(work.name, timing.best, timing.median, work.operations, shares_of(work), key)
    if passes:
        for work, interval in passes.values():
            timing = timed[work.name]
            name = work.name + (f", every {interval}th" if interval > 1 else "")
            show(name, timing.best, timing.median, work.operations, shares_of(work))
        _show_iteration(passes, timed, best, show, f"training iteration {size}x{size}", batch)
    print(
        f"wanted: {WANTED['inference']:.0%} of the ceiling for inference, "
        f"{WANTED['iteration']:.0%} for the iteration; other programs used {others:.0%} of the "
        "processors meanwhile"
    )


def _show_iteration(passes, timed, best, show, name, batch):
    def amortised(value_of):
        return sum(value_of(work) / interval for work, interval in passes.values())

    needed = amortised(lambda work: work.operations)
    taken = [amortised(lambda work, k=k: getattr(timed[work.name], k)) for k in ("best", "median")]
    shares = [
        needed / best.operations / amortised(lambda work, k=k: timed[work.name].in_yardsticks(k))
        for k in (0, 1)
    ]
    show(name, *taken, needed, shares, "training")
    print(f"that is {batch / taken[1]:.2f} images/s")


if __name__ == "__main__":
    main()

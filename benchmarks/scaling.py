"""How training scales: tables of `scaling_model`, and a measurement on a CPU.

    python benchmarks/scaling.py                       # all of it, about four minutes
    python benchmarks/scaling.py --preset=paper512 --accelerator=a100 --no_measure
    python benchmarks/scaling.py --no_model --repeats=10

The measurement is the overhead of two replicas (`cpu:2`, MirroredStrategy) over one device at the
same global batch. Every pass of the real step, with the distribution of its inputs, runs in turns
with the same pass on one device, in one process. Ratios are medians over pairs of neighbouring
runs, by wall time and by processor time. An iteration is the sum of its passes, each divided by its
interval. Two replicas on a CPU share its cores, so the overhead is the cost of distribution:
inputs, collectives, smaller batches.
"""

from __future__ import annotations

import argparse
import dataclasses
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import scaling_model
from scaling_model import CLUSTERS, NVLINK, Cluster, expected, simulate
from tf_sg2 import InputError
from tf_sg2.config import Config, presets
from tf_sg2.training.run.batch import check_batch

GPUS = (1, 2, 4, 8, 16, 32, 64)
WANTED = 0.15
# Jitter of a pass on a GPU, and stalls: one pass in a thousand takes a tenth of a second longer.
JITTER, STALL_PROBABILITY, STALL_SECONDS = 0.03, 0.001, 0.1

# Seconds per 1,000 images, published with "Training Generative Adversarial Networks with Limited
# Data" for its configuration `auto` on V100 in half precision. The numbers are the middles of the
# published ranges for 1, 2, 4 and 8 GPUs. The batch follows from the configuration's formula.
PUBLISHED_AUTO = {
    256: (22.9, 11.5, 5.75, 4.95),
    512: (73.7, 38.85, 18.9, 9.6),
    1024: (157.95, 83.4, 40.45, 20.4),
}
# A V100 in half precision: arithmetic is assumed to reach 40% of the data sheet's 125 TFLOP/s. The
# rate of elements then follows from 1024x1024 on one GPU. The host's time follows from 128x128,
# where more GPUs do not help.
HALF = scaling_model.Accelerator("V100, half", 50e12, 13.4e9, host_seconds=0.07)
# From the StyleGAN2 paper: days of config F at 1024x1024, 25,000 kimg, float32, on 1 and 8 V100;
# and images per second on 8 V100 for config E and F.
PUBLISHED_DAYS = {1: 69 + 23 / 24, 8: 9 + 18 / 24}
PUBLISHED_SPEED = {"config-e": 61.0, "config-f": 31.0}


def table(title: str, columns: list[str], rows: list[tuple[str, list[str]]]) -> None:
    """Prints a table: a name and a column of cells each."""
    print(f"\n{title}")
    width = max(len(name) for name, _ in rows) + 2
    cells = [max(9, len(column) + 2) for column in columns]
    print(" " * width + "".join(f"{c:>{w}}" for c, w in zip(columns, cells, strict=True)))
    for name, values in rows:
        line = "".join(f"{value:>{w}}" for value, w in zip(values, cells, strict=True))
        print(f"{name:<{width}}{line}", flush=True)


def percent(value: float) -> str:
    """Returns a share as text."""
    return f"{value:.1%}"


def starts(config: Config, gpus: int) -> bool:
    """Returns whether the batch of `config` can be split over this many GPUs."""
    try:
        check_batch(config, gpus)
    except InputError:
        return False
    return True


def work_table(passes_of: dict[str, tuple]) -> None:
    """Prints the arithmetic and the traffic of each preset."""
    rows = []
    for name, passes in passes_of.items():
        config = presets.get(name)
        height, width = config.generator.image_size
        operations = scaling_model.operations_per_image(passes)
        size = scaling_model.bytes_per_iteration(passes)
        main = scaling_model.bytes_per_iteration(scaling_model.without_regularizers(passes))
        batch = config.training.batch_size
        rows.append(
            (
                f"{name} {height}x{width}",
                [
                    str(batch),
                    f"{operations / 1e9:.1f}",
                    f"{size / 1e6:.1f}",
                    f"{(size - main) / 1e6:.1f}",
                    f"{operations * batch / size:.0f}",
                ],
            )
        )
    columns = ["batch", "GFLOP/image", "MB/iteration", "lazy part", "FLOP/byte"]
    table("What an iteration computes and sends, lazy passes amortised", columns, rows)


def efficiency_tables(name: str, passes: tuple, accelerator: scaling_model.Accelerator) -> None:
    """Prints the efficiency of 1 to 64 GPUs at the preset's batch and at 4 images per GPU."""
    config = presets.get(name)
    batch = config.training.batch_size
    for title, images_of in (
        (
            f"the preset's batch of {batch}",
            lambda gpus: batch / gpus if starts(config, gpus) else None,
        ),
        ("4 images per GPU", lambda gpus: 4),
    ):
        rows = []
        for cluster in CLUSTERS:
            cells = []
            for gpus in GPUS:
                images = images_of(gpus)
                if images is None:
                    cells.append("-")
                    continue
                parts = max(1, round(images / 4))  # At most four images at a time.
                timing = expected(passes, images, gpus, accelerator, cluster, parts)
                cells.append(percent(scaling_model.efficiency(timing, passes, images, accelerator)))
            label = cluster.name if cluster.between is not NVLINK else "NVLink, one domain"
            rows.append((label, cells))
        columns = [f"{gpus} GPU" for gpus in GPUS]
        table(f"{name} on {accelerator.name}, efficiency at {title}", columns, rows)


def variation_table(name: str, passes: tuple, accelerator: scaling_model.Accelerator) -> None:
    """Prints how lazy terms, accumulation, overlap and jitter change the efficiency of 64 GPUs."""
    noisy = {
        "jitter": JITTER,
        "stall_probability": STALL_PROBABILITY,
        "stall_seconds": STALL_SECONDS,
        "iterations": 256,
    }
    buckets = {"bucket_bytes": 25e6}
    cases: list[tuple[str, tuple, int, dict]] = [
        ("as configured: lazy terms, one all-reduce per pass", passes, 1, {}),
        ("no regularisers", scaling_model.without_regularizers(passes), 1, {}),
        ("regularisers in every iteration", scaling_model.every_iteration(passes), 1, {}),
        ("2 accumulation steps, twice the batch", passes, 2, {}),
        ("8 accumulation steps, eight times the batch", passes, 8, {}),
        ("sent in 25 MB buckets while computing", passes, 1, buckets),
        (f"jitter of {JITTER:.0%}, stalls", passes, 1, noisy),
        ("both", passes, 1, {**buckets, **noisy}),
    ]
    clusters = [Cluster(64, NVLINK, NVLINK), *CLUSTERS[1:]]
    rows = []
    for label, entries, parts, options in cases:
        cells = []
        for cluster in clusters:
            timing = simulate(entries, 4 * parts, 64, accelerator, cluster, parts, **options)
            cells.append(percent(scaling_model.efficiency(timing, entries, 4 * parts, accelerator)))
        rows.append((label, cells))
    columns = ["NVLink", *(cluster.name for cluster in clusters[1:])]
    table(f"{name} on 64 x {accelerator.name}, 4 images at a time, with variations", columns, rows)


def days_table(passes_of: dict[str, tuple]) -> None:
    """Prints the days of a whole run of each preset, to choose the count of GPUs."""
    for accelerator in scaling_model.ACCELERATORS.values():
        rows = []
        for name, passes in passes_of.items():
            config = presets.get(name)
            training = config.training
            cells = []
            for gpus in GPUS:
                if not starts(config, gpus):
                    cells.append("-")
                    continue
                images = training.batch_size / gpus
                parts = max(1, round(images / 4))
                cluster = Cluster(8, NVLINK, scaling_model.FAST)
                timing = expected(passes, images, gpus, accelerator, cluster, parts)
                cells.append(f"{scaling_model.days(training.total_kimg, timing, images, gpus):.1f}")
            rows.append((f"{name}, {training.total_kimg:,.0f} kimg", cells))
        columns = [f"{gpus} GPU" for gpus in GPUS]
        table(f"Days of a run on {accelerator.name}, 8 per machine, 100 Gb/s", columns, rows)


def published_tables() -> None:
    """Prints the model beside published times. Those of one GPU are its input."""
    dgx = Cluster(8, dataclasses.replace(NVLINK, bandwidth=130e9), NVLINK)
    passes = scaling_model.training_passes(presets.get("config-f"))
    v100 = scaling_model.ACCELERATORS["v100"]
    rows = []
    for gpus, published in PUBLISHED_DAYS.items():
        timing = expected(passes, 32 / gpus, gpus, v100, dgx, 8 // gpus)
        predicted = scaling_model.days(25000, timing, 32 / gpus, gpus)
        rows.append((f"config-f, {gpus} GPU, days", _compared(predicted, published)))
    for name, published in PUBLISHED_SPEED.items():
        passes = scaling_model.training_passes(presets.get(name))
        timing = expected(passes, 4, 8, v100, dgx)
        rows.append((f"{name}, 8 GPU, images/s", _compared(32 / timing.total, published)))
    for resolution, seconds in PUBLISHED_AUTO.items():
        for gpus, published in zip((1, 2, 4, 8), seconds, strict=True):
            config = presets.get("auto", (resolution, resolution), replicas=gpus)
            images = config.training.batch_size / gpus
            passes = scaling_model.training_passes(config)
            timing = expected(passes, images, gpus, HALF, dgx)
            predicted = timing.total / (images * gpus) * 1000
            rows.append((f"auto {resolution}, {gpus} GPU, s/kimg", _compared(predicted, published)))
    table(
        "Against published V100 times (config-f and auto 1024 on one GPU are inputs of the model)",
        ["model", "published", "error"],
        rows,
    )


def _compared(predicted: float, published: float) -> list[str]:
    return [f"{predicted:.2f}", f"{published:.2f}", f"{predicted / published - 1:+.1%}"]


def measure(name: str, size: int, channel_base: int, batch: int, repeats: int) -> float:
    """Prints the overhead of two replicas over one per pass; returns that of an iteration."""
    import tensorflow as tf

    from tf_sg2 import config as configs
    from tf_sg2.training.run.devices import choose_strategy, deal
    from tf_sg2.training.state import create_state
    from tf_sg2.training.step import TrainStep
    from timing import in_turns, others_share

    two = choose_strategy("cpu:2")  # Splits the CPU; must come before TensorFlow is used.
    config = configs.override(
        presets.get(name, (size, size)),
        {
            "training.batch_size": batch,
            "generator.channel_base": channel_base,
            "discriminator.channel_base": channel_base,
            "generator.channel_max": channel_base // 16,
            "discriminator.channel_max": channel_base // 16,
            "discriminator.minibatch_stddev_group": min(4, batch // 2),
        },
    )
    training = config.training
    inputs = (
        tf.range(batch, dtype=tf.int64),
        tf.cast(tf.random.uniform([batch, size, size, 3], 0, 256, tf.int32), tf.uint8),
        tf.zeros([batch, 0]),
    )

    def passes(strategy):
        step = TrainStep(create_state(config, strategy), config, strategy)

        def run(function):
            # Reading one scalar waits for the pass.
            return lambda: [v.numpy() for v in function(*deal(strategy, inputs)).values()]

        return {
            "generator": run(step.generator_main),
            "path length": run(step.generator_regularize),
            "discriminator": run(step.discriminator_main),
            "R1": run(step.discriminator_regularize),
            "average (EMA)": step.average,
        }

    one, both = passes(tf.distribute.OneDeviceStrategy("/cpu:0")), passes(two)
    intervals = {"path length": training.path_length_interval, "R1": training.r1_interval}
    print(
        f"\nTwo replicas against one: {name} networks at {size}x{size}, channel_base "
        f"{channel_base}, global batch {batch}, {os.cpu_count()} cores, "
        f"TensorFlow {tf.__version__}, {repeats} rounds in turns"
    )
    _, since = others_share((0.0, 0.0))
    rows, taken = [], {}
    for entry, function in both.items():
        (timing,) = in_turns([function], one[entry], repeats)
        single = sorted(wall for wall, _ in timing.yardstick)[len(timing.yardstick) // 2]
        ratios = [timing.in_yardsticks(kind) for kind in (0, 1)]
        taken[entry] = (single / intervals.get(entry, 1), ratios)
        rows.append(
            (
                entry + (f", every {intervals[entry]}th" if entry in intervals else ""),
                [f"{single * 1e3:.0f}", f"{timing.median * 1e3:.0f}"]
                + [f"{ratio - 1:+.1%}" for ratio in ratios],
            )
        )
    whole = sum(single for single, _ in taken.values())
    overheads = [
        sum(single * ratios[kind] for single, ratios in taken.values()) / whole - 1
        for kind in (0, 1)
    ]
    rows.append(("iteration", [f"{whole * 1e3:.0f}", ""] + [f"{o:+.1%}" for o in overheads]))
    table("", ["one, ms", "two, ms", "wall", "processor"], rows)
    others, _ = others_share(since)
    print(f"wanted: under {WANTED:.0%} by wall time; other programs used {others:.0%} meanwhile")
    return overheads[0]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--preset", action="append", choices=presets.names(), help="may be repeated"
    )
    parser.add_argument("--accelerator", choices=scaling_model.ACCELERATORS, default="v100")
    parser.add_argument(
        "--tflops", type=float, help="sustained TFLOP/s; replaces the accelerator's"
    )
    parser.add_argument(
        "--gelements", type=float, help="1e9 elements/s; replaces the accelerator's"
    )
    parser.add_argument("--no_model", action="store_true", help="leave the model out")
    parser.add_argument("--no_measure", action="store_true", help="leave the measurement out")
    parser.add_argument("--measure_preset", default="config-e", choices=presets.names())
    parser.add_argument("--size", type=int, default=64, help="image size of the measurement")
    parser.add_argument(
        "--channels", type=int, default=4096, help="channel_base of the measurement"
    )
    parser.add_argument("--batch", type=int, default=8, help="global batch of the measurement")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of the measurement")
    flags = parser.parse_args()
    if not flags.no_measure:
        measure(flags.measure_preset, flags.size, flags.channels, flags.batch, flags.repeats)
    if flags.no_model:
        return
    accelerator = scaling_model.ACCELERATORS[flags.accelerator]
    if flags.tflops or flags.gelements:
        accelerator = dataclasses.replace(
            accelerator,
            name=f"{accelerator.name}, changed",
            flops=(flags.tflops or accelerator.flops / 1e12) * 1e12,
            elements=(flags.gelements or accelerator.elements / 1e9) * 1e9,
        )
    names = flags.preset or [name for name in presets.names() if name != "auto"]
    passes_of = {name: scaling_model.training_passes(presets.get(name)) for name in names}
    work_table(passes_of)
    for name, passes in passes_of.items():
        efficiency_tables(name, passes, accelerator)
    for name, passes in passes_of.items():
        if name in ("config-f", "paper256") or flags.preset:
            variation_table(name, passes, accelerator)
    days_table(passes_of)
    published_tables()


if __name__ == "__main__":
    main()

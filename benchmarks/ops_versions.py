"""Two builds of the native ops in pairs: what a change of the C++ sources costs or gains.

    python benchmarks/ops_versions.py OLD.so NEW.so --pairs=3
    python benchmarks/ops_versions.py OLD.so NEW.so --target=avx2

Each build runs in processes of its own, old and new in turns, so other load meets both. A case's
time is the median of its calls. A case's ratio is the median over the pairs of new to old: above 1,
the new build is slower. A line is the geometric mean over the cases of a group.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

TYPES = ("float16", "bfloat16", "float32", "float64")
# Name: (batch, size, channels), a level of config-f and the image itself.
SHAPES = {"128 channels": (1, 256, 128), "3 channels": (4, 256, 3)}


def cases() -> Iterator[tuple[str, Callable[[], object]]]:
    """Yields the group and the function of each case, which runs the native op once."""
    import numpy as np
    import tensorflow as tf

    from ops import KERNEL, RESAMPLING
    from tf_sg2.ops import bias_act, upfirdn2d

    random = np.random.default_rng(0)

    def draw(dtype, *shape):
        return tf.cast(random.normal(size=shape).astype(np.float32), dtype)

    def epilogue(x, scale, noise, bias):
        # Swish, because its second derivative is not zero.
        return bias_act(x, bias, "swish", scale=scale, noise=noise)

    def first(dy, *inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = epilogue(*inputs)
        return tape.gradient(y, inputs, dy)

    def second(dy, *inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            dx = first(dy, *inputs)[0]
        return tape.gradient(dx, inputs, dy)

    for dtype in TYPES:
        for shape, (batch, size, channels) in SHAPES.items():
            for name, (up, down, padding, _) in RESAMPLING.items():
                x = draw(dtype, batch, size // up, size // up, channels)

                def resample(x, up=up, down=down, padding=padding):
                    return upfirdn2d(x, KERNEL, up=up, down=down, padding=padding, gain=up**2)

                yield f"{name}, {dtype}, {shape}", _traced(tf, resample, x)
            x, dy = (draw(dtype, batch, size, size, channels) for _ in range(2))
            rest = draw(dtype, batch, channels), draw(dtype, batch, size, size)
            inputs = (x, *rest, draw(dtype, channels))
            yield f"bias_act, {dtype}, {shape}", _traced(tf, epilogue, *inputs)
            yield f"bias_act first derivative, {dtype}, {shape}", _traced(tf, first, dy, *inputs)
            yield f"bias_act second derivative, {dtype}, {shape}", _traced(tf, second, dy, *inputs)


def _traced(tf, function: Callable, *inputs) -> Callable[[], object]:
    from tf_sg2.ops import use_implementation

    with use_implementation("native"):
        concrete = tf.function(function).get_concrete_function(*inputs)
    return lambda: concrete(*inputs)


def measure(calls: int, only: str) -> dict[str, float]:
    """Returns the median milliseconds of each case with the build of this process."""
    from timing import time_of

    times = {}
    for name, run in cases():
        if only in name:
            run()
            times[name] = 1e3 * statistics.median(time_of(run)[0] for _ in range(calls))
    return times


def in_process(library: str, target: str, calls: int, only: str) -> dict[str, float]:
    """Runs `measure` in a process of its own, with a build and at most a target."""
    settings = {"TF_SG2_OPS_LIBRARY": library} | ({"TF_SG2_CPU": target} if target else {})
    command = [sys.executable, __file__, library, library, f"--calls={calls}", f"--only={only}"]
    result = subprocess.run(
        [*command, "--measure"],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(result.stdout.splitlines()[-1])


def main() -> None:
    """Prints one line per case: both times, and the ratio of new to old."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", help="library of the earlier sources")
    parser.add_argument("new", help="library of the later sources")
    parser.add_argument("--pairs", type=int, default=3, help="processes per library")
    parser.add_argument("--calls", type=int, default=9, help="calls per case and process")
    parser.add_argument("--target", default="", help="base or avx2: limits the instruction set")
    parser.add_argument("--only", default="", help="only cases whose name contains this text")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.measure:
        print(json.dumps(measure(flags.calls, flags.only)))
        return
    pairs = []
    for i in range(flags.pairs):
        order = (flags.old, flags.new) if i % 2 == 0 else (flags.new, flags.old)
        times = {
            library: in_process(library, flags.target, flags.calls, flags.only) for library in order
        }
        pairs.append((times[flags.old], times[flags.new]))
    ratios: dict[str, float] = {}
    for name in pairs[0][0]:
        old, new = (statistics.median(pair[i][name] for pair in pairs) for i in range(2))
        ratios[name] = statistics.median(pair[1][name] / pair[0][name] for pair in pairs)
        print(f"{name:<60}{old:9.2f} ms old{new:9.2f} ms new{ratios[name]:7.2f}x")
    print("\nGeometric means of new to old")
    operations = dict.fromkeys(name.split(",")[0] for name in ratios)
    for operation in operations:
        for dtype in TYPES:
            found = [r for n, r in ratios.items() if n.startswith(f"{operation}, {dtype}")]
            if found:
                print(f"{operation + ', ' + dtype:<60}{statistics.geometric_mean(found):7.2f}x")


if __name__ == "__main__":
    main()

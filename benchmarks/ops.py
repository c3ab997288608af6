"""The native ops beside their TensorFlow implementation, PyTorch, and the memory bandwidth.

    python benchmarks/ops.py --repeats=7
    python benchmarks/ops.py --iterations            # whole training iterations, native and not

Everything runs in one process, in turns with a copy of 256 MiB, the yardstick, so other load slows
all of it equally. GB/s count bytes read once and written once. "of copy" is the native op's share
of the copy's rate, as a median over pairs. One turn of a small op is several calls on different
inputs, which together exceed the caches. The shapes are those of config-f at 256x256 and 1024x1024,
where these ops take the largest share. PyTorch's column appears where it is installed.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import os
import threading
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import tensorflow as tf

from networks import configuration
from tf_sg2.config import presets
from tf_sg2.ops import bias_act, resample_kernel, upfirdn2d, use_implementation
from tf_sg2.training.state import create_state
from tf_sg2.training.step import TrainStep
from timing import in_turns

try:
    import torch
except ImportError:
    torch = None

KERNEL = resample_kernel((1, 3, 3, 1))
COPY_BYTES = 256 << 20
# Total size of the inputs of one turn: small inputs must come from memory too, not from caches.
TURN_BYTES = 64 << 20
# Operation: (up, down, padding, (wanted speed-up over TensorFlow, wanted share of the copy)).
RESAMPLING = {
    "upfirdn2d 1/1": (1, 1, (2, 1, 2, 1), (2.0, 0.60)),
    "upfirdn2d up 2": (2, 1, (2, 1, 2, 1), (3.0, 0.60)),
    "upfirdn2d down 2": (1, 2, (1, 1, 1, 1), (2.0, 0.60)),
}
EPILOGUE_WANTED = (3.0, 0.75)
# Name: (batch, size, channels) of the larger side; 256 and 1024 are config-f's top levels, 3 the
# image itself.
SHAPES = {"256": (4, 256, 128), "1024": (1, 1024, 32), "image": (4, 256, 3)}


@dataclasses.dataclass
class Case:
    """One operation at one shape: its implementations, their traffic, and the targets.

    Args:
        name: for the table.
        calls: calls per turn.
        moved: bytes that one call reads and writes.
        native: one turn of the native implementation.
        tensorflow: one turn of the TensorFlow implementation.
        torch: one turn of PyTorch; None without it.
        wanted: wanted speed-up over TensorFlow, and wanted share of the copy's rate.
    """

    name: str
    calls: int
    moved: int
    native: Callable[[], object]
    tensorflow: Callable[[], object]
    torch: Callable[[], object] | None
    wanted: tuple[float, float]


def copier() -> Callable[[], None]:
    """Returns a function that copies `COPY_BYTES` on all cores with the C library's memcpy."""
    source, target = (np.ones(COPY_BYTES, np.uint8) for _ in range(2))
    memcpy, parts = ctypes.CDLL(None).memcpy, os.cpu_count() or 1
    size = COPY_BYTES // parts

    def part(i: int) -> None:
        ends = (array.ctypes.data + i * size for array in (target, source))
        memcpy(*map(ctypes.c_void_p, ends), ctypes.c_size_t(size))

    def run() -> None:
        threads = [threading.Thread(target=part, args=(i,)) for i in range(parts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


def _traced(implementation: str, function: Callable, *inputs: tf.Tensor) -> Callable[[], object]:
    with use_implementation(implementation):
        concrete = tf.function(function).get_concrete_function(*inputs)
    return lambda: concrete(*inputs)


def _one_by_one(function: Callable) -> Callable:
    """Returns a function that calls `function` for each of its inputs, one after the other.

    TensorFlow's dependency optimizer would remove all calls but the last, so `main` disables it.
    """

    def turn(*inputs):
        done = []
        for x in inputs:
            with tf.control_dependencies(done):
                y = function(x)
            done = [y]
        return y

    return turn


def _torch_resampling(inputs, up: int, down: int, padding) -> Callable[[], object] | None:
    if torch is None:
        return None
    inputs = [torch.from_numpy(x.numpy()).permute(0, 3, 1, 2) for x in inputs]  # Channels last.
    channels = inputs[0].shape[1]
    weight = torch.from_numpy(KERNEL * up**2).expand(channels, 1, 4, 4).contiguous()
    top, bottom, left, right = padding

    def resample(x):
        with torch.no_grad():
            if up > 1:
                y = torch.nn.functional.conv_transpose2d(x, weight, stride=up, groups=channels)
                return y[:, :, 1:-1, 1:-1]
            padded = torch.nn.functional.pad(x, (left, right, top, bottom))
            return torch.nn.functional.conv2d(padded, weight, stride=down, groups=channels)

    def run():
        for x in inputs:
            resample(x)

    return run


def _torch_epilogue(x, scale, noise, bias) -> Callable[[], object] | None:
    if torch is None:
        return None
    x = torch.from_numpy(np.moveaxis(x, 3, 1)).contiguous(memory_format=torch.channels_last)
    scale, noise, bias = map(torch.from_numpy, (scale, noise, bias))

    def run():
        with torch.no_grad():
            y = x * scale[:, :, None, None] + noise[:, None] + bias[None, :, None, None]
            return torch.nn.functional.leaky_relu(y, 0.2).mul_(2**0.5).clamp_(-256, 256)

    return run


def resampling_case(operation: str, shape: str) -> Case:
    """Returns an `upfirdn2d` whose larger side has the size of the shape."""
    up, down, padding, wanted = RESAMPLING[operation]
    batch, size, channels = SHAPES[shape]
    x = np.random.default_rng(0).normal(size=(batch, size // up, size // up, channels))
    x = x.astype(np.float32)
    inputs = [tf.constant(x) for _ in range(max(1, TURN_BYTES // x.nbytes))]

    def function(x):
        return upfirdn2d(x, KERNEL, up=up, down=down, padding=padding, gain=up**2)

    turn = _one_by_one(function)
    return Case(
        name=f"{operation}, {batch}x{size}x{size}x{channels}",
        calls=len(inputs),
        moved=4 * batch * channels * ((size // up) ** 2 + (size // down) ** 2),
        native=_traced("native", turn, *inputs),
        tensorflow=_traced("tensorflow", turn, *inputs),
        torch=_torch_resampling(inputs, up, down, padding),
        wanted=wanted,
    )


def epilogue_cases(shape: str) -> list[Case]:
    """Returns demodulation, noise, bias, leaky ReLU, gain and clamp: forward, and gradient."""
    batch, size, channels = SHAPES[shape]
    random = np.random.default_rng(0)
    x, dy = (random.normal(size=(batch, size, size, channels)).astype("float32") for _ in range(2))
    scale = random.normal(size=(batch, channels)).astype("float32")
    noise = random.normal(size=(batch, size, size)).astype("float32")
    bias = random.normal(size=channels).astype("float32")
    inputs = [tf.constant(value) for value in (x, scale, noise, bias)]
    dy = tf.constant(dy)

    def forward(x, scale, noise, bias):
        return bias_act(x, bias, "lrelu", scale=scale, noise=noise, clamp=256.0)

    def gradient(dy, *inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            y = forward(*inputs)
        return tape.gradient(y, inputs, dy)

    name = f"{batch}x{size}x{size}x{channels}"
    return [
        Case(
            name=f"epilogue, {name}",
            calls=1,
            moved=2 * x.nbytes,
            native=_traced("native", forward, *inputs),
            tensorflow=_traced("tensorflow", forward, *inputs),
            torch=_torch_epilogue(x, scale, noise, bias),
            wanted=EPILOGUE_WANTED,
        ),
        Case(
            name=f"epilogue's gradient, {name}",
            calls=1,
            moved=3 * x.nbytes,
            native=_traced("native", gradient, dy, *inputs),
            tensorflow=_traced("tensorflow", gradient, dy, *inputs),
            torch=None,
            wanted=EPILOGUE_WANTED,
        ),
    ]


def print_cases(cases: list[Case], repeats: int) -> None:
    """Measures the cases, and prints one line per case."""
    copy = copier()
    print(
        f"{os.cpu_count()} cores, TensorFlow {tf.__version__}, "
        f"PyTorch {torch.__version__ if torch else 'not installed'}, {repeats} rounds"
    )
    head = ("native ms", "GB/s", "copy GB/s", "of copy", "TensorFlow", "PyTorch", "wanted")
    print(f"{'':<40}" + "".join(f"{text:>15}" for text in head))
    for case in cases:
        others = [case.tensorflow, *([case.torch] if case.torch else [])]
        native, *rest = in_turns([case.native, *others], copy, repeats)
        moved = case.calls * case.moved
        rate = moved / native.median / 1e9
        copied = [wall for wall, _ in native.yardstick]
        copy_rate = 2 * COPY_BYTES / float(np.median(copied)) / 1e9
        share = moved / (2 * COPY_BYTES) / native.in_yardsticks(0)
        times = [timing.in_yardsticks(0) / native.in_yardsticks(0) for timing in rest]
        met = times[0] >= case.wanted[0] and share >= case.wanted[1]
        columns = [
            f"{native.median / case.calls * 1e3:.2f}",
            f"{rate:.1f}",
            f"{copy_rate:.1f}",
            f"{share:.0%}",
            f"{times[0]:.1f}x",
            f"{times[1]:.1f}x" if len(times) > 1 else "-",
            f"{case.wanted[0]:.0f}x {case.wanted[1]:.0%}{'' if met else ' missed'}",
        ]
        print(f"{case.name:<40}" + "".join(f"{text:>15}" for text in columns), flush=True)


def training_passes(config, implementation: str) -> list[tuple[Callable[[], object], int]]:
    """Returns the passes of a training step, each with its interval in iterations."""
    strategy = tf.distribute.get_strategy()
    batch = config.training.batch_size
    generator = config.generator
    shape = [batch, *generator.image_size, generator.image_channels]
    inputs = (
        tf.range(batch, dtype=tf.int64),
        tf.cast(tf.random.uniform(shape, 0, 256, tf.int32), tf.uint8),
        tf.zeros([batch, 0]),
    )
    with use_implementation(implementation):
        step = TrainStep(create_state(config, strategy), config, strategy)
        passes = [
            (lambda: step.generator_main(*inputs), 1),
            (lambda: step.generator_regularize(*inputs), config.training.path_length_interval),
            (lambda: step.discriminator_main(*inputs), 1),
            (lambda: step.discriminator_regularize(*inputs), config.training.r1_interval),
            (step.average, 1),
        ]
        passes = [(run, interval) for run, interval in passes if interval]
        for run, _ in passes:
            run()  # The first call traces it, with this implementation.
    return passes


def print_iterations(repeats: int) -> None:
    """Prints the time of a training iteration with each implementation."""
    copy = copier()
    cards = presets.get("cards", image_size=(32, 56))
    for name, config in (
        ("64x64, channel_base 16384, batch 8", configuration(64, 8)),
        ("256x256, channel_base 16384, batch 4", configuration(256, 4)),
        ("preset cards, 32x56, batch 8", cards),
    ):
        seconds = {}
        passes = {kind: training_passes(config, kind) for kind in ("native", "tensorflow")}
        runs = [run for kind in passes for run, _ in passes[kind]]
        timings = iter(in_turns(runs, copy, repeats))
        for kind, made in passes.items():
            seconds[kind] = sum(next(timings).median / interval for _, interval in made)
        ratio = seconds["tensorflow"] / seconds["native"]
        print(
            f"iteration, {name:<40}{seconds['native'] * 1e3:9.0f} ms native"
            f"{seconds['tensorflow'] * 1e3:9.0f} ms TensorFlow{ratio:7.2f}x"
            f"   wanted 1.2x{'' if ratio >= 1.2 else ' missed'}",
            flush=True,
        )


def main() -> None:
    """Prints the measurements."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="rounds; more are steadier")
    parser.add_argument("--iterations", action="store_true", help="whole training iterations")
    flags = parser.parse_args()
    if flags.iterations:
        print_iterations(flags.repeats)
        return
    tf.config.optimizer.set_experimental_options({"dependency_optimization": False})
    cases = [resampling_case(operation, shape) for operation in RESAMPLING for shape in SHAPES]
    for shape in ("256", "1024"):
        cases += epilogue_cases(shape)
    print_cases(cases, flags.repeats)


if __name__ == "__main__":
    main()

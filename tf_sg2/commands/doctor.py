"""The command `tf-sg2 doctor`: a table of versions, devices and op implementations."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence

from tf_sg2.commands.flags import parse
from tf_sg2.networks.precision import use_tf32

USAGE = """
Prints a table of versions, devices, the compiler and CUDA. It also shows which implementation
upfirdn2d, bias_act and conv2d use, and why. Attach the table to a problem report.

  tf-sg2 doctor
"""

# Packages whose versions matter for a problem report.
PACKAGES = ("keras", "numpy", "pillow", "scipy", "tensorboard", "tensorflow-serving-api")


def report() -> list[tuple[str, str]]:
    """Returns the rows of the table: (name, value)."""
    import tensorflow as tf

    import tf_sg2

    rows = [
        ("tf_sg2", tf_sg2.__version__),
        ("Python", f"{platform.python_version()} ({sys.executable})"),
        ("system", f"{platform.system()} {platform.release()} {platform.machine()}"),
        (
            "TensorFlow",
            f"{tf.__version__} ({'with' if tf.test.is_built_with_cuda() else 'without'} CUDA)",
        ),
        *((name, _version(name)) for name in PACKAGES),
        ("CPU", f"{_processor()}, {_threads()} threads"),
    ]
    devices = tf.config.list_physical_devices("GPU")
    for i, device in enumerate(devices):
        details = tf.config.experimental.get_device_details(device)
        rows.append((f"GPU {i}", str(details.get("device_name", device.name))))
    if not devices:
        rows.append(("GPU", "none that TensorFlow sees"))
    on = tf.config.experimental.tensor_float_32_execution_enabled()
    rows.append(("TF32", f"{'on' if on else 'off'}; a run with training.tf32 switches it on"))
    return [*rows, *_native_ops(), *_tools()]


def _native_ops() -> list[tuple[str, str]]:
    """Returns the rows about the ops: which implementation each uses, and why."""
    from tf_sg2.custom_ops import loader
    from tf_sg2.ops import current_implementation
    from tf_sg2.ops.implementation import native_missing

    name, reason = current_implementation(), native_missing()
    why = reason or "it is built for this TensorFlow"
    if reason:
        why += f"; build it with `{loader.COMMAND}`"
    rows = [(op, f"{name}: {why}") for op in ("upfirdn2d", "bias_act", "conv2d")]
    loaded = loader.load()
    if loaded.build is None:
        return [*rows, ("native build", "none")]
    kernels = f"CPU kernels for {loaded.instruction_set}" if loaded.ops else "not loaded"
    if loaded.build.cuda:
        kernels += "; CUDA kernels (unverified: they have not run on a GPU yet)"
    else:
        kernels += "; no CUDA kernels"
    return [*rows, ("native build", f"{loaded.build.library} ({kernels})")]


def _tools() -> list[tuple[str, str]]:
    """Returns the rows about the compilers and the driver."""
    from tf_sg2.custom_ops import build

    try:
        compiler = _first_line([*build.compiler(), "--version"])
    except build.NoCompilerError as error:
        compiler = str(error)
    nvcc = build.cuda_compiler()
    cuda = _last_line([nvcc, "--version"]) if nvcc else "no nvcc"
    driver = shutil.which("nvidia-smi")
    query = ["--query-gpu=driver_version", "--format=csv,noheader"]
    return [
        ("C++ compiler", compiler),
        ("CUDA compiler", cuda),
        ("NVIDIA driver", _first_line([driver, *query]) if driver else "no nvidia-smi"),
    ]


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            ]
        return names[0] if names else platform.processor()
    except OSError:
        return platform.processor() or "unknown"


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _lines(command: list[str]) -> list[str]:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"{command[0]} does not run: {error}"]
    return (result.stdout or result.stderr).strip().splitlines() or ["no output"]


def _first_line(command: list[str]) -> str:
    return _lines(command)[0]


def _last_line(command: list[str]) -> str:
    return _lines(command)[-1]


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 doctor`."""
    parse("doctor", arguments, lambda flags: None, USAGE)
    use_tf32(False)
    rows = report()
    width = max(len(name) for name, _ in rows)
    print("\n".join(f"{name:<{width}}  {value}" for name, value in rows))

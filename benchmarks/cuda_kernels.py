"""The C interface of the CUDA kernels for ctypes, without TensorFlow and without the package."""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Mapping
from pathlib import Path

SOURCES = Path(__file__).resolve().parents[1] / "custom_ops"


TERMS = ("x", "scale", "noise", "bias")


class TfSg2Upfirdn2d(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int32),
        *((name, ctypes.c_int64) for name in ("batch", "in_height", "in_width", "channels")),
        *((name, ctypes.c_int64) for name in ("out_height", "out_width")),
        *((name, ctypes.c_int32) for name in ("up_rows", "up_columns")),
        *((name, ctypes.c_int32) for name in ("down_rows", "down_columns")),
        *((name, ctypes.c_int64) for name in ("pad_top", "pad_left")),
        *((name, ctypes.c_int32) for name in ("kernel_rows", "kernel_columns")),
    ]


class TfSg2BiasAct(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int32) for name in ("type", "activation")),
        *((name, ctypes.c_int64) for name in ("batch", "pixels", "channels", "noise_batch")),
        *((name, ctypes.c_double) for name in ("alpha", "gain", "clamp")),
    ]


class FourPointers(ctypes.Structure):
    """TfSg2BiasActPoint, TfSg2BiasActGradient and TfSg2BiasActCotangent."""

    _fields_ = [(name, ctypes.c_void_p) for name in TERMS]


def four_pointers(addresses: Mapping[str, int | None]) -> FourPointers:
    """Returns the addresses of x, scale, noise and bias; null for absent ones."""
    return FourPointers(*(addresses.get(name) for name in TERMS))


def build_with_nvcc(nvcc: str, architecture: str, library: Path) -> ctypes.CDLL:
    """Compiles the kernels for one architecture, such as "sm_90", and loads them."""
    sources = map(str, sorted(SOURCES.glob("*/*.cu")))
    subprocess.run(
        [
            *(nvcc, "-std=c++17", "-O3", f"-arch={architecture}", "-shared"),
            *("-Xcompiler=-fPIC,-fvisibility=hidden", *sources, "-o", str(library)),
        ],
        check=True,
    )
    loaded = ctypes.CDLL(str(library))
    loaded.tf_sg2_bias_act_cuda_partials.restype = ctypes.c_size_t
    return loaded

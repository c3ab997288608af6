"""The CUDA kernels' sources, compiled for an emulated device, and compared with oracles.

`benchmarks/ops_cuda.py` checks and times them on a machine with a GPU.
"""

import ctypes
import itertools
import os
import subprocess

import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import oracles
from checkout import ROOT
from cuda_kernels import TfSg2BiasAct, TfSg2Upfirdn2d, four_pointers
from native_ops import require_native
from tf_sg2.custom_ops import build
from tf_sg2.ops import ACTIVATIONS, bias_act, use_implementation

pytestmark = pytest.mark.slow

EMULATION = ROOT / "tests" / "support" / "cuda_emulation"
# In the order of TfSg2Type.
TYPES = [np.float16, ml_dtypes.bfloat16, np.float32, np.float64]
TOLERANCES = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-12}
PIXELS = 1100  # 18 pieces of 64, the last one not full.


def pointer(array):
    return None if array is None else array.ctypes.data


def tensors(arrays):
    return four_pointers({name: pointer(array) for name, array in arrays.items()})


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    require_native()
    library = tmp_path_factory.mktemp("emulation") / "kernels.so"
    sources = [*sorted(build.SOURCES.glob("*/*.cu")), EMULATION / "controls.cc"]
    subprocess.run(
        [
            *(*build.compiler(), "-std=c++17", "-O1", "-fPIC", "-shared"),
            # Some members of a thread's state are arrays, which are filled later.
            *("-Wall", "-Wextra", "-Werror"),
            *("-Wno-unknown-pragmas", "-Wno-missing-field-initializers"),
            *("-fsanitize=bounds,signed-integer-overflow", "-fno-sanitize-recover"),
            *(f"-I{EMULATION}", "-x", "c++"),
            *(*map(str, sources), "-o", str(library)),
        ],
        check=True,
    )
    loaded = ctypes.CDLL(str(library))
    loaded.tf_sg2_bias_act_cuda_partials.restype = ctypes.c_size_t
    return loaded


@pytest.fixture(params=["", "backwards, 3 blocks"])
def emulated(device, request):
    device.cuda_emulation_set(bool(request.param), 3 if request.param else 0)
    return device


def random(rng, dtype, *shape):
    return rng.standard_normal(shape).astype(dtype)


def on_grid(rng, dtype, *shape):
    """Numbers whose sums and products are exact, so that all precisions agree on signs."""
    return (np.clip(np.round(rng.standard_normal(shape) * 16), -63, 63) / 16).astype(dtype)


def assert_near(ours, theirs, dtype):
    theirs = np.asarray(theirs, np.float64)
    error = np.abs(np.asarray(ours, np.float64).reshape(theirs.shape) - theirs)
    scale = max(np.abs(theirs).max(initial=0), 1e-3)
    assert error.max(initial=0) <= TOLERANCES[np.dtype(dtype).name] * scale


def upfirdn2d(device, x, kernel, up, down, padding, dtype):
    sizes = [
        (size * u + before + after - taps) // d + 1
        for size, u, d, taps, before, after in zip(
            x.shape[1:3], up, down, kernel.shape, padding[::2], padding[1::2], strict=True
        )
    ]
    y = np.full((x.shape[0], *sizes, x.shape[3]), 77, dtype)
    shape = TfSg2Upfirdn2d(
        *(TYPES.index(dtype), *x.shape, *sizes, *up, *down, padding[0], padding[2], *kernel.shape)
    )
    kernel = np.ascontiguousarray(kernel)
    arguments = (ctypes.byref(shape), *map(ctypes.c_void_p, map(pointer, (kernel, x, y))), None)
    assert device.tf_sg2_upfirdn2d_cuda(*arguments) == 0
    return y


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize(("up", "down"), [(1, 1), (2, 1), (1, 2)])
def test_tiled_filters_equal_scipy(emulated, up, down, dtype):
    rng = np.random.default_rng(up + 2 * down)
    # More rows and columns than a tile's, in both directions; more packs than a tile's lanes.
    x = random(rng, dtype, 2, 19, 23, 24 if dtype != np.float64 else 18)
    kernel = rng.standard_normal([4, 4])
    for padding in ((2, 1, 1, 2), (1, 2, 2, 1), (3, 3, 0, 5), (-2, 1, -3, 4)):
        y = upfirdn2d(emulated, x, kernel, (up, up), (down, down), padding, dtype)
        expected = oracles.upfirdn2d(x, kernel, (up, up), (down, down), padding, 1, False)
        assert_near(y, expected, dtype)


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_general_filters_equal_scipy(emulated, dtype):
    rng = np.random.default_rng(5)
    cases = itertools.product(((1, 1), (2, 1), (3, 2)), ((1, 1), (1, 2), (2, 3)), (3, 8))
    for up, down, channels in cases:
        x = random(rng, dtype, 2, 6, 7, channels)
        for rows, columns in ((4, 4), (1, 5), (7, 2)):
            kernel = rng.standard_normal([rows, columns])
            for padding in ((rows, 2, columns, 1), (-1, rows, columns, -2)):
                y = upfirdn2d(emulated, x, kernel, up, down, padding, dtype)
                assert_near(y, oracles.upfirdn2d(x, kernel, up, down, padding, 1, False), dtype)


def test_an_empty_filter_launches_nothing(emulated):
    x = np.zeros([0, 8, 8, 4], np.float32)
    y = upfirdn2d(emulated, x, np.ones([4, 4]), (1, 1), (1, 1), (2, 1, 2, 1), np.float32)
    assert y.shape == (0, 8, 8, 4)


def composed(arrays, dy, cotangents, activation, gain, clamp):
    """Value, first and second derivatives by TensorFlow, in float64."""
    at = {name: tf.constant(value, tf.float64) for name, value in arrays.items()}
    dy = tf.constant(dy, tf.float64)
    names = [name for name in ("x", "scale", "noise", "bias") if name in at]
    # Noise of one image gets a gradient for each sample from the kernels.
    at["noise"] = at["noise"] + tf.zeros([at["x"].shape[0], *at["noise"].shape[1:]], tf.float64)
    with use_implementation("tensorflow"), tf.GradientTape() as outer:
        outer.watch([dy, at])
        with tf.GradientTape() as inner:
            inner.watch(at)
            y = bias_act(
                at["x"],
                at["bias"],
                activation,
                gain=gain,
                clamp=clamp,
                scale=at.get("scale"),
                noise=at["noise"],
            )
        first = inner.gradient(y, at, dy, unconnected_gradients="zero")
        total = tf.add_n([tf.reduce_sum(first[name] * cotangents[name]) for name in names])
    second = outer.gradient(total, {"dy": dy, **at}, unconnected_gradients="zero")
    return y, first, second


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: np.dtype(dtype).name)
@pytest.mark.parametrize(("channels", "scaled", "shared"), [(16, True, True), (72, False, False)])
def test_packed_derivatives_equal_tensorflow(emulated, dtype, channels, scaled, shared):
    check(emulated, dtype, channels, scaled, shared, "lrelu", 2.0, 1.57)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_equal_tensorflow(emulated, activation):
    check(emulated, np.float32, 3, True, False, activation, 1.25, 0.8)
    check(emulated, np.float64, 3, False, True, activation, 1.25, None)


def test_every_lane_of_a_warp_counts(emulated):
    for channels in (1, 5, 33, 257):
        check(emulated, np.float64, channels, True, True, "swish", 1.0, None, pixels=65)


def test_sums_are_the_same_bits_in_any_order_of_threads(device):
    rng = np.random.default_rng(7)
    channels, pixels = 24, PIXELS
    arrays = {
        "x": random(rng, np.float32, 2, pixels, channels),
        "noise": random(rng, np.float32, 2, pixels),
        "bias": random(rng, np.float32, channels),
        "scale": random(rng, np.float32, 2, channels),
    }
    dy = random(rng, np.float32, 2, pixels, channels)
    activation = list(ACTIVATIONS).index("lrelu")
    shape = TfSg2BiasAct(TYPES.index(np.float32), activation, 2, pixels, channels)
    shape.noise_batch, shape.gain, shape.alpha, shape.clamp = 2, 1.0, 0.2, -1
    results = []
    for backwards, blocks in ((False, 0), (True, 3), (True, 0)):
        device.cuda_emulation_set(backwards, blocks)
        outputs = {name: np.full(array.shape, 77, np.float32) for name, array in arrays.items()}
        size = device.tf_sg2_bias_act_cuda_partials(ctypes.byref(shape))
        partials = np.empty(size, np.uint8)
        arguments = dy, tensors(outputs), partials, None
        call(device.tf_sg2_bias_act_gradient_cuda, shape, tensors(arrays), *arguments)
        results.append({name: value.tobytes() for name, value in outputs.items()})
    assert results[0] == results[1] == results[2]


def check(device, dtype, channels, scaled, shared, activation, gain, clamp, pixels=PIXELS):
    rng = np.random.default_rng(channels)
    batch, height, width = 2, 5, pixels // 5
    image, noise_batch = (batch, height, width, channels), 1 if shared else batch
    arrays = {
        "x": on_grid(rng, dtype, *image),
        "noise": on_grid(rng, dtype, noise_batch, height, width),
        "bias": on_grid(rng, dtype, channels),
    }
    if scaled:
        arrays["scale"] = on_grid(rng, dtype, batch, channels)
    dy = on_grid(rng, dtype, *image)
    shapes = {
        name: (batch, height, width) if name == "noise" else array.shape
        for name, array in arrays.items()
    }
    cotangents = {name: on_grid(rng, dtype, *shape) for name, shape in shapes.items()}
    y, first, second = composed(arrays, dy, cotangents, activation, gain, clamp)

    shape = TfSg2BiasAct(
        TYPES.index(dtype), list(ACTIVATIONS).index(activation), batch, height * width, channels
    )
    # TensorFlow keeps the slope of its leaky ReLU in float32.
    shape.noise_batch, shape.gain, shape.alpha = noise_batch, gain, float(np.float32(0.2))
    shape.clamp = -1 if clamp is None else clamp
    at = tensors(arrays)

    def fresh():
        return {name: np.full(shape, 77, dtype) for name, shape in shapes.items()}

    partials = np.empty(device.tf_sg2_bias_act_cuda_partials(ctypes.byref(shape)), np.uint8)
    partials = ctypes.c_void_p(partials.ctypes.data), partials
    ours = np.full(image, 77, dtype)
    call(device.tf_sg2_bias_act_cuda, shape, at, ours, None)
    assert_near(ours, y, dtype)

    outputs = fresh()
    call(device.tf_sg2_bias_act_gradient_cuda, shape, at, dy, tensors(outputs), partials[0], None)
    for name, value in outputs.items():
        assert_near(value, first[name], dtype)

    outputs, out_dy = fresh(), np.full(image, 77, dtype)
    structures = dy, tensors(cotangents), out_dy, tensors(outputs), partials[0], None
    call(device.tf_sg2_bias_act_gradient2_cuda, shape, at, *structures)
    assert_near(out_dy, second["dy"], dtype)
    for name, value in outputs.items():
        assert_near(value, second[name], dtype)


def call(function, shape, at, *arguments):
    def passed(argument):
        if isinstance(argument, ctypes.Structure):
            return ctypes.byref(argument)
        if isinstance(argument, np.ndarray):
            return ctypes.c_void_p(pointer(argument))
        return argument

    assert function(*map(passed, (shape, at, *arguments))) == 0


def test_an_nvcc_that_is_too_old_is_named_and_the_cpu_goes_without(tmp_path, monkeypatch):
    old = tmp_path / "nvcc"
    old.write_text("#!/bin/sh\necho 'Cuda compilation tools, release 11.8, V11.8.89'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("TF_SG2_CACHE", str(tmp_path / "cache"))
    with pytest.raises(
        build.BuildError, match=r"nvcc 11\.8 is older than CUDA 12\.1; .* --cuda=off"
    ):
        build.build(cuda=True)
    compiled = []
    monkeypatch.setattr(build, "find_builds", lambda: [])
    monkeypatch.setattr(build, "_compile", lambda *arguments: compiled.append(arguments) or 1 / 0)
    said = []
    with pytest.raises(ZeroDivisionError):
        build.build(say=said.append)
    assert said == ["nvcc 11.8 is older than CUDA 12.1; the library is for the CPU only"]
    assert compiled[0][1] is None

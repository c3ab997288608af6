"""The CUDA kernels on a GPU: checked against PyTorch, then timed against it and a copy.

    python benchmarks/ops_cuda.py --repeats=20

Needs a GPU, nvcc and PyTorch, but neither TensorFlow nor the package. The kernels are compiled for
this machine's GPU. First, the results of every kernel are compared with PyTorch's operations and
gradients in float64. Two runs are compared bit for bit. The command fails where they differ. Then
each kernel is timed in turns with a copy of 1 GiB on the device, the ceiling, and with PyTorch's
operations. GB/s count bytes read once and written once.
"""

from __future__ import annotations

import argparse
import ctypes
import functools
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from cuda_kernels import TfSg2BiasAct, TfSg2Upfirdn2d, build_with_nvcc, four_pointers

# In the order of TfSg2Type, with the relative error allowed.
TYPES = {torch.float16: 2e-3, torch.bfloat16: 2e-2, torch.float32: 1e-5, torch.float64: 1e-12}
LRELU = 2  # In the order of TfSg2Activation.
ALPHA, GAIN, CLAMP = 0.2, 2**0.5, 256.0
TAPS = torch.outer(*[torch.tensor([1.0, 3, 3, 1], dtype=torch.float64)] * 2) / 64
# Operation: up, down, padding.
RESAMPLING = {
    "upfirdn2d 1/1": (1, 1, (2, 1, 2, 1)),
    "upfirdn2d up 2": (2, 1, (2, 1, 2, 1)),
    "upfirdn2d down 2": (1, 2, (1, 1, 1, 1)),
}
# Batch, size, channels of the larger side: config-f's levels at 256 and 1024, and images.
SHAPES = {"256": (16, 256, 128), "1024": (4, 1024, 32), "image": (16, 256, 3)}
CHECKED = {"packed": (2, 37, 24), "narrow": (2, 37, 3)}


class Kernels:
    """The launchers, on tensors of a GPU and PyTorch's current stream."""

    def __init__(self, library: ctypes.CDLL):
        self.library = library

    def _call(self, name: str, *arguments) -> None:
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        passed = [
            ctypes.byref(a)
            if isinstance(a, ctypes.Structure)
            else ctypes.c_void_p(a.data_ptr() if a is not None else None)
            for a in arguments
        ]
        error = getattr(self.library, name)(*passed, stream)
        if error:
            sys.exit(f"error: {name} gave CUDA error {error}")

    def upfirdn2d(self, x, kernel, up, down, padding, y=None):
        """Filters x [N, H, W, C] on the GPU into `y`; the kernel is float64 on the host."""
        top, bottom, left, right = padding
        height = (x.shape[1] * up + top + bottom - kernel.shape[0]) // down + 1
        width = (x.shape[2] * up + left + right - kernel.shape[1]) // down + 1
        if y is None:
            y = x.new_empty([x.shape[0], height, width, x.shape[3]])
        kind = list(TYPES).index(x.dtype)
        shape = TfSg2Upfirdn2d(
            *(kind, *x.shape, height, width, up, up, down, down, top, left, *kernel.shape)
        )
        self._call("tf_sg2_upfirdn2d_cuda", shape, kernel.contiguous(), x, y)
        return y

    def _bias_act(self, at):
        n, h, w, c = at["x"].shape
        kind = list(TYPES).index(at["x"].dtype)
        return TfSg2BiasAct(kind, LRELU, n, h * w, c, n, ALPHA, GAIN, CLAMP), _pointers(at)

    def bias_act(self, at, y):
        self._call("tf_sg2_bias_act_cuda", *self._bias_act(at), y)

    def partials(self, at):
        shape, _ = self._bias_act(at)
        size = self.library.tf_sg2_bias_act_cuda_partials(ctypes.byref(shape))
        return torch.empty(size, dtype=torch.uint8, device="cuda")

    def gradient(self, at, dy, out, partials):
        shape, point = self._bias_act(at)
        self._call("tf_sg2_bias_act_gradient_cuda", shape, point, dy, _pointers(out), partials)

    def gradient2(self, at, dy, cotangents, out_dy, out, partials):
        shape, point = self._bias_act(at)
        arguments = (dy, _pointers(cotangents), out_dy, _pointers(out), partials)
        self._call("tf_sg2_bias_act_gradient2_cuda", shape, point, *arguments)


def _pointers(tensors):
    return four_pointers({name: tensor.data_ptr() for name, tensor in tensors.items()})


def torch_resampling(x, kernel, up, down, padding):
    """Returns the same by PyTorch's depthwise convolutions in channels last: NHWC in, NHWC out."""
    x = x.permute(0, 3, 1, 2)
    n, channels, height, width = x.shape
    if up > 1:
        x = x.reshape(n, channels, height, 1, width, 1)
        x = torch.nn.functional.pad(x, (0, up - 1, 0, 0, 0, up - 1))
        x = x.reshape(n, channels, height * up, width * up)
    top, bottom, left, right = padding
    x = torch.nn.functional.pad(x, (left, right, top, bottom))
    weight = kernel.flip(0, 1).to(x).expand(channels, 1, *kernel.shape)
    y = torch.nn.functional.conv2d(x, weight, stride=down, groups=channels)
    return y.permute(0, 2, 3, 1)


def torch_epilogue(at):
    """Returns demodulation, noise, bias, leaky ReLU, gain and clamp by PyTorch."""
    t = at["x"] * at["scale"][:, None, None] + at["noise"][..., None] + at["bias"]
    v = torch.where(t > 0, t, t * ALPHA) * GAIN
    return torch.clamp(v, -CLAMP, CLAMP)


def tensors(dtype, n, size, channels):
    """Returns arguments of the epilogue on a grid where sums in float64 and float32 are equal."""
    shapes = {"x": (n, size, size, channels), "scale": (n, channels)}
    shapes |= {"noise": (n, size, size), "bias": (channels,)}
    return {
        name: (torch.randint(-63, 64, shape, device="cuda") / 16).to(dtype)
        for name, shape in shapes.items()
    }


def check(kernels: Kernels) -> None:
    """Ends the program if a kernel's results differ from PyTorch's or between two runs."""
    for dtype, allowed in TYPES.items():
        for label, shape in CHECKED.items():
            for name, (up, down, padding) in RESAMPLING.items():
                x = tensors(dtype, *shape)["x"]
                for pad in (padding, (1, 2, 2, 1), (3, 3, 0, 5)):
                    ours = [kernels.upfirdn2d(x, TAPS, up, down, pad) for _ in range(2)]
                    theirs = torch_resampling(x.double(), TAPS, up, down, pad)
                    _compare(f"{name} {label} {dtype}", ours, theirs, allowed)
            _check_epilogue(kernels, dtype, shape, label, allowed)
    print("results: those of PyTorch in float64, the same in every run")


def _check_epilogue(kernels, dtype, shape, label, allowed):
    at, cotangents = tensors(dtype, *shape), tensors(dtype, *shape)
    dy = tensors(dtype, *shape)["x"]
    exact = {name: value.double().requires_grad_() for name, value in at.items()}
    slope = dy.double().requires_grad_()
    y = torch_epilogue(exact)
    first = dict(
        zip(exact, torch.autograd.grad(y, exact.values(), slope, create_graph=True), strict=True)
    )
    total = sum((first[name] * cotangents[name].double()).sum() for name in exact)
    inputs = [slope, *exact.values()]
    second = torch.autograd.grad(total, inputs, allow_unused=True, materialize_grads=True)
    partials = kernels.partials(at)
    runs = []
    for _ in range(2):
        value, out_dy = torch.empty_like(dy), torch.empty_like(dy)
        once, twice = ({n: torch.empty_like(v) for n, v in at.items()} for _ in range(2))
        kernels.bias_act(at, value)
        kernels.gradient(at, dy, once, partials)
        kernels.gradient2(at, dy, cotangents, out_dy, twice, partials)
        runs.append([value, *once.values(), out_dy, *twice.values()])
    names = ["value", *(f"d{n}" for n in at), "d2dy", *(f"d2{n}" for n in at)]
    expected = [y, *first.values(), *second]
    for name, ours, theirs in zip(names, zip(*runs, strict=True), expected, strict=True):
        _compare(f"bias_act {name} {label} {dtype}", ours, theirs.detach(), allowed)


def _compare(name, ours, theirs, allowed):
    if not torch.equal(*ours):
        sys.exit(f"error: {name}: two runs differ")
    error = (ours[0].double() - theirs).abs().max().item()
    scale = max(theirs.abs().max().item(), 1e-3)
    if not error <= allowed * scale:
        sys.exit(f"error: {name}: off by {error:.3g}, where values reach {scale:.3g}")


def time_on_gpu(function: Callable[[], object]) -> float:
    """Returns the mean seconds of ten calls, by the GPU's clock."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(10):
        function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e4


def report(name, moved, ours, theirs, copy, copied, repeats):
    """Prints our rate, its share of the copy's rate, and the speed-up over PyTorch."""
    functions = (copy, ours, theirs)
    for function in functions:
        time_on_gpu(function)
    runs = [[time_on_gpu(function) for function in functions] for _ in range(repeats)]
    share = statistics.median((moved / own) / (copied / beside) for beside, own, _ in runs)
    times = statistics.median(peer / own for _, own, peer in runs)
    rate = moved / statistics.median(own for _, own, _ in runs) / 1e9
    print(f"{name:42s} {rate:7.0f} GB/s  {share:6.1%} of copy  {times:6.2f} x PyTorch", flush=True)


def benchmark(kernels: Kernels, repeats: int) -> None:
    source = torch.ones(1 << 28, device="cuda")
    target, copied = torch.empty_like(source), 2 * source.nbytes

    def copy():
        target.copy_(source)

    for dtype in (torch.float32, torch.float16):
        for label, (n, size, channels) in SHAPES.items():
            for name, (up, down, padding) in RESAMPLING.items():
                x = torch.randn(n, size // up, size // up, channels, device="cuda").to(dtype)
                y = kernels.upfirdn2d(x, TAPS, up, down, padding)
                report(
                    f"{name} {label} {dtype}",
                    x.nbytes + y.nbytes,
                    functools.partial(kernels.upfirdn2d, x, TAPS, up, down, padding, y),
                    functools.partial(torch_resampling, x, TAPS, up, down, padding),
                    copy,
                    copied,
                    repeats,
                )
            if label == "image":
                continue
            at, dy = tensors(dtype, n, size, channels), tensors(dtype, n, size, channels)["x"]
            y, out = torch.empty_like(dy), {k: torch.empty_like(v) for k, v in at.items()}
            partials = kernels.partials(at)
            watched = {k: v.clone().requires_grad_() for k, v in at.items()}
            graph = torch_epilogue(watched)
            report(
                f"epilogue {label} {dtype}",
                2 * dy.nbytes,
                lambda at=at, y=y: kernels.bias_act(at, y),
                lambda at=at: torch_epilogue(at),
                copy,
                copied,
                repeats,
            )
            report(
                f"epilogue's gradient {label} {dtype}",
                3 * dy.nbytes,
                lambda at=at, dy=dy, out=out, p=partials: kernels.gradient(at, dy, out, p),
                lambda g=graph, w=watched, dy=dy: torch.autograd.grad(
                    g, w.values(), dy, retain_graph=True
                ),
                copy,
                copied,
                repeats,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--nvcc", default=shutil.which("nvcc"), help="path of nvcc")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("error: PyTorch sees no GPU; this benchmark needs one")
    if not arguments.nvcc:
        sys.exit("error: there is no nvcc on PATH; give --nvcc=PATH")
    major, minor = torch.cuda.get_device_capability()
    # The checks compare with float64, so PyTorch must not use TensorFloat-32.
    torch.backends.cudnn.allow_tf32 = False
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "kernels.so"
        kernels = Kernels(build_with_nvcc(arguments.nvcc, f"sm_{major}{minor}", library))
        check(kernels)
        benchmark(kernels, arguments.repeats)


if __name__ == "__main__":
    main()

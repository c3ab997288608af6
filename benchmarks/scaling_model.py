"""A model of how training scales over GPUs: closed formulas, and a simulation.

An iteration is the sum of its passes. In each pass, a GPU computes on its share of the batch, then
all GPUs add their gradients in a ring. Multiply-adds and parameters come from
`tf_sg2.inspect.layer_table`. The rates of GPUs and links are assumptions, listed below with their
sources. `benchmarks/scaling.py` prints the results beside published training times.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_sg2.config import Config

BYTES_OF_A_GRADIENT = 4  # float32.


@dataclass(frozen=True)
class Layer:
    """The cost of one layer, forward, for one image.

    Args:
        operations: floating-point operations, two per multiply-add.
        elements: elements of its output.
        bytes: bytes of the gradients of its parameters.
    """

    operations: float
    elements: float
    bytes: int = 0


@dataclass(frozen=True)
class Pass:
    """One pass of the training step.

    Args:
        name: as in the log.
        interval: iterations from one run of the pass to the next.
        images: share of the batch that it runs on.
        sweeps: networks, each with its cost in forward sweeps; backward and second-order sweeps
            count as well.
        trained: the layers whose gradients are sent, in the order of the forward sweep.
        last_sweep: length of the final part of the pass, in forward sweeps of `trained`. This part
            completes their gradients, from the output to the input.
    """

    name: str
    interval: int
    images: float
    sweeps: tuple[tuple[tuple[Layer, ...], int], ...]
    trained: tuple[Layer, ...]
    last_sweep: int

    @property
    def operations(self) -> float:
        """Floating-point operations per image that it runs on."""
        return sum(times * layer.operations for layers, times in self.sweeps for layer in layers)

    @property
    def bytes(self) -> int:
        """Bytes of the gradients that it sends."""
        return sum(layer.bytes for layer in self.trained)


@dataclass(frozen=True)
class Accelerator:
    """A GPU: a layer takes the time of its arithmetic or of its elements, whichever is longer.

    Args:
        name: for tables.
        flops: floating-point operations per second that convolutions sustain.
        elements: elements of outputs per second. The rate includes every pass over memory of a
            layer: convolution, scaling by the style, noise, bias, activation.
        host_seconds: time that the host needs to start the operations of a pass. It is the least
            time of a micro-batch.
    """

    name: str
    flops: float
    elements: float
    host_seconds: float = 0.02

    def seconds(self, layers: Sequence[Layer]) -> float:
        """Returns the time of one forward sweep for one image."""
        return sum(
            max(layer.operations / self.flops, layer.elements / self.elements) for layer in layers
        )


@dataclass(frozen=True)
class Link:
    """A connection of GPUs: bytes per second in one direction, and seconds per message."""

    name: str
    bandwidth: float
    latency: float


@dataclass(frozen=True)
class Cluster:
    """Machines of `gpus` GPUs with links `inside` and `between` them."""

    gpus: int
    inside: Link
    between: Link

    @property
    def name(self) -> str:
        """The name in tables."""
        return f"{self.between.name}, {self.gpus} per machine"


# V100: arithmetic is assumed to reach four fifths of the data sheet's 15.7 TFLOP/s in float32. The
# rate of elements then follows from a published time: config F at 1024x1024 on one GPU takes 69
# days 23 hours for 25,000 kimg.
# A100 and H100 are guesses, and nothing was measured on them. Elements are in proportion to the
# data sheets' memory bandwidth (1.7 and 3.7 times a V100's 900 GB/s). Arithmetic is at 40% of
# TensorFloat-32 (156 and 495 TFLOP/s).
# The host's 20 ms are a guess too: about 4,000 operations per pass at 5 microseconds. The traced
# passes at 256x256 have 1,900 to 5,600.
ACCELERATORS = {
    "v100": Accelerator("V100, float32", 12.6e12, 11.6e9),
    "a100": Accelerator("A100, TensorFloat-32 (guess)", 62e12, 20e9),
    "h100": Accelerator("H100, TensorFloat-32 (guess)", 198e12, 43e9),
}

# NVLink: bus bandwidth of 8 A100 as reported by users of nccl-tests (its issue 149). H100 reach 370
# (issue 212), the V100 of a DGX-1 about 130. Networks carry nine tenths of the line rate. Their
# latencies are typical of RDMA and of TCP.
NVLINK = Link("NVLink", 200e9, 5e-6)
FAST = Link("100 Gb/s", 0.9 * 100e9 / 8, 15e-6)
SLOW = Link("10 Gb/s", 0.9 * 10e9 / 8, 50e-6)
CLUSTERS = (
    Cluster(64, NVLINK, NVLINK),
    Cluster(8, NVLINK, FAST),
    Cluster(1, FAST, FAST),
    Cluster(8, NVLINK, SLOW),
    Cluster(1, SLOW, SLOW),
)


def training_passes(config: Config) -> tuple[Pass, ...]:
    """Returns the passes of an iteration of `config`.

    A gradient by the input of a layer costs as much as its forward sweep, and so does a gradient by
    its weight. Let g and d be the forward costs of generator and discriminator:

    - generator: 3g, and 2d (forward and by the input);
    - path length: forward g, by w once g, and the derivative of both 4g;
    - discriminator: g without gradients, and 3d for each of real and generated images;
    - R1: like path length, 6d.

    Gradients by weights are complete in the last sweep over the network, from its output to its
    input.
    """
    from tf_sg2.inspect.layer_table import tables

    training = config.training
    generator, discriminator = (
        tuple(
            Layer(
                operations=2 * row.multiply_adds,
                elements=math.prod(row.output_shape),
                bytes=row.parameters * BYTES_OF_A_GRADIENT,
            )
            for row in table.rows
        )
        for table in tables(config)
    )
    g, d = generator, discriminator
    passes = [Pass("generator", 1, 1, ((g, 3), (d, 2)), g, 2)]
    if training.path_length_weight and training.path_length_interval:
        images = 1 / training.path_length_batch_divisor
        passes.append(Pass("path length", training.path_length_interval, images, ((g, 6),), g, 2))
    passes.append(Pass("discriminator", 1, 1, ((g, 1), (d, 6)), d, 4))
    if training.r1_gamma and training.r1_interval:
        passes.append(Pass("R1", training.r1_interval, 1, ((d, 6),), d, 2))
    return tuple(passes)


def every_iteration(passes: Sequence[Pass]) -> tuple[Pass, ...]:
    """Returns the passes with the regularisers in every iteration."""
    return tuple(dataclasses.replace(entry, interval=1) for entry in passes)


def without_regularizers(passes: Sequence[Pass]) -> tuple[Pass, ...]:
    """Returns only the two main passes."""
    return tuple(entry for entry in passes if entry.name in ("generator", "discriminator"))


def operations_per_image(passes: Sequence[Pass]) -> float:
    """Returns the floating-point operations per image of a batch, lazy passes amortised."""
    return sum(entry.operations * entry.images / entry.interval for entry in passes)


def bytes_per_iteration(passes: Sequence[Pass]) -> float:
    """Returns the bytes of gradients per iteration that all GPUs add, lazy passes amortised."""
    return sum(entry.bytes / entry.interval for entry in passes)


def all_reduce_seconds(size: float, gpus: int, cluster: Cluster) -> float:
    """Returns the time in which a ring of `gpus` GPUs adds `size` bytes.

    Each GPU sends 2 (n - 1) parts of size / n to its neighbour, one after the other. The ring
    enters and leaves each machine once, so the slowest link counts.

    Source: Patarasuk and Yuan 2009.
    """
    if gpus == 1:
        return 0.0
    link = cluster.inside if gpus <= cluster.gpus else cluster.between
    return 2 * (gpus - 1) * (size / gpus / link.bandwidth + link.latency)


def seconds_per_image(entry: Pass, accelerator: Accelerator) -> float:
    """Returns the time of one pass per image that it runs on, in large micro-batches."""
    return sum(times * accelerator.seconds(layers) for layers, times in entry.sweeps)


def compute_seconds(entry: Pass, images: float, accelerator: Accelerator, parts: int = 1) -> float:
    """Returns the time of one pass over a GPU's share of `images`, in `parts` micro-batches."""
    work = seconds_per_image(entry, accelerator) * entry.images * images / parts
    return parts * max(work, accelerator.host_seconds)


@dataclass(frozen=True)
class Timing:
    """Mean seconds of an iteration in three parts.

    Args:
        compute: time in which the mean GPU computes.
        waiting: time in which it waits for the slowest GPU.
        sending: time of all-reduces after the last GPU has finished computing.
    """

    compute: float
    waiting: float
    sending: float

    @property
    def total(self) -> float:
        """The sum of the parts."""
        return self.compute + self.waiting + self.sending


def expected(
    passes: Sequence[Pass],
    images: float,
    gpus: int,
    accelerator: Accelerator,
    cluster: Cluster,
    parts: int = 1,
) -> Timing:
    """Returns the time of an iteration on equal GPUs that send nothing while they compute.

    TensorFlow does this by default: one all-reduce of all gradients at the end of a pass.

    Args:
        passes: the passes of the iteration.
        images: images of the batch per GPU.
        gpus: count of GPUs.
        accelerator: the kind of every GPU.
        cluster: their connections.
        parts: accumulation steps.
    """
    return Timing(
        compute=sum(compute_seconds(p, images, accelerator, parts) / p.interval for p in passes),
        waiting=0.0,
        sending=sum(all_reduce_seconds(p.bytes, gpus, cluster) / p.interval for p in passes),
    )


def simulate(
    passes: Sequence[Pass],
    images: float,
    gpus: int,
    accelerator: Accelerator,
    cluster: Cluster,
    parts: int = 1,
    *,
    bucket_bytes: float = math.inf,
    jitter: float = 0.0,
    stall_probability: float = 0.0,
    stall_seconds: float = 0.0,
    iterations: int = 64,
    seed: int = 0,
) -> Timing:
    """Returns the mean time of an iteration from a simulation of every GPU's clock.

    Args:
        passes: the passes of the iteration.
        images: images of the batch per GPU.
        gpus: count of GPUs.
        accelerator: the kind of every GPU.
        cluster: their connections.
        parts: accumulation steps.
        bucket_bytes: a bucket is sent as soon as it holds this many bytes that are complete on
            every GPU. By default all gradients are sent at the end.
        jitter: coefficient of variation of the time of a pass on a GPU (log-normal, same mean).
        stall_probability: probability that a pass takes `stall_seconds` longer on a GPU.
        stall_seconds: length of such a stall.
        iterations: count of simulated iterations.
        seed: seed of the random times.
    """
    rng = np.random.default_rng(seed)
    clock = np.zeros(gpus)
    computed = waited = sent = 0.0
    spread = math.sqrt(math.log1p(jitter**2))
    buckets = [_buckets(entry, accelerator, bucket_bytes, parts) for entry in passes]
    for iteration in range(iterations):
        for entry, due in zip(passes, buckets, strict=True):
            if iteration % entry.interval:
                continue
            times = compute_seconds(entry, images, accelerator, parts) * np.exp(
                rng.normal(-(spread**2) / 2, spread, gpus)
            )
            times += stall_seconds * (rng.random(gpus) < stall_probability)
            finished = clock + times
            network_free = 0.0
            for share, size in due:
                # A sum needs the part of every GPU, and sums are sent one after the other.
                begin = max(network_free, float(np.max(clock + share * times)))
                network_free = begin + all_reduce_seconds(size, gpus, cluster)
            last = float(finished.max())
            end = max(last, network_free)
            computed += float(times.mean())
            waited += last - float(finished.mean())
            sent += end - last
            clock[:] = end
    return Timing(*(value / iterations for value in (computed, waited, sent)))


def gradients_ready(entry: Pass, accelerator: Accelerator) -> list[tuple[float, int]]:
    """Returns (share of the pass's time at which it is complete, bytes) of each gradient."""
    whole, own = seconds_per_image(entry, accelerator), accelerator.seconds(entry.trained)
    found, left = [], own
    for layer in reversed(entry.trained):
        left -= accelerator.seconds([layer])
        if layer.bytes:
            found.append((1 - entry.last_sweep * left / whole, layer.bytes))
    return found


def _buckets(
    entry: Pass, accelerator: Accelerator, bucket_bytes: float, parts: int
) -> list[tuple[float, int]]:
    """Returns (share of the pass's time, bytes) of each all-reduce in the last micro-batch."""
    if math.isinf(bucket_bytes):
        return [(1.0, entry.bytes)]
    ready = gradients_ready(entry, accelerator)
    found, held = [], 0
    for index, (share, size) in enumerate(ready, 1):
        held += size
        if held >= bucket_bytes or index == len(ready):
            found.append(((parts - 1 + share) / parts, held))
            held = 0
    return found


def efficiency(
    timing: Timing, passes: Sequence[Pass], images: float, accelerator: Accelerator
) -> float:
    """Returns the efficiency in [0, 1]: time of large micro-batches on one GPU over this time."""
    needed = sum(
        seconds_per_image(entry, accelerator) * entry.images * images / entry.interval
        for entry in passes
    )
    return needed / timing.total


def days(kimg: float, timing: Timing, images: float, gpus: int) -> float:
    """Returns the days that `kimg` thousand images take."""
    return kimg * 1000 / (images * gpus) * timing.total / 86400

"""How training scales over GPUs, on paper and by simulation: arithmetic against gradients sent.

An iteration is the sum of its passes (`step.py`). Each computes on its share of the batch, then
adds its gradients over all GPUs in a ring and waits for the sum. Multiply-adds and parameters come
from the networks' own tables (`tf_sg2.inspect.layer_table`). What a GPU sustains and what a network
carries are assumptions, named below with their sources. `benchmarks/scaling.py` prints the results
and compares them with published training times.
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
    """One layer, forward, for one image: floating-point operations (two a multiply-add), elements
    of its output, and bytes of its parameters' gradients.
    """

    operations: float
    elements: float
    bytes: int = 0


@dataclass(frozen=True)
class Pass:
    """One pass of the training step.

    Args:
        name: as in the log.
        interval: it runs every so many iterations.
        images: how many images it runs on, as a share of the batch.
        sweeps: networks, and how many times the cost of their forward sweep the pass is, backward
            and second-order sweeps included.
        trained: the layers whose gradients are sent, in the order of the forward sweep.
        last_sweep: the final part of the pass, in forward sweeps of `trained`: it completes their
            gradients, from the output to the input.
    """

    name: str
    interval: int
    images: float
    sweeps: tuple[tuple[tuple[Layer, ...], int], ...]
    trained: tuple[Layer, ...]
    last_sweep: int

    @property
    def operations(self) -> float:
        """Floating-point operations for each image that it runs on."""
        return sum(times * layer.operations for layers, times in self.sweeps for layer in layers)

    @property
    def bytes(self) -> int:
        """Bytes of the gradients it sends."""
        return sum(layer.bytes for layer in self.trained)


@dataclass(frozen=True)
class Accelerator:
    """A GPU: a layer takes as long as its arithmetic or its elements, whichever is longer.

    Args:
        name: for tables.
        flops: floating-point operations a second that convolutions sustain.
        elements: elements of layers' outputs a second: passes over memory, all those that a layer
            needs (convolution, scaling by style, noise, bias, activation) in one number.
        host_seconds: time in which the host can start the operations of a pass, which a small
            micro-batch cannot undercut.
    """

    name: str
    flops: float
    elements: float
    host_seconds: float = 0.02

    def seconds(self, layers: Sequence[Layer]) -> float:
        """Time of one forward sweep for one image."""
        return sum(
            max(layer.operations / self.flops, layer.elements / self.elements) for layer in layers
        )


@dataclass(frozen=True)
class Link:
    """What connects GPUs: bytes a second through each, one way, and seconds a message."""

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
        return f"{self.between.name}, {self.gpus} a machine"


# V100: arithmetic at four fifths of the data sheet's 15.7 TFLOP/s in float32, an assumption, and
# then elements so that config F at 1024x1024 takes the published 69 days 23 hours of 25,000 kimg on
# one GPU. The others are guesses: elements in proportion to the data sheets' memory bandwidth (1.7
# and 3.7 times a V100's 900 GB/s), arithmetic at 40% of TensorFloat-32 (156, 495 TFLOP/s). Nothing
# was measured on either. The host's 20 ms are some 4,000 operations a pass (the traced passes at
# 256x256 have 1,900 to 5,600) at 5 microseconds, a guess too.
ACCELERATORS = {
    "v100": Accelerator("V100, float32", 12.6e12, 11.6e9),
    "a100": Accelerator("A100, TensorFloat-32 (guess)", 62e12, 20e9),
    "h100": Accelerator("H100, TensorFloat-32 (guess)", 198e12, 43e9),
}

# NVLink: bus bandwidth of 8 A100 as users of nccl-tests report it (its issue 149); H100 reach 370
# (issue 212), the V100 of a DGX-1 about 130. Networks: nine tenths of the line rate; the latencies
# are typical of RDMA and of TCP.
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

    A layer of a network costs its forward sweep again for each kind of gradient: by its input and
    by its weight. With g and d the forward costs of generator and discriminator:

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
    """Returns the passes without laziness: regularisers in every iteration."""
    return tuple(dataclasses.replace(entry, interval=1) for entry in passes)


def without_regularizers(passes: Sequence[Pass]) -> tuple[Pass, ...]:
    """Returns the two main passes alone."""
    return tuple(entry for entry in passes if entry.name in ("generator", "discriminator"))


def operations_per_image(passes: Sequence[Pass]) -> float:
    """Floating-point operations for each image of a batch, lazy passes amortised."""
    return sum(entry.operations * entry.images / entry.interval for entry in passes)


def bytes_per_iteration(passes: Sequence[Pass]) -> float:
    """Bytes of gradients that are added over all GPUs in an iteration, lazy passes amortised."""
    return sum(entry.bytes / entry.interval for entry in passes)


def all_reduce_seconds(size: float, gpus: int, cluster: Cluster) -> float:
    """Time in which a ring adds `size` bytes over `gpus` GPUs.

    Each sends 2 (n - 1) parts of size / n to its neighbour, one after the other; the ring enters
    and leaves a machine once, so the slowest link counts.

    Source: Patarasuk and Yuan 2009.
    """
    if gpus == 1:
        return 0.0
    link = cluster.inside if gpus <= cluster.gpus else cluster.between
    return 2 * (gpus - 1) * (size / gpus / link.bandwidth + link.latency)


def seconds_per_image(entry: Pass, accelerator: Accelerator) -> float:
    """Time of one pass for each image that it runs on, in large micro-batches."""
    return sum(times * accelerator.seconds(layers) for layers, times in entry.sweeps)


def compute_seconds(entry: Pass, images: float, accelerator: Accelerator, parts: int = 1) -> float:
    """Time of one pass over `images` of the batch, a GPU's share, in `parts` micro-batches."""
    work = seconds_per_image(entry, accelerator) * entry.images * images / parts
    return parts * max(work, accelerator.host_seconds)


@dataclass(frozen=True)
class Timing:
    """Mean seconds of an iteration, by what they went to; they add up to `total`.

    `compute` is what the mean GPU computes, `waiting` what it waits for the slowest one,
    `sending` what remains of the all-reduces when nothing is computed any more.
    """

    compute: float
    waiting: float
    sending: float

    @property
    def total(self) -> float:
        return self.compute + self.waiting + self.sending


def expected(
    passes: Sequence[Pass],
    images: float,
    gpus: int,
    accelerator: Accelerator,
    cluster: Cluster,
    parts: int = 1,
) -> Timing:
    """Returns an iteration's time on paper: equal GPUs, and nothing sent while computing.

    That is how TensorFlow does it by default: one all-reduce of all gradients at the end of a pass.

    Args:
        passes: of the iteration.
        images: of the batch for each GPU.
        gpus: how many.
        accelerator: each of them.
        cluster: how they are connected.
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
    """Returns an iteration's mean time, from a simulation of every GPU's clock.

    Args:
        passes, images, gpus, accelerator, cluster, parts: as in `expected`.
        bucket_bytes: gradients are sent as soon as so many bytes are complete on every GPU, while
            the rest is computed; by default all at the end.
        jitter: coefficient of variation of a pass's time on a GPU (log-normal, mean kept).
        stall_probability: of a pass on a GPU to take `stall_seconds` longer: a straggler.
        stall_seconds: see there.
        iterations: how many are simulated.
        seed: of the random times.
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
                # A sum needs every GPU's part, and one is sent after the other.
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
    """Returns (share of the pass's time after which it is complete, bytes) of each gradient."""
    whole, own = seconds_per_image(entry, accelerator), accelerator.seconds(entry.trained)
    found, left = [], own
    for layer in reversed(entry.trained):
        left -= accelerator.seconds([layer])
        if layer.bytes:
            found.append((1 - entry.last_sweep * left / whole, layer.bytes))
    return found


def _buckets(
    entry: Pass, accelerator: Accelerator, bucket_bytes: float, parts: int
) -> list[tuple[float, float]]:
    """(share of the pass's time, bytes) of each all-reduce; the last part's sweep sends."""
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
    """Returns the share of the time that large micro-batches on one GPU would need, in [0, 1]."""
    needed = sum(
        seconds_per_image(entry, accelerator) * entry.images * images / entry.interval
        for entry in passes
    )
    return needed / timing.total


def days(kimg: float, timing: Timing, images: float, gpus: int) -> float:
    """Returns how many days `kimg` thousand images take."""
    return kimg * 1000 / (images * gpus) * timing.total / 86400

"""Inference and the passes of an iteration beside the official PyTorch code, in two processes.

    python benchmarks/peers.py --checkout=PATH --size=64 --batch=8 --repeats=5

PATH is a checkout of stylegan2-ada-pytorch; PyTorch must be installed. Without a path, the program
says so and ends. Each side has its own process and all cores. The sides run in turns, so other
load slows both equally. Both have the same networks, in float32, and the same passes. The losses
are the paper's (section 2 and appendix B), written here for PyTorch's tensors. An iteration is the
sum of its passes, each divided by its interval. Ratios are medians over pairs of neighbouring runs.
"""

from __future__ import annotations

import argparse
import importlib
import os
import statistics
import subprocess
import sys
from collections.abc import Callable

WANTED = {"inference": 4.0, "iteration": 2.5}
# Pass: interval in iterations.
PASSES = {
    "generator": 1,
    "path length": 4,
    "discriminator": 1,
    "R1": 16,
}

Runs = dict[str, Callable[[], object]]


def our_runs(size: int, batch: int) -> Runs:
    """Returns inference and the passes of this project."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
    from convolutions import inference
    from networks import configuration
    from ops import training_passes

    config = configuration(size, batch)
    intervals = config.training.path_length_interval, config.training.r1_interval
    assert intervals == (PASSES["path length"], PASSES["R1"]), "PASSES has other intervals"
    passes = training_passes(config, "auto")
    names = [*PASSES, "average"]
    runs: Runs = {name: run for name, (run, _) in zip(names, passes, strict=True)}
    average = runs.pop("average")
    generator = runs["generator"]
    runs["generator"] = lambda: (generator(), average())
    return {"inference": inference(config, batch), **runs}


def torch_runs(checkout: str, size: int, batch: int) -> Runs:
    """Returns the same of the official PyTorch code."""
    sys.path.insert(0, checkout)
    import torch
    from torch.nn.functional import softplus

    networks = importlib.import_module("training.networks")  # Of the checkout, not ours.

    widths = {"channel_base": 16384, "channel_max": 512, "num_fp16_res": 0}
    sizes = {"c_dim": 0, "img_resolution": size, "img_channels": 3}
    generator = networks.Generator(z_dim=512, w_dim=512, synthesis_kwargs=widths, **sizes)
    discriminator = networks.Discriminator(**widths, **sizes)
    average = networks.Generator(z_dim=512, w_dim=512, synthesis_kwargs=widths, **sizes)
    average.eval().requires_grad_(False)
    optimizers = {
        network: torch.optim.Adam(network.parameters(), lr=0.002, betas=(0.0, 0.99), eps=1e-8)
        for network in (generator, discriminator)
    }
    real = torch.rand([batch, 3, size, size]) * 2 - 1

    def latents(count=batch):
        return torch.randn([count, 512])

    def step(network, loss):
        for other in optimizers:
            other.requires_grad_(other is network)
        optimizers[network].zero_grad()
        loss().backward()
        optimizers[network].step()

    def main_generator():
        step(generator, lambda: softplus(-discriminator(generator(latents(), None), None)).mean())
        with torch.no_grad():
            for ours, theirs in zip(average.parameters(), generator.parameters(), strict=True):
                ours.lerp_(theirs, 0.001)

    def main_discriminator():
        def loss():
            with torch.no_grad():
                fake = generator(latents(), None)
            scores = discriminator(fake, None), discriminator(real, None)
            return softplus(scores[0]).mean() + softplus(-scores[1]).mean()

        step(discriminator, loss)

    def path_length():
        def loss():
            ws = generator.mapping(latents(batch // 2), None)
            images = generator.synthesis(ws)
            noise = torch.randn_like(images) / size
            (gradient,) = torch.autograd.grad((images * noise).sum(), ws, create_graph=True)
            lengths = gradient.square().sum(2).mean(1).sqrt()
            return (lengths - lengths.detach().mean()).square().mean() * 2 * PASSES["path length"]

        step(generator, loss)

    def r1():
        def loss():
            images = real.clone().requires_grad_(True)
            scores = discriminator(images, None)
            (gradient,) = torch.autograd.grad(scores.sum(), images, create_graph=True)
            return gradient.square().sum([1, 2, 3]).mean() * 5 * PASSES["R1"]

        step(discriminator, loss)

    def inference():
        with torch.no_grad():
            average(latents(), None)

    return {
        "inference": inference,
        "generator": main_generator,
        "path length": path_length,
        "discriminator": main_discriminator,
        "R1": r1,
    }


def answer(runs: Runs) -> None:
    """Runs what each line of the standard input names, and prints its seconds."""
    from timing import time_of

    for run in runs.values():
        run()
    print("ready", flush=True)
    for line in sys.stdin:
        print(time_of(runs[line.strip()])[0], flush=True)


class Side:
    """A process of this file that times one side."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, __file__, *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        while self._line() != "ready":
            pass

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process ended: {self.process.args}")
        return line.strip()

    def seconds(self, name: str) -> float:
        """Returns the seconds of one run."""
        assert self.process.stdin is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return float(self._line())


def main() -> None:
    """Prints one line per pass, and the iteration."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--checkout", help="folder of stylegan2-ada-pytorch")
    parser.add_argument("--size", type=int, default=64, help="image size")
    parser.add_argument("--batch", type=int, default=8, help="images per batch")
    parser.add_argument("--repeats", type=int, default=5, help="rounds; more are steadier")
    parser.add_argument("--side", choices=["ours", "torch"], help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.side == "ours":
        return answer(our_runs(flags.size, flags.batch))
    if not flags.checkout:
        print("skipped: there is no --checkout of the official PyTorch code")
        return None
    if flags.side == "torch":
        return answer(torch_runs(flags.checkout, flags.size, flags.batch))
    shared = [f"--checkout={flags.checkout}", f"--size={flags.size}", f"--batch={flags.batch}"]
    ours, theirs = Side("--side=ours", *shared), Side("--side=torch", *shared)
    totals = [0.0, 0.0]
    for name in ("inference", *PASSES):
        pairs = [(theirs.seconds(name), ours.seconds(name)) for _ in range(flags.repeats)]
        medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
        ratio = statistics.median(a / b for a, b in pairs)
        wanted = f" (wanted {WANTED[name]}x)" if name in WANTED else ""
        print(f"{name}: {medians[0]:.3f} s PyTorch, {medians[1]:.3f} s ours, {ratio:.2f}x{wanted}")
        for side in (0, 1):
            totals[side] += medians[side] / PASSES[name] if name in PASSES else 0.0
    print(f"iteration: {totals[0] / totals[1]:.2f}x (wanted {WANTED['iteration']}x)")
    return None


if __name__ == "__main__":
    main()

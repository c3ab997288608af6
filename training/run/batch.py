"""Which batches can be shared among devices and accumulation steps without changing the result."""

from __future__ import annotations

import itertools

from tf_sg2.config import Config
from tf_sg2.errors import InputError


def check_batch(config: Config, replicas: int) -> None:
    """Refuses a batch whose shares do not compute the same as the whole batch on one device.

    A share is the images that one device computes at a time. It must hold whole minibatch-stddev
    groups, and the path-length term must take the same samples of it.

    Raises:
        InputError: with the numbers that would work.
    """
    training, network = config.training, config.discriminator
    batch, steps = training.batch_size, training.accumulation_steps
    wanted_group = network.minibatch_stddev_group
    divisor = training.path_length_batch_divisor
    if not (training.path_length_weight and training.path_length_interval):
        divisor = 1

    def fault(batch: int, shares: int, group: int = wanted_group) -> str | None:
        if batch % shares:
            return "they do not divide evenly"
        share, group = batch // shares, min(group, batch)
        if group and share % group:
            return (
                f"shares of {share} images do not divide into minibatch-stddev groups of {group} "
                "(discriminator.minibatch_stddev_group)"
            )
        if max(share // divisor, 1) * shares != max(batch // divisor, 1):
            return (
                f"shares of {share} images do not divide by {divisor} "
                "(training.path_length_batch_divisor)"
            )
        return None

    shares = replicas * steps
    found = fault(batch, shares)
    if found is None:
        return
    larger = next(n for n in itertools.count(batch + 1) if fault(n, shares) is None)
    ways = [f"training.batch_size {larger}"]
    fewer = [n for n in range(1, batch + 1) if fault(batch, replicas * n) is None]
    if fewer:
        ways.append(f"training.accumulation_steps {' or '.join(map(str, fewer))}")
    devices = [n for n in range(1, batch + 1) if fault(batch, n * steps) is None]
    if devices:
        ways.append(f"{' or '.join(map(str, devices))} device(s)")
    groups = [n for n in range(1, wanted_group) if fault(batch, shares, group=n) is None]
    if groups:
        ways.append(f"discriminator.minibatch_stddev_group {groups[-1]} (another objective)")
    raise InputError(
        f"training.batch_size {batch} cannot be shared among {replicas} device(s) times "
        f"{steps} accumulation step(s): {found}; take one of: {'; '.join(ways)}"
    )

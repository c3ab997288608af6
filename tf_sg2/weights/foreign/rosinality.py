"""Checkpoints of rosinality/stylegan2-pytorch, in both directions.

The names differ from the official ones. Some shapes have axes of length 1 more. The values are
the same, the mirrored upsampling kernels included.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from tf_sg2.weights.foreign.networks import (
    Arrays,
    Network,
    Networks,
    discriminator_fields,
    generator_fields,
)
from tf_sg2.weights.pickles.arrays import Budget, Tensor
from tf_sg2.weights.pickles.errors import DamagedError, UnreadableError
from tf_sg2.weights.pickles.torch_files import tensors_of

TAPS = (1.0, 3.0, 3.0, 1.0)
STDDEV_GROUP = 4


def generator_names(size: int, layers: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Returns rosinality's name -> (official name, axes of length 1 that only rosinality has).

    Args:
        size: resolution.
        layers: layers of the mapping network.
    """
    names: dict[str, tuple[str, tuple[int, ...]]] = {"input.input": ("synthesis.b4.const", (0,))}
    for i in range(layers):
        for last in ("weight", "bias"):
            names[f"style.{i + 1}.{last}"] = (f"mapping.fc{i}.{last}", ())
    # (rosinality's layer, official layer, whether it is a ToRGB)
    pairs = [("conv1", "synthesis.b4.conv1", False), ("to_rgb1", "synthesis.b4.torgb", True)]
    noises = ["synthesis.b4.conv1"]
    for k in range(1, size.bit_length() - 2):
        block = f"synthesis.b{4 << k}"
        pairs.append((f"convs.{2 * k - 2}", f"{block}.conv0", False))
        pairs.append((f"convs.{2 * k - 1}", f"{block}.conv1", False))
        pairs.append((f"to_rgbs.{k - 1}", f"{block}.torgb", True))
        noises += [f"{block}.conv0", f"{block}.conv1"]
    for theirs, official, is_rgb in pairs:
        names[f"{theirs}.conv.weight"] = (f"{official}.weight", (0,))
        for last in ("weight", "bias"):
            names[f"{theirs}.conv.modulation.{last}"] = (f"{official}.affine.{last}", ())
        if is_rgb:
            names[f"{theirs}.bias"] = (f"{official}.bias", (0, 2, 3))
        else:
            names[f"{theirs}.activate.bias"] = (f"{official}.bias", ())
            names[f"{theirs}.noise.weight"] = (f"{official}.noise_strength", (0,))
    for i, official in enumerate(noises):
        names[f"noises.noise_{i}"] = (f"{official}.noise_const", (0, 1))
    return names


def discriminator_names(size: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Returns rosinality's name -> (official name, no axes), for a discriminator."""
    pairs = [("convs.0.0.weight", f"b{size}.fromrgb.weight")]
    pairs.append(("convs.0.1.bias", f"b{size}.fromrgb.bias"))
    for i in range(1, size.bit_length() - 2):
        theirs, official = f"convs.{i}", f"b{size >> (i - 1)}"
        pairs += [
            (f"{theirs}.conv1.0.weight", f"{official}.conv0.weight"),
            (f"{theirs}.conv1.1.bias", f"{official}.conv0.bias"),
            (f"{theirs}.conv2.1.weight", f"{official}.conv1.weight"),
            (f"{theirs}.conv2.2.bias", f"{official}.conv1.bias"),
            (f"{theirs}.skip.1.weight", f"{official}.skip.weight"),
        ]
    pairs += [("final_conv.0.weight", "b4.conv.weight"), ("final_conv.1.bias", "b4.conv.bias")]
    for last in ("weight", "bias"):
        pairs += [(f"final_linear.0.{last}", f"b4.fc.{last}")]
        pairs += [(f"final_linear.1.{last}", f"b4.out.{last}")]
    return {theirs: (official, ()) for theirs, official in pairs}


def _filter_kernel(gain: float) -> np.ndarray:
    outer = np.outer(TAPS, TAPS)
    return (outer / outer.sum() * gain).astype(np.float32)


def generator_kernels(size: int) -> dict[str, np.ndarray]:
    """Returns rosinality's buffers of a generator: the upsampling filters."""
    names = [f"convs.{2 * k}.conv.blur.kernel" for k in range(size.bit_length() - 3)]
    names += [f"to_rgbs.{k}.upsample.kernel" for k in range(size.bit_length() - 3)]
    return {name: _filter_kernel(4.0) for name in names}


def discriminator_kernels(size: int) -> dict[str, np.ndarray]:
    """Returns rosinality's buffers of a discriminator: the downsampling filters."""
    blocks = range(1, size.bit_length() - 2)
    names = [f"convs.{i}.{part}.0.kernel" for i in blocks for part in ("conv2", "skip")]
    return {name: _filter_kernel(1.0) for name in names}


def _official(
    arrays: Arrays,
    names: dict[str, tuple[str, tuple[int, ...]]],
    kernels: dict[str, np.ndarray],
    what: str,
) -> Arrays:
    """Returns the arrays by their official names.

    Raises:
        UnreadableError: if one is missing or left over, or a filter is not [1, 3, 3, 1].
    """
    for name, kernel in kernels.items():
        found = arrays.get(name)
        if found is None or found.shape != kernel.shape or not np.allclose(found, kernel):
            raise UnreadableError(f"the filter {name} of its {what} is not that of [1, 3, 3, 1]")
    missing, extra = names.keys() - arrays.keys(), arrays.keys() - names.keys() - kernels.keys()
    for problem, some in (("lacks", missing), ("also has", extra)):
        if some:
            raise UnreadableError(f"its {what} {problem} the array {min(some)[:80]!r}")
    official: Arrays = {}
    for name, (other, axes) in names.items():
        if any(axis >= arrays[name].ndim or arrays[name].shape[axis] != 1 for axis in axes):
            raise DamagedError(f"the array {name} has another shape")
        official[other] = arrays[name].squeeze(axes) if axes else arrays[name]
    return official


def _size(arrays: Arrays, pattern: str, first: int) -> int:
    numbers = [int(m[1]) for m in (re.match(pattern, name) for name in arrays) if m]
    if not numbers or max(numbers) > 40:
        raise UnreadableError("its networks are not those of rosinality/stylegan2-pytorch")
    return 4 << (max(numbers) + first)


def read_networks(checkpoint: dict[Any, Any], budget: Budget) -> Networks:
    """Returns the networks of a checkpoint; optimisers and arguments are not read.

    Raises:
        UnreadableError: if its arrays are not those of rosinality's networks.
    """
    found = Networks("rosinality checkpoint")
    mean = checkpoint.get("latent_avg")
    for key, place in (("g", "generator"), ("g_ema", "average")):
        if key not in checkpoint:
            continue
        theirs = tensors_of(checkpoint[key], budget)
        size = _size(theirs, r"to_rgbs\.([0-9]{1,3})\.bias", 1)
        layers = len([name for name in theirs if re.fullmatch(r"style\.[0-9]{1,3}\.bias", name)])
        names = generator_names(size, layers)
        arrays = _official(theirs, names, generator_kernels(size), "generator")
        fields = generator_fields(arrays)
        if isinstance(mean, Tensor):
            arrays["mapping.w_avg"] = mean.array(budget)
        setattr(found, place, Network(arrays, fields))
    if "d" in checkpoint:
        theirs = tensors_of(checkpoint["d"], budget)
        size = _size(theirs, r"convs\.([0-9]{1,3})\.", 0)
        arrays = _official(
            theirs, discriminator_names(size), discriminator_kernels(size), "discriminator"
        )
        fields = discriminator_fields(arrays)
        fields.setdefault("minibatch_stddev_group", STDDEV_GROUP)
        found.discriminator = Network(arrays, fields)
    return found

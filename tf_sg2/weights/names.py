"""The official PyTorch name of each weight, and the conversion between the two axis orders.

One table serves loading, exporting, and every comparison of two networks weight by weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from tf_sg2.config import DiscriminatorConfig, GeneratorConfig
from tf_sg2.errors import InputError
from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator
from tf_sg2.networks.synthesis import SynthesisBlock


@dataclass(frozen=True)
class Entry:
    """One weight: its official name, our variable, and the conversions between the layouts."""

    name: str
    variable: Any
    from_official: Callable[[np.ndarray], np.ndarray]
    to_official: Callable[[np.ndarray], np.ndarray]


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _copied(name: str, variable: Any) -> Entry:
    """Returns the entry of a weight that has the same layout on both sides."""
    return Entry(name, variable, _same, _same)


def _dense(name: str, layer: Any) -> Iterator[Entry]:
    """Yields the weights of a dense layer: official [out, in], ours [in, out]."""
    yield Entry(f"{name}.weight", layer.weight, np.transpose, np.transpose)
    yield _copied(f"{name}.bias", layer.bias)


def _convolution(name: str, variable: Any) -> Entry:
    """Returns a kernel: official [out, in, k, k], ours [k, k, in, out]. Neither side flips it."""
    return Entry(
        f"{name}.weight",
        variable,
        lambda array: array.transpose(2, 3, 1, 0),
        lambda array: array.transpose(3, 2, 0, 1),
    )


def _flattened_dense(
    name: str, layer: Any, channels: int, height: int, width: int
) -> Iterator[Entry]:
    """Yields the first dense layer of the discriminator: official inputs C, H, W, ours H, W, C."""
    units = layer.weight.shape[1]

    def from_official(array: np.ndarray) -> np.ndarray:
        spatial = array.reshape(units, channels, height, width)
        return spatial.transpose(2, 3, 1, 0).reshape(-1, units)

    def to_official(array: np.ndarray) -> np.ndarray:
        spatial = array.reshape(height, width, channels, units)
        return spatial.transpose(3, 2, 0, 1).reshape(units, -1)

    yield Entry(f"{name}.weight", layer.weight, from_official, to_official)
    yield _copied(f"{name}.bias", layer.bias)


def _mapping(mapping: Any) -> Iterator[Entry]:
    """Yields the weights of a mapping network."""
    if mapping.embed is not None:
        if mapping.concat:  # No official name exists: the PyTorch release has no such network.
            weight = mapping.embed.weight
            yield Entry("mapping.embed.weight", weight, np.transpose, np.transpose)
        else:
            yield from _dense("mapping.embed", mapping.embed)
    for i, layer in enumerate(mapping.fc):
        yield from _dense(f"mapping.fc{i}", layer)
    if mapping.w_avg_beta is not None:
        yield _copied("mapping.w_avg", mapping.w_avg)


def _refuse_predecessors(config: GeneratorConfig | DiscriminatorConfig) -> None:
    if config.growing or config.resampling != "filter" or config.activation_gain != "output":
        raise InputError(
            "the official PyTorch release has no growing networks, none with resampling nearest "
            "and none with activation_gain weight; take tf_sg2.weights.load_tf1_state"
        )


def generator_entries(generator: Generator) -> Iterator[Entry]:
    """Yields every weight of a generator.

    Raises:
        InputError: if the official PyTorch release has no such network.
    """
    _refuse_predecessors(generator.config)
    yield from _mapping(generator.mapping)
    for block in cast(list[SynthesisBlock], generator.synthesis.blocks):
        prefix = f"synthesis.b{block.level.square}"
        if block.conv0 is None:
            yield Entry(
                f"{prefix}.const",
                block.const,
                lambda array: array.transpose(1, 2, 0),
                lambda array: array.transpose(2, 0, 1),
            )
        for layer in block.convolutions:
            name = f"{prefix}.{layer.name}"
            yield _convolution(name, layer.conv.weight)
            yield _copied(f"{name}.bias", layer.bias)
            if layer.noise is not None:
                yield _copied(f"{name}.noise_strength", layer.noise.strength)
                yield _copied(f"{name}.noise_const", layer.noise.const)
            yield from _dense(f"{name}.affine", layer.affine)
        if block.skip is not None:
            yield _convolution(f"{prefix}.skip", block.skip.weight)
        if block.to_rgb is not None:
            name = f"{prefix}.torgb"
            yield _convolution(name, block.to_rgb.conv.weight)
            yield _copied(f"{name}.bias", block.to_rgb.bias)
            yield from _dense(f"{name}.affine", block.to_rgb.affine)


def _biased_convolution(name: str, layer: Any) -> Iterator[Entry]:
    """Yields the kernel and the bias of a convolution, if the layer and its bias exist."""
    if layer is not None:
        yield _convolution(name, layer.weight)
        if layer.bias is not None:
            yield _copied(f"{name}.bias", layer.bias)


def discriminator_entries(discriminator: Discriminator) -> Iterator[Entry]:
    """Yields every weight of a discriminator.

    Raises:
        InputError: if the official PyTorch release has no such network.
    """
    _refuse_predecessors(discriminator.config)
    for block in discriminator.blocks:
        prefix = f"b{block.config.levels[block.index].square}"
        yield from _biased_convolution(f"{prefix}.fromrgb", block.from_rgb)
        yield from _biased_convolution(f"{prefix}.conv0", block.conv0)
        yield from _biased_convolution(f"{prefix}.conv1", block.conv1)
        yield from _biased_convolution(f"{prefix}.skip", block.skip)
    epilogue, base = discriminator.epilogue, discriminator.config.levels[0]
    prefix = f"b{base.square}"
    yield from _biased_convolution(f"{prefix}.fromrgb", epilogue.from_rgb)
    yield from _biased_convolution(f"{prefix}.conv", epilogue.conv)
    yield from _flattened_dense(f"{prefix}.fc", epilogue.fc, base.channels, base.height, base.width)
    yield from _dense(f"{prefix}.out", epilogue.out)
    if discriminator.mapping is not None:
        yield from _mapping(discriminator.mapping)

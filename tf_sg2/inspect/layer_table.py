"""The networks of a configuration as a table: layers, output shapes, parameters, multiply-adds.

Layers have the names of the official PyTorch release if it has such layers. The multiply-adds are
counted in the traced graph of one image. The name scopes that Keras gives to layers tell which
layer an operation belongs to.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tf_sg2.config import Config
from tf_sg2.inspect.multiply_adds import FILTERING, Count, count
from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator

# The row of operations that belong to no layer of the table; normally there are none.
ELSEWHERE = "elsewhere"


@dataclass(frozen=True)
class LayerRow:
    """One layer. `output_shape` has no batch axis; the multiply-adds are for one image.

    `parameters` are trained; `buffers` are not (noise images, the running mean of w).
    `filtering` counts the resampling filters, `multiply_adds` all other operations.
    """

    name: str
    output_shape: tuple[int, ...]
    parameters: int
    buffers: int
    multiply_adds: int
    filtering: int


@dataclass(frozen=True)
class NetworkTable:
    """One network: its layers in the order of use."""

    name: str
    rows: tuple[LayerRow, ...]

    @property
    def parameters(self) -> int:
        """Trained parameters of all layers."""
        return sum(row.parameters for row in self.rows)

    @property
    def buffers(self) -> int:
        """Untrained weights of all layers."""
        return sum(row.buffers for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds per image, without the resampling filters."""
        return sum(row.multiply_adds for row in self.rows)

    @property
    def filtering(self) -> int:
        """Multiply-adds per image of the resampling filters."""
        return sum(row.filtering for row in self.rows)


@dataclass(frozen=True)
class _Part:
    """A row without its multiply-adds; `scope` is the path of the layer in the graph."""

    name: str
    scope: tuple[str, ...]
    output_shape: tuple[int, ...]
    weights: tuple[Any, ...] = ()


def describe(config: Config) -> str:
    """Returns the tables of both networks as text, as `tf-sg2 train --dry-run` prints them.

    Builds both networks with all their weights; no image is computed.
    """
    return "\n\n".join(format_table(table) for table in tables(config))


def tables(config: Config) -> tuple[NetworkTable, NetworkTable]:
    """Returns the tables of generator and discriminator."""
    return generator_table(Generator(config.generator)), discriminator_table(
        Discriminator(config.discriminator)
    )


def generator_table(generator: Generator) -> NetworkTable:
    """Returns the layers of a generator, mapping network first."""
    config = generator.config
    inputs = [tf.TensorSpec([1, config.z_dim]), *_label_spec(config)]
    counted = count(tf.function(generator).get_concrete_function(*inputs))
    return _table("Generator", list(_generator_parts(generator)), counted)


def discriminator_table(discriminator: Discriminator) -> NetworkTable:
    """Returns the layers of a discriminator, from the image to the score."""
    config = discriminator.config
    images = tf.TensorSpec([1, *config.image_size, config.image_channels])
    counted = count(tf.function(discriminator).get_concrete_function(images, *_label_spec(config)))
    return _table("Discriminator", list(_discriminator_parts(discriminator)), counted)


def _label_spec(config: Any) -> list[tf.TensorSpec]:
    return [tf.TensorSpec([1, config.label_dim])] if config.label_dim else []


def _mapping_parts(mapping: Any) -> Iterator[_Part]:
    for layer in ([] if mapping.embed is None else [mapping.embed]) + mapping.fc:
        scope = ("mapping", layer.name)
        yield _Part(".".join(scope), scope, (layer.units,), tuple(layer.weights))
    if mapping.w_avg_beta is not None:
        yield _Part("mapping.w_avg", ("mapping",), (mapping.w_dim,), (mapping.w_avg,))


def _generator_parts(generator: Generator) -> Iterator[_Part]:
    yield from _mapping_parts(generator.mapping)
    image_channels, seen = generator.config.image_channels, False
    for block in generator.synthesis.blocks:
        level, scope = block.level, ("synthesis", block.name)
        prefix, inside = ".".join(scope), (level.height, level.width, level.channels)
        if block.const is not None:
            yield _Part(f"{prefix}.const", (*scope, "const"), inside, (block.const,))
        for layer in (block.skip, *block.main_layers()):
            if layer is not None:
                yield _Part(
                    f"{prefix}.{layer.name}", (*scope, layer.name), inside, tuple(layer.weights)
                )
        if block.to_rgb is not None:
            shape = (level.height, level.width, image_channels)
            yield _Part(f"{prefix}.torgb", (*scope, "to_rgb"), shape, tuple(block.to_rgb.weights))
            if seen and generator.config.architecture == "skip":
                yield _Part(f"{prefix}.image", scope, shape)
            seen = True


def _discriminator_parts(discriminator: Discriminator) -> Iterator[_Part]:
    if discriminator.mapping is not None:
        yield from _mapping_parts(discriminator.mapping)
    config, image_channels = discriminator.config, discriminator.config.image_channels
    for block in discriminator.blocks:
        level, below = config.levels[block.index], config.levels[block.index - 1]
        inside, outside = ((n.height, n.width, n.channels) for n in (level, below))
        shapes = {"from_rgb": inside, "skip": outside, "conv0": inside, "conv1": outside}
        yield from _layer_parts(block, shapes)
        if config.architecture == "skip":
            shape = (below.height, below.width, image_channels)
            yield _Part(f"{block.name}.image", (block.name,), shape)
    base, epilogue = config.levels[0], discriminator.epilogue
    inside = (base.height, base.width, base.channels)
    yield from _layer_parts(epilogue, {"from_rgb": inside})
    if epilogue.minibatch_stddev is not None:
        yield _Part(
            f"{epilogue.name}.mbstd",
            (epilogue.name, "minibatch_stddev"),
            (*inside[:2], base.channels + 1),
        )
    yield from _layer_parts(
        epilogue, {"conv": inside, "fc": (base.channels,), "out": (epilogue.units,)}
    )


def _layer_parts(block: Any, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[_Part]:
    for name, shape in shapes.items():
        layer = getattr(block, name)
        if layer is not None:
            yield _Part(
                f"{block.name}.{name}".replace("from_rgb", "fromrgb"),
                (block.name, name),
                shape,
                tuple(layer.weights),
            )


def _table(name: str, parts: Sequence[_Part], counted: Count) -> NetworkTable:
    sums = {part.name: [0, 0] for part in parts}
    for row in counted.rows:
        owner = _owner(row.name, parts)
        sums.setdefault(owner, [0, 0])[row.kind == FILTERING] += row.multiply_adds
    if ELSEWHERE in sums:
        parts = [*parts, _Part(ELSEWHERE, (), ())]
    rows = []
    for part in parts:
        sizes = [(math.prod(weight.shape), weight.trainable) for weight in part.weights]
        rows.append(
            LayerRow(
                part.name,
                part.output_shape,
                sum(size for size, trainable in sizes if trainable),
                sum(size for size, trainable in sizes if not trainable),
                *sums[part.name],
            )
        )
    return NetworkTable(name, tuple(rows))


def _owner(operation: str, parts: Sequence[_Part]) -> str:
    """Returns the name of the row with the longest scope that contains the operation."""
    # Keras 3 numbers the scopes of a call, as in "conv0_1". The first scope is the network.
    scopes = [re.sub(r"_\d+$", "", scope) for scope in operation.split("/")[1:-1]]
    best, depth = ELSEWHERE, 0
    for part in parts:
        # The mapping network of a discriminator has a scope below that of the discriminator.
        for path in (part.scope, part.scope[1:]) if part.scope[0] == "mapping" else (part.scope,):
            if len(path) > depth and tuple(scopes[: len(path)]) == path:
                best, depth = part.name, len(path)
    return best


def format_table(table: NetworkTable) -> str:
    """Returns a table as aligned text with a row of totals."""
    heads = (table.name, "Output shape", "Parameters", "Buffers", "Multiply-adds", "Filtering")
    lines = [
        (
            row.name,
            " x ".join(map(str, row.output_shape)),
            *_numbers(row.parameters, row.buffers, row.multiply_adds, row.filtering),
        )
        for row in table.rows
    ]
    totals = _numbers(table.parameters, table.buffers, table.multiply_adds, table.filtering)
    lines = [heads, *lines, ("Total", "", *totals)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    text = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    text = [text[0], rule, *text[1:-1], rule, text[-1]]
    return "\n".join([*text, "Multiply-adds and filtering (resampling filters) are for one image."])


def _numbers(*values: int) -> tuple[str, ...]:
    return tuple(f"{value:,}" if value else "-" for value in values)

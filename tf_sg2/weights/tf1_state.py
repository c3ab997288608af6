"""Loading weights with the names and layouts of the official TensorFlow 1 releases.

The networks are those of StyleGAN2's paper, table 1, rows A to F, and the progressive GAN. Names
are those of variables in the running graph, such as `G/G_synthesis/8x8/Conv0_up/weight`. Layouts:
kernels are [k, k, in, out] and dense weights [in, out], as ours, and images are NCHW.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator
from tf_sg2.weights.filling import Assignment, assign, matched
from tf_sg2.weights.names import Entry

# The level of detail of a run. It belongs to the schedule of a training, not to the networks here.
LOD_NAMES = ("lod", "G_synthesis/lod")


def load_tf1_state(
    generator: Generator | None,
    discriminator: Discriminator | None,
    arrays: Mapping[str, np.ndarray],
) -> None:
    """Fills networks from arrays named as the variables of the official TensorFlow 1 code.

    Either half may be missing. No weight changes unless all fit. Keys that begin with neither `G/`
    nor `D/` are ignored, and so are the variables `lod`.

    Args:
        generator: receives `G/...`; None ignores that half.
        discriminator: receives `D/...`; None ignores that half.
        arrays: name -> array, official layout.

    Raises:
        InputError: if an array is missing, left over or of another shape. The message names every
            such array. Also for a discriminator with mapped labels, which that code does not have.

    Source: the names that the official releases write.
    """
    assignments: list[Assignment] = []
    problems: list[str] = []
    for letter, network, entries in (
        ("G", generator, _generator_entries),
        ("D", discriminator, _discriminator_entries),
    ):
        half = {name[2:]: name for name in arrays if name.startswith(f"{letter}/")}
        if network is None or not half:
            continue
        half = {name: key for name, key in half.items() if name not in LOD_NAMES}
        fitting, misfits = matched(letter, half, arrays, entries(network))
        assignments += fitting
        problems += misfits
    assign(assignments, problems)


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _turned(array: np.ndarray) -> np.ndarray:
    """Turns a kernel by 180 degrees."""
    return array[::-1, ::-1]


def _copied(name: str, variable: Any) -> Entry:
    return Entry(name, variable, _same, _same)


def _biased(name: str, layer: Any) -> Iterator[Entry]:
    """Yields weight and bias of a layer that has the same layout on both sides."""
    yield _copied(f"{name}/weight", layer.weight)
    yield _copied(f"{name}/bias", layer.bias)


def _noise(name: str, variable: Any) -> Entry:
    return Entry(name, variable, lambda array: array[0, 0], lambda array: array[None, None])


def _const(name: str, variable: Any) -> Entry:
    return Entry(
        name,
        variable,
        lambda array: array[0].transpose(1, 2, 0),
        lambda array: array.transpose(2, 0, 1)[None],
    )


def _modulated(name: str, layer: Any) -> Iterator[Entry]:
    """Yields the weights of a modulated convolution and of its style."""
    kernel = _turned if layer.conv.up > 1 else _same
    yield Entry(f"{name}/weight", layer.conv.weight, kernel, kernel)
    yield _copied(f"{name}/mod_weight", layer.affine.weight)
    # The formula of that code adds 1 to the style; here the bias holds it.
    yield Entry(
        f"{name}/mod_bias",
        layer.affine.bias,
        lambda array: array + np.asarray(1, array.dtype),
        lambda array: array - np.asarray(1, np.float32),
    )
    yield _copied(f"{name}/bias", layer.bias)


def _styled_with_adain(name: str, layer: Any) -> Iterator[Entry]:
    """Yields the weights of an `AdaINLayer`."""
    if layer.conv is not None:
        yield _copied(f"{name}/weight", layer.conv.weight)
    yield _copied(f"{name}/bias", layer.bias)
    yield from _biased(f"{name}/StyleMod", layer.affine)
    if layer.noise is not None:
        yield _copied(f"{name}/Noise/weight", layer.noise.strength)


def _latent_image(name: str, layer: Any) -> Iterator[Entry]:
    """Yields the weights of a `LatentImage`: official outputs C, H, W, ours H, W, C."""
    size = (layer.channels, layer.height, layer.width)

    def from_official(array: np.ndarray) -> np.ndarray:
        return array.reshape(-1, *size).transpose(0, 2, 3, 1).reshape(len(array), -1)

    def to_official(array: np.ndarray) -> np.ndarray:
        spatial = array.reshape(-1, *size[1:], size[0])
        return spatial.transpose(0, 3, 1, 2).reshape(len(array), -1)

    yield Entry(f"{name}/weight", layer.weight, from_official, to_official)
    yield _copied(f"{name}/bias", layer.bias)


def _generator_entries(generator: Generator) -> Iterator[Entry]:
    """Yields every weight of a generator but the mean of w of one without styles."""
    config, mapping = generator.config, generator.mapping
    prefix = "" if config.normalization == "pixel" else "G_synthesis/"
    if prefix:
        yield _copied("dlatent_avg", mapping.w_avg)
    if mapping.embed is not None:
        if mapping.concat:
            yield _copied("G_mapping/LabelConcat/weight", mapping.embed.weight)
        else:
            yield from _biased("G_mapping/LabelEmbed", mapping.embed)
    for i, layer in enumerate(mapping.fc):
        yield from _biased(f"G_mapping/Dense{i}", layer)
    blocks = generator.synthesis.blocks
    noises = [layer.noise for block in blocks for layer in block.convolutions]
    for i, noise in enumerate(noises):
        if noise is not None:
            yield _noise(f"{prefix}noise{i}", noise.const)
    for k, block in enumerate(blocks):
        name = f"{prefix}{block.level.square}x{block.level.square}"
        yield from _block_entries(name, block, config.normalization)
        if block.skip is not None:
            yield Entry(f"{name}/Skip/weight", block.skip.weight, _turned, _turned)
        if block.to_rgb is not None:
            grown = f"{prefix}ToRGB_lod{len(blocks) - 1 - k}"
            to_rgb = grown if config.growing else f"{name}/ToRGB"
            kind = _modulated if config.normalization == "demodulation" else _biased
            yield from kind(to_rgb, block.to_rgb)


def _block_entries(name: str, block: Any, normalization: str) -> Iterator[Entry]:
    """Yields the weights of a synthesis block without those that shortcut it or draw."""
    first = block.index == 0
    if first and normalization != "pixel":
        yield _const(f"{name}/Const/const", block.const)
    if normalization == "adain":
        yield from _styled_with_adain(f"{name}/{'Const' if first else 'Conv0_up'}", block.conv0)
        yield from _styled_with_adain(f"{name}/{'Conv' if first else 'Conv1'}", block.conv1)
    elif normalization == "pixel":
        if first:
            yield from _latent_image(f"{name}/Dense", block.conv0)
        else:
            yield from _biased(f"{name}/Conv0_up", block.conv0)
        yield from _biased(f"{name}/{'Conv' if first else 'Conv1'}", block.conv1)
    else:
        for layer in block.convolutions:
            layer_name = "Conv" if first else {"conv0": "Conv0_up", "conv1": "Conv1"}[layer.name]
            yield from _modulated(f"{name}/{layer_name}", layer)
            if layer.noise is not None:
                yield _copied(f"{name}/{layer_name}/noise_strength", layer.noise.strength)


def _discriminator_entries(discriminator: Discriminator) -> Iterator[Entry]:
    """Yields every weight of a discriminator.

    Raises:
        InputError: if its labels are mapped, because the official code has no such network.
    """
    config, epilogue = discriminator.config, discriminator.epilogue
    if discriminator.mapping is not None:
        raise InputError(
            "this discriminator projects onto mapped labels, which the official TensorFlow 1 "
            "networks do not; set discriminator.label_output to dot"
        )
    blocks: list[Any] = [*discriminator.blocks, epilogue]
    for k, block in enumerate(blocks):
        square = config.levels[len(config.levels) - 1 - k].square
        name = f"{square}x{square}"
        if block.from_rgb is not None:
            grown = f"FromRGB_lod{k}"
            yield from _biased(grown if config.growing else f"{name}/FromRGB", block.from_rgb)
        if block is epilogue:
            continue
        yield from _biased(f"{name}/Conv0", block.conv0)
        yield from _biased(f"{name}/Conv1_down", block.conv1)
        if block.skip is not None:
            yield _copied(f"{name}/Skip/weight", block.skip.weight)
    base = config.levels[0]
    name = f"{base.square}x{base.square}"
    yield from _biased(f"{name}/Conv", epilogue.conv)
    size = (base.channels, base.height, base.width)

    def from_official(array: np.ndarray) -> np.ndarray:
        return array.reshape(*size, -1).transpose(1, 2, 0, 3).reshape(array.shape)

    def to_official(array: np.ndarray) -> np.ndarray:
        spatial = array.reshape(*size[1:], size[0], -1)
        return spatial.transpose(2, 0, 1, 3).reshape(array.shape)

    yield Entry(f"{name}/Dense0/weight", epilogue.fc.weight, from_official, to_official)
    yield _copied(f"{name}/Dense0/bias", epilogue.fc.bias)
    out = "Output" if config.activation_gain == "output" else f"{name}/Dense1"
    yield from _biased(out, epilogue.out)

"""What a foreign file holds in our terms, and what its arrays say about the configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tf_sg2.weights.pickles.errors import UnreadableError

Arrays = dict[str, np.ndarray]

# A batch is never larger, so this group is always the whole batch.
WHOLE_BATCH = 1 << 20


@dataclass
class Network:
    """One network: its arrays by official PyTorch names, and its fields of the configuration."""

    arrays: Arrays
    fields: dict[str, Any]


@dataclass
class Networks:
    """The networks of a file; absent ones are None. `notes` are sentences for the model card."""

    kind: str
    generator: Network | None = None
    discriminator: Network | None = None
    average: Network | None = None
    notes: list[str] = field(default_factory=list)


def channel_fields(widths: Mapping[int, int]) -> dict[str, int]:
    """Returns `channel_base` and `channel_max` that give these channels to these square sizes.

    Raises:
        UnreadableError: if no pair does.
    """
    largest = max(widths.values())
    narrow = [size * width for size, width in widths.items() if width < largest]
    base = max(narrow, default=max(widths) * largest)
    if any(max(1, min(base // size, largest)) != width for size, width in widths.items()):
        raise UnreadableError(f"its channels {dict(widths)} are not of StyleGAN2's form")
    return {"channel_base": base, "channel_max": largest}


def generator_widths(arrays: Arrays) -> dict[int, int]:
    """Returns the channels of each square size of a synthesis network."""
    names = [f"synthesis.b{4 << k}.conv1.bias" for k in range(16)]
    return {4 << k: len(arrays[name]) for k, name in enumerate(names) if name in arrays}


def discriminator_widths(arrays: Arrays) -> dict[int, int]:
    """Returns the channels of each square size of a discriminator."""
    names = [(4 << k, f"b{4 << k}.conv0.bias") for k in range(1, 16)]
    widths = {size: len(arrays[name]) for size, name in names if name in arrays}
    return {4: len(arrays["b4.conv.bias"]), **widths}


def count(arrays: Iterable[str], prefix: str) -> int:
    """Returns the number of layers `prefix`0, `prefix`1 ... that have a weight."""
    names = set(arrays)
    number = 0
    while f"{prefix}{number}.weight" in names:
        number += 1
    return number


def mapping_fields(arrays: Arrays, prefix: str = "mapping.") -> dict[str, Any]:
    """Returns the fields of a mapping network that its shapes tell.

    Keys are `layers`, `width`, `label_dim` and `label_width`; the last two only with labels, and
    `width` only where there is an inner layer.
    """
    layers = count(arrays, f"{prefix}fc")
    fields: dict[str, Any] = {"layers": layers}
    if layers > 1:
        fields["width"] = len(arrays[f"{prefix}fc0.bias"])
    embed = arrays.get(f"{prefix}embed.weight")
    if embed is not None:
        fields["label_width"], fields["label_dim"] = embed.shape
    return fields


def generator_fields(arrays: Arrays, label_input: str = "embed") -> dict[str, Any]:
    """Returns the fields of a generator that its shapes tell.

    Raises:
        UnreadableError: if it is no StyleGAN2 generator.
    """
    if "synthesis.b4.const" not in arrays:
        raise UnreadableError("its generator is not of the StyleGAN2 architecture")
    widths = generator_widths(arrays)
    size = max(widths)
    first = arrays["mapping.fc0.weight"]
    mapping = mapping_fields(arrays)
    w_dim = arrays["synthesis.b4.conv1.affine.weight"].shape[1]
    concat = label_input == "concat"
    fields: dict[str, Any] = {
        "image_size": (size, size),
        "image_channels": len(arrays[f"synthesis.b{size}.torgb.bias"]),
        "w_dim": w_dim,
        "z_dim": first.shape[1] - mapping.get("label_width", 0),
        "label_dim": mapping.get("label_dim", 0),
        "mapping_layers": mapping["layers"],
        "label_input": label_input,
        "use_noise": "synthesis.b4.conv1.noise_strength" in arrays,
        **channel_fields(widths),
    }
    if mapping.get("width", w_dim) != w_dim:
        fields["mapping_width"] = mapping["width"]
    if not concat and mapping.get("label_width", w_dim) != w_dim:
        fields["label_width"] = mapping["label_width"]
    if f"synthesis.b{size}.skip.weight" in arrays:
        fields["architecture"] = "resnet"
    else:
        fields["architecture"] = "skip" if "synthesis.b4.torgb.weight" in arrays else "orig"
    return fields


def discriminator_fields(
    arrays: Arrays, label_dim: int = 0, label_output: str = "projection"
) -> dict[str, Any]:
    """Returns the fields of a discriminator that its shapes tell.

    Raises:
        UnreadableError: if it is no StyleGAN2 discriminator.
    """
    if "b4.conv.weight" not in arrays or "b4.out.weight" not in arrays:
        raise UnreadableError("its discriminator is not of the StyleGAN2 architecture")
    widths = discriminator_widths(arrays)
    size, base = max(widths), widths[4]
    output = arrays["b4.out.weight"].shape[0]
    fields: dict[str, Any] = {
        "image_size": (size, size),
        "image_channels": arrays[f"b{size}.fromrgb.weight"].shape[1],
        **channel_fields(widths),
    }
    mapping = mapping_fields(arrays)
    if "label_dim" in mapping:
        fields |= {"label_dim": mapping["label_dim"], "mapping_layers": mapping["layers"]}
        if output != base:
            fields["output_width"] = output
        if mapping["label_width"] != output:
            fields["label_width"] = mapping["label_width"]
        if mapping.get("width", output) != output:
            fields["mapping_width"] = mapping["width"]
    elif label_dim:
        fields |= {"label_dim": label_dim, "label_output": label_output}
    if f"b{size}.skip.weight" in arrays:
        fields["architecture"] = "resnet"
    else:
        fields["architecture"] = "skip" if "b4.fromrgb.weight" in arrays else "orig"
    extra = arrays["b4.conv.weight"].shape[1] - base
    if extra not in (0, 1):
        raise UnreadableError(f"its discriminator has {extra} minibatch-stddev channels, not 1")
    if not extra:
        fields["minibatch_stddev_group"] = 0
    return fields


def option(values: Any, name: str, default: Any = None) -> Any:
    """Returns an option of a file's network; only numbers, texts, truth values and None pass.

    Raises:
        UnreadableError: if it is anything else.
    """
    found = values.get(name, default) if isinstance(values, dict) else default
    if isinstance(found, np.generic):
        found = found.item()
    if found is not None and type(found) not in (bool, int, float, str):
        raise UnreadableError(f"its option {name} is neither a number nor a text")
    return found


def refuse_unknown(options: Any, known: Iterable[str], fixed: Mapping[str, Any]) -> None:
    """Refuses options that change the network in a way that this library does not have.

    Args:
        options: the options by name.
        known: names that are read elsewhere, or that change no result.
        fixed: names that may have only this value.

    Raises:
        UnreadableError: for any other option.
    """
    for name in options:
        if name in known:
            continue
        value = option(options, name)
        if name not in fixed:
            raise UnreadableError(f"its network has the option {str(name)[:40]!r}, not known here")
        if value != fixed[name]:
            raise UnreadableError(
                f"its network has {name} = {str(value)[:40]!r}; only {fixed[name]!r} can be read"
            )

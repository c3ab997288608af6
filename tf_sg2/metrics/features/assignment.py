"""PyTorch arrays into Keras models whose layers have PyTorch's names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorflow import keras

from tf_sg2.errors import InputError

# Layer -> PyTorch's names of what `get_weights` lists, in that order.
PARTS = {
    keras.layers.Conv2D: ("weight", "bias"),
    keras.layers.Dense: ("weight", "bias"),
    keras.layers.BatchNormalization: ("weight", "bias", "running_mean", "running_var"),
}


def without_prefix(
    arrays: Mapping[str, np.ndarray], anchor: str, owner: str = ""
) -> dict[str, np.ndarray]:
    """Returns the arrays beside `anchor` with the prefix removed that its name has.

    So `features.0.weight` is found in a file that says `vgg16.features.0.weight`. Of several
    prefixes, the one that ends in `owner` counts.

    Raises:
        InputError: if no name, or more than one, ends in `anchor`.
    """
    prefixes = [
        name.removesuffix(anchor)
        for name in arrays
        if name == anchor or name.endswith("." + anchor)
    ]
    if len(prefixes) > 1:
        prefixes = [prefix for prefix in prefixes if prefix.endswith(f"{owner}.")]
    if len(prefixes) != 1:
        raise InputError(
            f"the weights hold {len(prefixes)} arrays named {anchor!r}, expected 1; these are "
            f"weights of another network: {', '.join(sorted(arrays)[:3]) or 'no arrays'}, …"
        )
    (prefix,) = prefixes
    return {
        name.removeprefix(prefix): np.asarray(array)
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


def assign(model: Any, arrays: Mapping[str, np.ndarray], ignored: tuple[str, ...] = ()) -> None:
    """Fills a model; nothing changes unless everything fits.

    Args:
        model: a Keras model; the layer `conv1` takes `conv1.weight` and so on.
        arrays: PyTorch's names and layouts (kernels [out, in, rows, columns]).
        ignored: parts of names that may be left over.

    Raises:
        InputError: naming each array that is missing, left over, or of another shape.
    """
    problems = []
    values: list[tuple[Any, list[np.ndarray]]] = []
    used = set()
    for layer in model.layers:
        parts = PARTS.get(type(layer), ())
        shapes = [tuple(weight.shape) for weight in layer.weights]
        filled = []
        for part, shape in zip(parts, shapes, strict=False):  # A layer may have no bias.
            name = f"{layer.name}.{part}"
            used.add(name)
            if name not in arrays:
                problems.append(f"{name} is missing")
                continue
            array = _to_keras(arrays[name])
            if array.shape != shape:
                problems.append(f"{name} has shape {arrays[name].shape}, in Keras's order {shape}")
            filled.append(array.astype(np.float32))
        values.append((layer, filled))
    left = [name for name in arrays if name not in used and not any(i in name for i in ignored)]
    problems += [f"{name} is left over" for name in left]
    if problems:
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(f"the weights do not fit the network: {'; '.join(problems[:5])}{more}")
    for layer, filled in values:
        if filled:
            layer.set_weights(filled)


def _to_keras(array: np.ndarray) -> np.ndarray:
    if array.ndim == 4:
        return array.transpose(2, 3, 1, 0)
    return array.T if array.ndim == 2 else array

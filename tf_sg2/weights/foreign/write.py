"""Writes networks of this library to files that other programs read."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tf_sg2 import __version__
from tf_sg2.config import Config, to_json
from tf_sg2.errors import InputError
from tf_sg2.files import new_file
from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator
from tf_sg2.ops import resample_kernel
from tf_sg2.weights import safetensors
from tf_sg2.weights.foreign import rosinality
from tf_sg2.weights.foreign.build import Built
from tf_sg2.weights.foreign.networks import Arrays
from tf_sg2.weights.pickles.torch_writer import write_archive
from tf_sg2.weights.torch_state import export_torch_state


def official_arrays(network: Generator | Discriminator) -> Arrays:
    """Returns every parameter and buffer of the official class by its name.

    The resampling filters are among them, so that `load_state_dict` accepts the result.
    """
    is_generator = isinstance(network, Generator)
    pair = (network, None) if is_generator else (None, network)
    arrays = {name[2:]: array for name, array in export_torch_state(*pair).items()}
    kernel = np.array(resample_kernel(network.config.resample_filter), np.float32)
    prefix = "synthesis." if is_generator else ""
    blocks = [
        f"{prefix}b{level.square}"
        for level in network.config.levels
        if is_generator or level.square > 4
    ]
    layers = [
        name.removesuffix(".weight")
        for name, array in arrays.items()
        if array.ndim == 4 and name.endswith(".weight") and ".torgb." not in name
    ]
    return arrays | {f"{name}.resample_filter": kernel.copy() for name in blocks + layers}


def _all_arrays(networks: Built) -> Arrays:
    parts: dict[str, Generator | Discriminator] = {
        "G": networks.generator,
        "D": networks.discriminator,
        "G_ema": networks.average,
    }
    return {
        f"{key}.{name}": np.ascontiguousarray(array).reshape(array.shape)
        for key, network in parts.items()
        for name, array in official_arrays(network).items()
    }


def write_safetensors(path: Path, config: Config, networks: Built) -> None:
    """Writes G, D and G_ema with official PyTorch names, such as "G_ema.mapping.fc0.weight"."""
    metadata = {"format": "pt", "software": f"tf_sg2 {__version__}", "config": to_json(config)}
    safetensors.write(path, _all_arrays(networks), metadata)


def write_npz(path: Path, config: Config, networks: Built) -> None:
    """Writes the same arrays for NumPy; the entry `config` is the configuration as JSON."""
    with new_file(path) as file:
        np.savez(file, config=np.array(to_json(config)), **_all_arrays(networks))  # type: ignore[arg-type]


def write_keras(path: Path, config: Config, networks: Built) -> None:
    """Writes the averaged generator as Keras saves models."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "generator.keras"
        networks.average.save(file)
        with new_file(path) as written:
            written.write(file.read_bytes())


def write_rosinality(path: Path, config: Config, networks: Built) -> None:
    """Writes a checkpoint of rosinality/stylegan2-pytorch: g, g_ema, d and latent_avg.

    Raises:
        InputError: if those networks have no such form.
    """
    _check_rosinality(config)
    size = config.generator.levels[-1].square
    names = rosinality.generator_names(size, config.generator.mapping_layers)
    state: dict[str, object] = {}
    for key, generator in (("g_ema", networks.average), ("g", networks.generator)):
        arrays = official_arrays(generator)
        state[key] = _renamed(arrays, names) | rosinality.generator_kernels(size)
    arrays = official_arrays(networks.discriminator)
    d_names = rosinality.discriminator_names(size)
    state["d"] = _renamed(arrays, d_names) | rosinality.discriminator_kernels(size)
    state["latent_avg"] = np.asarray(networks.average.mapping.w_avg)
    write_archive(path, state)


def _renamed(arrays: Arrays, names: dict[str, tuple[str, tuple[int, ...]]]) -> Arrays:
    return {
        theirs: np.expand_dims(arrays[official], axes) for theirs, (official, axes) in names.items()
    }


def _check_rosinality(config: Config) -> None:
    g, d = config.generator, config.discriminator
    level = g.levels[-1]
    wanted = (
        ("generator.architecture", g.architecture, "skip"),
        ("discriminator.architecture", d.architecture, "resnet"),
        ("generator.image_size", g.image_size, (level.square, level.square)),
        ("generator.image_channels", g.image_channels, 3),
        ("generator.label_dim", g.label_dim, 0),
        ("generator.w_dim", g.w_dim, g.z_dim),
        ("generator.mapping_width", g.mapping_width or g.w_dim, g.w_dim),
        ("generator.mapping_lr_multiplier", g.mapping_lr_multiplier, 0.01),
        ("generator.use_noise", g.use_noise, True),
        ("generator.resample_filter", g.resample_filter, rosinality.TAPS),
        ("discriminator.resample_filter", d.resample_filter, rosinality.TAPS),
        ("discriminator.minibatch_stddev_group", d.minibatch_stddev_group, 4),
    )
    for name, value, only in wanted:
        if value != only:
            raise InputError(
                f"{name} is {value}, but rosinality's networks have {only}; "
                "write a .safetensors or .npz file instead"
            )


# Ending of a file -> what writes it.
WRITERS: dict[str, Callable[[Path, Config, Built], None]] = {
    ".safetensors": write_safetensors,
    ".npz": write_npz,
    ".pt": write_rosinality,
    ".keras": write_keras,
}

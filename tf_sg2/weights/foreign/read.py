"""Reads a file of weights of any known kind, without executing anything in it."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from pydantic_core import from_json

from tf_sg2.config import Config, DiscriminatorConfig, GeneratorConfig, from_dict, to_dict
from tf_sg2.config.schema import SHARED_FIELDS
from tf_sg2.errors import InputError
from tf_sg2.files import open_regular
from tf_sg2.weights import safetensors
from tf_sg2.weights.foreign import rosinality, tensorflow, torch
from tf_sg2.weights.foreign.networks import Arrays, Network, Networks
from tf_sg2.weights.pickles.arrays import Budget
from tf_sg2.weights.pickles.errors import UnreadableError, one_sentence
from tf_sg2.weights.pickles.instructions import Reader
from tf_sg2.weights.pickles.machine import Machine
from tf_sg2.weights.pickles.official import OFFICIAL_NAMES
from tf_sg2.weights.pickles.torch_files import ZIP_START, is_older, read_archive, read_older

KIND = "file of a StyleGAN2 network"
OTHER = "no file of a StyleGAN2 network"


class State(TypedDict):
    """The networks of a file: arrays by official PyTorch names, and the configuration.

    A network that the file does not hold has no arrays. `config` describes both networks; fields
    of training have their defaults.
    """

    G: Arrays
    D: Arrays
    G_ema: Arrays
    config: Config


def read(path: str | Path) -> State:
    """Returns the networks of a file. Nothing in the file is executed.

    These files are known: pickles of the official PyTorch releases (StyleGAN2 architecture),
    pickles of the official TensorFlow 1 releases of StyleGAN2, checkpoints of
    rosinality/stylegan2-pytorch, and the .safetensors files of `tf-sg2 convert`.

    Returns:
        {"G": arrays, "D": arrays, "G_ema": arrays, "config": tf_sg2.Config}. Arrays have the names
        and the layout of the official PyTorch release (NCHW, kernels [out, in, k, k]). Buffers are
        among them. A network that the file does not hold has an empty dictionary.

    Raises:
        InputError: if the file holds anything unsafe or unknown, or is damaged.
    """
    return state_of(read_networks(path))


def state_of(networks: Networks) -> State:
    """Returns the networks of a file in the form of `read`."""
    parts = (networks.generator, networks.discriminator, networks.average)
    g, d, average = ({} if part is None else part.arrays for part in parts)
    return {"G": g, "D": d, "G_ema": average, "config": config_of(networks)}


def read_networks(path: str | Path) -> Networks:
    """Returns the networks of a file with what is known of their configuration.

    Raises:
        InputError: if the file holds anything unsafe or unknown, or is damaged.
    """
    with one_sentence(path, KIND, OTHER):
        with open_regular(path) as file:
            data = file.read()
        networks = _networks(data)
        if networks.generator is None and networks.average is None:
            raise UnreadableError("it holds no generator")
        config_of(networks)
        return networks
    raise AssertionError  # `one_sentence` never suppresses an error.


def _networks(data: bytes) -> Networks:
    budget = Budget(len(data))
    if safetensors.is_safetensors(data):
        return _own(*safetensors.parse(data))
    if data[:4] == ZIP_START:
        value = read_archive(data, OFFICIAL_NAMES)
    elif is_older(data):
        value = read_older(data, OFFICIAL_NAMES)
    else:
        value = Machine(OFFICIAL_NAMES).run(Reader(data))
        if type(value) is tuple:
            return tensorflow.read_networks(value, budget)
        if isinstance(value, dict):
            return torch.read_networks(value, budget)
        raise UnreadableError("it is a pickle of something else")
    if not isinstance(value, dict):
        raise UnreadableError("it holds no dictionary of networks")
    return rosinality.read_networks(value, budget)


def _own(arrays: Arrays, texts: dict[str, str]) -> Networks:
    """Returns the networks of a .safetensors file of this library."""
    if "config" not in texts:
        raise UnreadableError("it has no configuration; tf-sg2 convert writes one")
    try:
        config = from_dict(from_json(texts["config"]))
    except InputError as error:
        raise UnreadableError(str(error)) from error
    parts: dict[str, Arrays] = {"G": {}, "D": {}, "G_ema": {}}
    for name, array in arrays.items():
        key, _, official = name.partition(".")
        if key not in parts:
            raise UnreadableError(f"it holds the array {name[:80]!r} of no network")
        parts[key][official] = array
    g, d = to_dict(config.generator), to_dict(config.discriminator)
    return Networks(
        "safetensors of tf_sg2",
        Network(parts["G"], g) if parts["G"] else None,
        Network(parts["D"], d) if parts["D"] else None,
        Network(parts["G_ema"], g) if parts["G_ema"] else None,
    )


def config_of(networks: Networks) -> Config:
    """Returns the configuration of both networks.

    Where the file holds only one, the other has the same image and label sizes and channels.

    Raises:
        UnreadableError: if the fields are no configuration that this library has.
    """
    generator = networks.average or networks.generator
    if generator is None:
        raise UnreadableError("it holds no generator")
    try:
        g = from_dict(generator.fields, GeneratorConfig)
        shared = (*SHARED_FIELDS, "channel_base", "channel_max", "conv_clamp", "resample_filter")
        other = networks.discriminator or Network({}, {key: to_dict(g)[key] for key in shared})
        d = from_dict(other.fields, DiscriminatorConfig)
        return Config(g, d)
    except InputError as error:
        raise UnreadableError(str(error)) from error


def unused_names(config: Config, arrays: Arrays) -> set[str]:
    """Returns the arrays of a generator or discriminator that have no effect on its results.

    A network that has stopped growing still holds the ToRGB and FromRGB of its small sizes.
    """
    unused: set[str] = set()
    for part, prefix, layer in (
        (config.generator, "synthesis.", "torgb"),
        (config.discriminator, "", "fromrgb"),
    ):
        if part.architecture != "skip":
            small = [f"{prefix}b{level.square}.{layer}." for level in part.levels[:-1]]
            unused |= {name for name in arrays if name.startswith(tuple(small))}
    return unused

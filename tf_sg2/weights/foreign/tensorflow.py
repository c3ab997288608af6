"""Pickles of the official TensorFlow 1 releases, as arrays by official PyTorch names.

The file is a tuple (G, D, Gs) of networks: names and arrays of variables, the arguments of the
functions that build them, and the source text of these functions, which is never read. Layouts:
kernels are [k, k, in, out], dense weights [in, out]; upsampling kernels are mirrored.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from tf_sg2.weights.foreign.networks import (
    WHOLE_BATCH,
    Arrays,
    Network,
    Networks,
    discriminator_fields,
    generator_fields,
    option,
    refuse_unknown,
)
from tf_sg2.weights.pickles.arrays import Budget, NumpyArray
from tf_sg2.weights.pickles.errors import DamagedError, UnreadableError
from tf_sg2.weights.pickles.official import TensorflowNetwork

MOST_VARIABLES = 10_000
Conversion = Callable[[np.ndarray], np.ndarray]


def _same(array: np.ndarray) -> np.ndarray:
    return array


def _kernel(array: np.ndarray) -> np.ndarray:
    return array.transpose(3, 2, 0, 1)


def _mirrored(array: np.ndarray) -> np.ndarray:
    return array[::-1, ::-1].transpose(3, 2, 0, 1)


def _noise(array: np.ndarray) -> np.ndarray:
    return array[0, 0]


def _style_bias(array: np.ndarray) -> np.ndarray:
    return array + np.asarray(1, array.dtype)  # The formula of TensorFlow adds it.


_MODULATED: dict[str, tuple[str, Conversion]] = {
    "mod_weight": ("affine.weight", np.transpose),
    "mod_bias": ("affine.bias", _style_bias),
    "noise_strength": ("noise_strength", _same),
    "bias": ("bias", _same),
}
_LAYERS = {
    "Conv": "conv1",
    "Conv0_up": "conv0",
    "Conv1": "conv1",
    "ToRGB": "torgb",
    "Skip": "skip",
}
_D_LAYERS = {
    "FromRGB": "fromrgb",
    "Conv": "conv",
    "Conv0": "conv0",
    "Conv1_down": "conv1",
    "Skip": "skip",
    "Dense0": "fc",
}


def _dense(name: str, last: str) -> tuple[str, Conversion]:
    return f"{name}.{last}", (np.transpose if last == "weight" else _same)


def generator_name(name: str, size: int) -> tuple[str, Conversion] | None:
    """Returns the official PyTorch name of a variable and its conversion; None for unused ones.

    Args:
        name: such as "synthesis/8x8/Conv1/weight".
        size: resolution of the network.

    Raises:
        UnreadableError: if StyleGAN2 has no such variable.
    """
    if name in ("lod", "synthesis/lod"):
        return None
    if name == "dlatent_avg":
        return "mapping.w_avg", _same
    if match := re.fullmatch(r"mapping/(Dense([0-9]+)|LabelEmbed|LabelConcat)/(weight|bias)", name):
        return _dense(f"mapping.fc{match[2]}" if match[2] else "mapping.embed", match[3])
    if match := re.fullmatch(r"synthesis/noise([0-9]{1,2})", name):
        level, second = divmod(int(match[1]) + 1, 2)  # Noise 0 belongs to conv1 of the base.
        return f"synthesis.b{4 << level}.conv{second}.noise_const", _noise
    if name == "synthesis/4x4/Const/const":
        return "synthesis.b4.const", lambda array: array[0]
    if match := re.fullmatch(r"synthesis/ToRGB_lod([0-9]{1,2})/(\w+)", name):
        block, layer, last = f"b{size >> int(match[1])}", "torgb", match[2]
    elif match := re.fullmatch(r"synthesis/([0-9]+)x\1/(\w+)/(\w+)", name):
        if match[2] not in _LAYERS:
            raise UnreadableError(f"its generator has a variable {name[:80]!r}, not of StyleGAN2")
        block, layer, last = f"b{match[1]}", _LAYERS[match[2]], match[3]
    else:
        raise UnreadableError(
            f"its generator has a variable {name[:80]!r}; StyleGAN2 has none of this name "
            "(networks of the first StyleGAN cannot be read)"
        )
    if last == "weight":
        mirrored = layer in ("conv0", "skip")
        return f"synthesis.{block}.{layer}.weight", (_mirrored if mirrored else _kernel)
    if last not in _MODULATED:
        raise UnreadableError(f"its generator has a variable {name[:80]!r}, not of StyleGAN2")
    official, conversion = _MODULATED[last]
    return f"synthesis.{block}.{layer}.{official}", conversion


def discriminator_name(name: str, size: int) -> tuple[str, Conversion] | None:
    """Returns the official PyTorch name of a variable and its conversion; None for unused ones.

    Raises:
        UnreadableError: if StyleGAN2 has no such variable.
    """
    if name == "lod":
        return None
    if match := re.fullmatch(r"(Mapping([0-9]+)|LabelEmbed|Output)/(weight|bias)", name):
        layer = f"mapping.fc{match[2]}" if match[2] else "mapping.embed"
        return _dense("b4.out" if match[1] == "Output" else layer, match[3])
    if match := re.fullmatch(r"FromRGB_lod([0-9]{1,2})/(weight|bias)", name):
        official, last = f"b{size >> int(match[1])}.fromrgb", match[2]
    elif match := re.fullmatch(r"([0-9]+)x\1/(\w+)/(weight|bias)", name):
        if match[2] not in _D_LAYERS:
            raise UnreadableError(
                f"its discriminator has a variable {name[:80]!r}; StyleGAN2 has none of this name"
            )
        official, last = f"b{match[1]}.{_D_LAYERS[match[2]]}", match[3]
        if match[2] == "Dense0":
            return _dense(official, last)
    else:
        raise UnreadableError(
            f"its discriminator has a variable {name[:80]!r}; StyleGAN2 has none of this name"
        )
    return f"{official}.{last}", (_kernel if last == "weight" else _same)


def variables_of(network: TensorflowNetwork, budget: Budget) -> Arrays:
    """Returns the variables of a network and of its components, as they are in the file.

    Raises:
        UnreadableError: if the network is not described as the official code does.
    """
    components = network.state.get("components", {})
    if not isinstance(components, dict) or len(components) > 2:
        raise DamagedError("a network's components are no dictionary")
    parts: list[tuple[str, Any]] = [("", network)]
    parts += [(f"{name}/", part) for name, part in components.items()]
    arrays: Arrays = {}
    for prefix, part in parts:
        if not isinstance(part, TensorflowNetwork):
            raise UnreadableError("a part of its networks is no network")
        pairs = part.state.get("variables", [])
        if type(pairs) is not list or len(pairs) > MOST_VARIABLES:
            raise DamagedError("a network's variables are no list")
        for pair in pairs:
            if type(pair) is not tuple or len(pair) != 2 or type(pair[0]) is not str:
                raise DamagedError("a variable has no name")
            name, value = pair
            if isinstance(value, NumpyArray):
                arrays[prefix + name] = value.array(budget)
            elif isinstance(value, (np.number, float, int)):
                arrays[prefix + name] = np.asarray(value)
            else:
                raise DamagedError("a variable is no array")
    return arrays


# Arguments that the shapes tell too, and those that change no result of a trained network.
_KNOWN = frozenset(
    "num_channels resolution label_size fmap_base fmap_decay fmap_min fmap_max label_fmaps "
    "latent_size dlatent_size mapping_layers mapping_fmaps mapping_lrmul dlatent_broadcast "
    "architecture num_fp16_res conv_clamp mbstd_group_size cmap_dim dlatent_avg_beta w_avg_beta "
    "truncation_psi truncation_cutoff truncation_psi_training truncation_psi_val "
    "truncation_cutoff_training truncation_cutoff_val style_mixing_prob randomize_noise "
    "synthesis_func mapping_func structure dtype fused_modconv fp16_channels_last use_noise "
    "is_training is_validation is_template_graph force_clean_graph".split()
)
_FIXED = {
    "normalize_latents": True,
    "nonlinearity": "lrelu",
    "act": "lrelu",
    "activation": "lrelu",
    "mbstd_num_features": 1,
}


def _options(network: TensorflowNetwork, arrays: Arrays) -> dict[str, Any]:
    options = network.state.get("static_kwargs", {})
    if not isinstance(options, dict):
        raise DamagedError("a network's arguments are no dictionary")
    refuse_unknown(
        {name: value for name, value in options.items() if name != "resample_kernel"},
        _KNOWN,
        _FIXED,
    )
    taps = options.get("resample_kernel") or [1, 3, 3, 1]
    if list(taps) != [1, 3, 3, 1]:
        raise UnreadableError("its resample_kernel is not [1, 3, 3, 1]")
    for name in ("lod", "synthesis/lod"):
        if float(arrays.get(name, 0)) != 0:
            raise UnreadableError("it was saved while its networks were growing")
    return options


def _renamed(arrays: Arrays, rename: Callable, size: int) -> Arrays:
    renamed: Arrays = {}
    for name, array in arrays.items():
        found = rename(name, size)
        if found is not None:
            renamed[found[0]] = np.array(found[1](array), order="C")
    return renamed


def _size(options: dict[str, Any], arrays: Arrays) -> int:
    sizes = [int(m[1]) for m in (re.search(r"([0-9]{1,5})x\1/", name) for name in arrays) if m]
    if not sizes:
        raise UnreadableError("its networks have no layers")
    return max(sizes)


def read_generator(network: TensorflowNetwork, budget: Budget) -> Network:
    """Returns the generator that a network describes.

    Raises:
        UnreadableError: if it is no StyleGAN2 generator.
    """
    variables = variables_of(network, budget)
    options = _options(network, variables)
    arrays = _renamed(variables, generator_name, _size(options, variables))
    concat = "mapping/LabelConcat/weight" in variables
    fields = generator_fields(arrays, "concat" if concat else "embed")
    if any("ToRGB_lod" in name for name in variables):
        fields["architecture"] = "orig"  # Of a grown network, only the last ToRGB has an effect.
    fields["conv_clamp"] = option(options, "conv_clamp")
    fields["mapping_lr_multiplier"] = option(options, "mapping_lrmul", 0.01)
    fields["w_avg_beta"] = option(options, "dlatent_avg_beta", option(options, "w_avg_beta", 0.995))
    return Network(arrays, fields)


def read_discriminator(network: TensorflowNetwork, budget: Budget) -> Network:
    """Returns the discriminator that a network describes.

    Raises:
        UnreadableError: if it is no StyleGAN2 discriminator.
    """
    variables = variables_of(network, budget)
    options = _options(network, variables)
    arrays = _renamed(variables, discriminator_name, _size(options, variables))
    fields = discriminator_fields(arrays, option(options, "label_size", 0), "dot")
    if any("FromRGB_lod" in name for name in variables):
        fields["architecture"] = "orig"
    fields["conv_clamp"] = option(options, "conv_clamp")
    if fields.get("mapping_layers"):
        fields["mapping_lr_multiplier"] = option(options, "mapping_lrmul", 0.1)
    # The release of StyleGAN2 does not write its default, 4, into the file.
    group = option(options, "mbstd_group_size", 4)
    fields.setdefault("minibatch_stddev_group", WHOLE_BATCH if group is None else group)
    return Network(arrays, fields)


def read_networks(networks: tuple[Any, ...], budget: Budget) -> Networks:
    """Returns the networks of an official tuple (G, D, Gs).

    Raises:
        UnreadableError: if it is no such tuple.
    """
    if len(networks) != 3 or not all(isinstance(part, TensorflowNetwork) for part in networks):
        raise UnreadableError("its tuple does not hold three networks")
    generator, discriminator, average = networks
    return Networks(
        "official TensorFlow pickle",
        read_generator(generator, budget),
        read_discriminator(discriminator, budget),
        read_generator(average, budget),
    )

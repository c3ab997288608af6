"""Pickles of the official PyTorch releases (2021, and the StyleGAN3 repository's StyleGAN2).

The file is a dictionary of modules. A module is described by its class name and its attributes;
among them are its parameters, its buffers, its parts and the arguments of its constructor. The
source text of the class is in the file too. It is never read.
"""

from __future__ import annotations

from typing import Any

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
from tf_sg2.weights.pickles.arrays import Budget, Tensor
from tf_sg2.weights.pickles.errors import DamagedError, UnreadableError
from tf_sg2.weights.pickles.official import Module

MOST_MODULES = 10_000
MOST_LEVELS = 12
# Options that change speed or training, not results.
IRRELEVANT = frozenset(
    "num_fp16_res fp16_channels_last freeze_layers fused_modconv_default fp16_res".split()
)
BLOCK_FIXED = {"activation": "lrelu", "kernel_size": 3, "resample_mode": "filter"}


def arrays_of(module: Module, budget: Budget) -> Arrays:
    """Returns the parameters and buffers of a module by their official names.

    Raises:
        UnreadableError: if the module is not described as PyTorch does.
    """
    arrays: Arrays = {}
    pending, seen = [("", module, 0)], 0
    while pending:
        prefix, part, level = pending.pop()
        seen += 1
        if seen > MOST_MODULES or level > MOST_LEVELS:
            raise DamagedError("its modules are nested too deeply")
        for kind in ("_parameters", "_buffers"):
            for name, value in part.entries(kind).items():
                if isinstance(value, Tensor):
                    arrays[f"{prefix}{name}"] = value.array(budget)
                elif value is not None:
                    raise DamagedError("a parameter is no tensor")
        for name, inner in part.entries("_modules").items():
            if not isinstance(inner, Module):
                raise DamagedError("a part of a module is no module")
            pending.append((f"{prefix}{name}.", inner, level + 1))
    return arrays


def _part(module: Module, *path: str) -> Module:
    for name in path:
        inner = module.entries("_modules").get(name)
        if not isinstance(inner, Module):
            raise UnreadableError(f"its {module.class_name} has no part {name}")
        module = inner
    return module


def _sub(options: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns the options within an option."""
    found = options.get(name) or {}
    if not isinstance(found, dict):
        raise UnreadableError(f"its option {name} is no dictionary")
    return found


def _shared(options: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields that both networks' blocks have."""
    fields: dict[str, Any] = {"conv_clamp": option(options, "conv_clamp")}
    taps = options.get("resample_filter")
    if taps is not None:
        if type(taps) not in (tuple, list) or not 2 <= len(taps) <= 64:
            raise UnreadableError("its resample_filter is no list of taps")
        fields["resample_filter"] = [option({"tap": tap}, "tap") for tap in taps]
    return fields


def _mapping_options(options: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields of a mapping network that its shapes do not tell."""
    known = "num_layers embed_features layer_features lr_multiplier w_avg_beta".split()
    refuse_unknown(options, known, {"activation": "lrelu"})
    return {"mapping_lr_multiplier": option(options, "lr_multiplier", 0.01)}


def read_generator(module: Module, budget: Budget) -> Network:
    """Returns the generator that a module describes.

    Raises:
        UnreadableError: if it is no StyleGAN2 generator, or has an option that is unknown here.
    """
    arrays = arrays_of(module, budget)
    fields = generator_fields(arrays)
    options = module.options()
    # The StyleGAN3 repository has the options of the synthesis network at the top level.
    synthesis = {**options, **_sub(options, "synthesis_kwargs")}
    own = "z_dim c_dim w_dim img_resolution img_channels mapping_kwargs synthesis_kwargs".split()
    drawing = "channel_base channel_max conv_clamp architecture resample_filter use_noise".split()
    refuse_unknown(synthesis, {*own, *drawing, *IRRELEVANT}, BLOCK_FIXED)
    fields |= _shared(synthesis) | _mapping_options(_sub(options, "mapping_kwargs"))
    beta = option(_part(module, "mapping").state, "w_avg_beta", 0.995)
    if beta is None:
        raise UnreadableError("its generator keeps no mean of w")
    return Network(arrays, fields | {"w_avg_beta": beta})


def read_discriminator(module: Module, budget: Budget) -> Network:
    """Returns the discriminator that a module describes.

    Raises:
        UnreadableError: if it is no StyleGAN2 discriminator, or has an option unknown here.
    """
    arrays = arrays_of(module, budget)
    fields = discriminator_fields(arrays)
    options = module.options()
    block, epilogue = _sub(options, "block_kwargs"), _sub(options, "epilogue_kwargs")
    own = "c_dim img_resolution img_channels architecture channel_base channel_max".split()
    parts = "conv_clamp cmap_dim block_kwargs mapping_kwargs epilogue_kwargs".split()
    refuse_unknown(options, {*own, *parts, *IRRELEVANT}, {})
    refuse_unknown(block, {"resample_filter", *IRRELEVANT}, {"activation": "lrelu"})
    refuse_unknown(epilogue, {"mbstd_group_size", "mbstd_num_channels"}, {"activation": "lrelu"})
    fields |= _shared(options | block)
    if fields.get("label_dim"):
        fields |= _mapping_options(_sub(options, "mapping_kwargs"))
    group = option(epilogue, "mbstd_group_size", 4)
    fields.setdefault("minibatch_stddev_group", WHOLE_BATCH if group is None else group)
    return Network(arrays, fields)


def read_networks(snapshot: dict[Any, Any], budget: Budget) -> Networks:
    """Returns the networks of an official snapshot.

    Raises:
        UnreadableError: if it holds no generator, or a network that is no StyleGAN2.
    """
    found = Networks("official PyTorch pickle")
    for key, place in (("G", "generator"), ("D", "discriminator"), ("G_ema", "average")):
        module = snapshot.get(key)
        if module is None:
            continue
        if not isinstance(module, Module):
            raise UnreadableError(f"its entry {key} is no network")
        read = read_discriminator if key == "D" else read_generator
        setattr(found, place, read(module, budget))
    return found

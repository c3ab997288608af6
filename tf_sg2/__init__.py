"""tf_sg2: StyleGAN2 (Karras et al. 2019, arXiv 1912.04958) on TensorFlow 2 and Keras.

Public names load on first use. So `tf-sg2 --help` and imports of one part are fast.
"""

from __future__ import annotations

import importlib
import typing

__version__ = "0.2.0"

# Public name -> its module; and public modules.
_LOCATIONS = {
    "Generator": "tf_sg2.networks.generator",
    "Discriminator": "tf_sg2.networks.discriminator",
    "GeneratorConfig": "tf_sg2.config",
    "DiscriminatorConfig": "tf_sg2.config",
    "Config": "tf_sg2.config",
    "InputError": "tf_sg2.errors",
    "load_run": "tf_sg2.runs.load",
}
_MODULES = {
    "config": "tf_sg2.config",
    "data": "tf_sg2.data",
    "latent": "tf_sg2.latent",
    "layers": "tf_sg2.networks.layers",
    "metrics": "tf_sg2.metrics",
    "ops": "tf_sg2.ops",
    "presets": "tf_sg2.config.presets",
    "weights": "tf_sg2.weights",
}

__all__ = ["__version__", *_LOCATIONS, *_MODULES]

if typing.TYPE_CHECKING:
    from tf_sg2 import config, data, latent, metrics, ops, weights
    from tf_sg2.config import Config, DiscriminatorConfig, GeneratorConfig, presets
    from tf_sg2.errors import InputError
    from tf_sg2.networks import layers
    from tf_sg2.networks.discriminator import Discriminator
    from tf_sg2.networks.generator import Generator
    from tf_sg2.runs.load import load_run


def __getattr__(name: str) -> object:
    if name in _LOCATIONS:
        return getattr(importlib.import_module(_LOCATIONS[name]), name)
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    raise AttributeError(f"module 'tf_sg2' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

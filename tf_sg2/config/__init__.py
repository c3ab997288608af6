"""Configurations: their schema, their JSON form, and presets. Nothing here imports TensorFlow."""

from tf_sg2.config.convert import (
    differences,
    field_names,
    flatten,
    from_dict,
    help_texts,
    load,
    override,
    to_dict,
    to_json,
)
from tf_sg2.config.image_size import base_size, parse_image_size
from tf_sg2.config.networks import DiscriminatorConfig, GeneratorConfig, Level
from tf_sg2.config.schema import (
    SHARED_FIELDS,
    AugmentConfig,
    Config,
    DataConfig,
    OptimizerConfig,
    TrainingConfig,
)

__all__ = [
    "SHARED_FIELDS",
    "AugmentConfig",
    "Config",
    "DataConfig",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "Level",
    "OptimizerConfig",
    "TrainingConfig",
    "base_size",
    "differences",
    "field_names",
    "flatten",
    "from_dict",
    "help_texts",
    "load",
    "override",
    "parse_image_size",
    "to_dict",
    "to_json",
]

"""A run as data: the schema of a configuration, its JSON form, and presets. No TensorFlow here."""

from tf_sg2.config.image_size import base_size, parse_image_size
from tf_sg2.config.schema import (
    SHARED_FIELDS,
    Config,
    DataConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    Level,
    OptimizerConfig,
    TrainingConfig,
    differences,
    field_names,
    flatten,
    from_dict,
    load,
    override,
    to_dict,
    to_json,
)

__all__ = [
    "SHARED_FIELDS",
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
    "load",
    "override",
    "parse_image_size",
    "to_dict",
    "to_json",
]

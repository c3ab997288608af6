"""A run as data: frozen dataclasses, their JSON form, their flags, and the difference of two.

Every number that a user may question is a field here; `presets.py` holds tables of values for
them, with their sources. Durations are in kimg (thousands of real images shown); they become
iterations in `training` alone. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
import json
import math
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tf_sg2.config.convert import convert
from tf_sg2.config.image_size import base_size
from tf_sg2.config.image_size import parse_image_size as parse_image_size
from tf_sg2.errors import InputError


@dataclass(frozen=True)
class Level:
    """One resolution of a network: its size, channel count, and the square size it counts as."""

    height: int
    width: int
    channels: int
    square: int


def _levels(config: GeneratorConfig | DiscriminatorConfig) -> tuple[Level, ...]:
    (height, width), doublings = base_size(config.image_size)
    return tuple(
        Level(
            height << k,
            width << k,
            max(1, min(config.channel_base // (4 << k), config.channel_max)),
            4 << k,
        )
        for k in range(doublings + 1)
    )


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise InputError(sentence)


def _check_network(config: GeneratorConfig | DiscriminatorConfig, name: str, architectures) -> None:
    object.__setattr__(config, "image_size", tuple(config.image_size))
    object.__setattr__(config, "resample_filter", tuple(config.resample_filter))
    _require(
        len(config.image_size) == 2 and all(isinstance(side, int) for side in config.image_size),
        f"{name}.image_size is {config.image_size}; "
        "it must be a height and a width in whole pixels",
    )
    base_size(config.image_size)
    _require(
        config.image_channels in (1, 3, 4),
        f"{name}.image_channels is {config.image_channels}; it must be 1, 3 or 4",
    )
    _require(
        config.architecture in architectures,
        f"{name}.architecture is {config.architecture!r}; it must be one of "
        f"{', '.join(architectures)}",
    )
    for key in ("channel_base", "channel_max"):
        value = getattr(config, key)
        _require(value >= 1, f"{name}.{key} is {value}; it must be at least 1")
    _require(
        config.label_dim >= 0, f"{name}.label_dim is {config.label_dim}; it must not be negative"
    )
    _require(
        config.conv_clamp is None or config.conv_clamp > 0,
        f"{name}.conv_clamp is {config.conv_clamp}; it must be positive, or none for no clamp",
    )
    _require(
        len(config.resample_filter) >= 2 and sum(config.resample_filter) > 0,
        f"{name}.resample_filter {config.resample_filter} needs two or more taps and a sum above 0",
    )


@dataclass(frozen=True)
class GeneratorConfig:
    """The generator: mapping network and synthesis network (paper figure 2 d and figure 7)."""

    image_size: tuple[int, int]
    image_channels: int = 3
    z_dim: int = 512
    w_dim: int = 512
    label_dim: int = 0
    mapping_layers: int = 8
    mapping_lr_multiplier: float = 0.01
    w_avg_beta: float = 0.995
    channel_base: int = 32768
    channel_max: int = 512
    architecture: str = "skip"
    conv_clamp: float | None = None
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)

    def __post_init__(self) -> None:
        _check_network(self, "generator", ("skip", "resnet", "orig"))
        for key in ("z_dim", "w_dim", "mapping_layers"):
            value = getattr(self, key)
            _require(value >= 1, f"generator.{key} is {value}; it must be at least 1")
        _require(
            0 <= self.w_avg_beta < 1,
            f"generator.w_avg_beta is {self.w_avg_beta}; it must be in [0, 1)",
        )
        _require(
            self.mapping_lr_multiplier > 0,
            f"generator.mapping_lr_multiplier is {self.mapping_lr_multiplier}; it must be positive",
        )

    @property
    def levels(self) -> tuple[Level, ...]:
        """The resolutions from the base to the image."""
        return _levels(self)

    @property
    def num_ws(self) -> int:
        """How many w vectors the synthesis network takes: one a convolution, one for ToRGB."""
        return 2 * len(self.levels)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The discriminator (paper figure 7, right column)."""

    image_size: tuple[int, int]
    image_channels: int = 3
    label_dim: int = 0
    channel_base: int = 32768
    channel_max: int = 512
    architecture: str = "resnet"
    minibatch_stddev_group: int = 4
    conv_clamp: float | None = None
    resample_filter: tuple[float, ...] = (1, 3, 3, 1)

    def __post_init__(self) -> None:
        _check_network(self, "discriminator", ("resnet", "skip", "orig"))
        _require(
            self.minibatch_stddev_group >= 0,
            f"discriminator.minibatch_stddev_group is {self.minibatch_stddev_group}; "
            "it must be 0 (no such layer) or the group's size",
        )

    @property
    def levels(self) -> tuple[Level, ...]:
        """The resolutions from the base to the image."""
        return _levels(self)


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimiser by its Keras name; the defaults are the paper's Adam.

    `name` is a class of `keras.optimizers`, or `Addons>LAMB` and its like on the addons stack.
    `arguments` are further constructor arguments. The lazy-regularisation correction
    (paper section 3.1) scales `learning_rate`, and `beta_1`, `beta_2` where the optimiser has them.
    """

    name: str = "Adam"
    learning_rate: float = 0.002
    beta_1: float = 0.0
    beta_2: float = 0.99
    epsilon: float = 1e-8
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _require(
            self.learning_rate > 0,
            f"learning rate {self.learning_rate} of optimiser {self.name} must be positive",
        )
        for key in ("beta_1", "beta_2"):
            value = getattr(self, key)
            _require(0 <= value < 1, f"{key} {value} of optimiser {self.name} must be in [0, 1)")
        _require(
            self.epsilon > 0, f"epsilon {self.epsilon} of optimiser {self.name} must be positive"
        )
        for key, value in self.arguments.items():
            _require(
                key not in {entry.name for entry in dataclasses.fields(self)},
                f"argument {key!r} of optimiser {self.name} has a field of its own; set that, so "
                "that it is corrected for lazy regularisation",
            )
            _require(
                value is None
                or isinstance(value, (bool, int, str))
                or (isinstance(value, float) and math.isfinite(value)),
                f"argument {key!r} of optimiser {self.name} is {value}; it must be a finite "
                "number, true, false, null or a text",
            )


@dataclass(frozen=True)
class DataConfig:
    """Where the images come from and how they are dealt out."""

    source: str = ""
    mirror: bool = False


@dataclass(frozen=True)
class TrainingConfig:
    """Losses, schedule and bookkeeping of a run. `_kimg` fields count thousands of real images."""

    total_kimg: float = 25000.0
    batch_size: int = 32
    accumulation_steps: int = 1
    seed: int = 0
    tf32: bool = False
    r1_gamma: float = 10.0
    r1_interval: int = 16
    path_length_weight: float = 2.0
    path_length_interval: int = 4
    path_length_decay: float = 0.01
    path_length_batch_divisor: int = 2
    style_mixing_probability: float = 0.9
    ema_kimg: float = 10.0
    ema_rampup: float | None = None
    tick_kimg: float = 4.0
    checkpoint_kimg: float = 200.0
    checkpoints_kept: int = 5
    sample_kimg: float = 200.0
    sample_rows: int = 4
    sample_columns: int = 8
    sample_truncation_psi: float = 0.7

    def __post_init__(self) -> None:
        for key in ("total_kimg", "ema_kimg", "tick_kimg", "checkpoint_kimg", "sample_kimg"):
            value = getattr(self, key)
            _require(
                math.isfinite(value) and value > 0,
                f"training.{key} is {value}; it must be positive",
            )
        for key in (
            "batch_size",
            "accumulation_steps",
            "checkpoints_kept",
            "path_length_batch_divisor",
            "sample_rows",
            "sample_columns",
        ):
            value = getattr(self, key)
            _require(value >= 1, f"training.{key} is {value}; it must be at least 1")
        for key in (
            "r1_gamma",
            "r1_interval",
            "path_length_weight",
            "path_length_interval",
            "seed",
        ):
            value = getattr(self, key)
            _require(value >= 0, f"training.{key} is {value}; it must not be negative")
        for key in ("style_mixing_probability", "path_length_decay"):
            value = getattr(self, key)
            _require(0 <= value <= 1, f"training.{key} is {value}; it must be in [0, 1]")
        _require(
            self.seed < 2**32,  # NumPy's limit.
            f"training.seed is {self.seed}; it must be below 2^32 = {2**32}",
        )
        _require(
            self.ema_rampup is None or self.ema_rampup > 0,
            f"training.ema_rampup is {self.ema_rampup}; it must be positive, or none for no "
            "ramp-up",
        )
        _require(
            math.isfinite(self.sample_truncation_psi),
            f"training.sample_truncation_psi is {self.sample_truncation_psi}; it must be a "
            "finite number",
        )
        _require(
            self.batch_size % self.accumulation_steps == 0,
            f"training.batch_size {self.batch_size} is not a multiple of "
            f"training.accumulation_steps {self.accumulation_steps}",
        )


@dataclass(frozen=True)
class Config:
    """A complete run."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    generator_optimizer: OptimizerConfig = OptimizerConfig()
    discriminator_optimizer: OptimizerConfig = OptimizerConfig()
    data: DataConfig = DataConfig()
    training: TrainingConfig = TrainingConfig()

    def __post_init__(self) -> None:
        for key in ("image_size", "image_channels", "label_dim"):
            ours, theirs = getattr(self.generator, key), getattr(self.discriminator, key)
            _require(
                ours == theirs,
                f"generator.{key} is {ours} but discriminator.{key} is {theirs}; "
                "they must be the same",
            )


# Fields that both networks share: one flag sets both.
SHARED_FIELDS = ("image_size", "image_channels", "label_dim")


def to_dict(config: Any) -> dict[str, Any]:
    """Returns the dataclass as plain JSON types."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(values: Mapping[str, Any], kind: type = Config, where: str = "") -> Any:
    """Builds a configuration of type `kind` from `to_dict`'s form; absent fields take defaults.

    Raises:
        InputError: for an unknown or a missing field, or a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise InputError(
            f"{where or 'the configuration'} must be an object of fields, not {values!r}"
        )
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(values) - set(hints))
    if unknown:
        raise InputError(
            f"unknown configuration field {where + unknown[0]!r}; "
            f"{where.rstrip('.') or 'the top level'} has {', '.join(hints)}"
        )
    arguments = {}
    for key, value in values.items():
        if dataclasses.is_dataclass(hints[key]):
            arguments[key] = from_dict(value, hints[key], f"{where}{key}.")
        else:
            arguments[key] = convert(value, hints[key], where + key)
    for entry in dataclasses.fields(kind):
        required = (
            entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING
        )
        if required and entry.name not in arguments:
            raise InputError(f"configuration field {where + entry.name!r} is missing")
    return kind(**arguments)


def to_json(config: Config) -> str:
    """Returns the configuration as indented JSON with a final newline."""
    return json.dumps(to_dict(config), indent=2) + "\n"


def load(path: str | Path) -> Config:
    """Reads a configuration that `to_json` wrote.

    Raises:
        InputError: if the file is absent, is no JSON, or is no configuration.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"configuration {path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"configuration {path} is not JSON: {error}") from error
    try:
        return from_dict(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def flatten(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields ("generator.channel_base", 16384) and so on, in the order of definition."""
    for entry in dataclasses.fields(config):
        value = getattr(config, entry.name)
        if dataclasses.is_dataclass(value):
            yield from flatten(value, f"{prefix}{entry.name}.")
        else:
            yield prefix + entry.name, value


def field_names(kind: type = Config, prefix: str = "") -> Iterator[str]:
    """Yields the dotted name of every field that `override` can set."""
    for key, hint in typing.get_type_hints(kind).items():
        if dataclasses.is_dataclass(hint):
            yield from field_names(hint, f"{prefix}{key}.")
        else:
            yield prefix + key


def override(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns `config` with the dotted fields of `values` replaced; texts are parsed by type.

    Raises:
        InputError: for an unknown field or an unusable value.
    """
    nested = to_dict(config)
    known = set(field_names())
    for name, value in values.items():
        if name not in known:
            raise InputError(f"unknown configuration field {name!r}")
        *path, last = name.split(".")
        target = nested
        for key in path:
            target = target[key]
        target[last] = value
    return from_dict(nested)


def differences(ours: Config, theirs: Config) -> list[str]:
    """Returns one line "field: ours -> theirs" for each field in which the two differ."""
    other = dict(flatten(theirs))
    return [
        f"{name}: {value!r} -> {other[name]!r}"
        for name, value in flatten(ours)
        if value != other[name]
    ]

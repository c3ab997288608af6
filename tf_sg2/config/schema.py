"""The schema of a configuration: frozen pydantic dataclasses, one per part of a run.

Every number that a user may question is a field here; `presets.py` holds tables of values with
their sources. A field's description is the help text of its flag. Durations are in kimg (thousands
of real images shown); only `training` converts them to iterations. Nothing here imports
TensorFlow. `pydantic.TypeAdapter(Config).json_schema()` returns the JSON schema.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from tf_sg2.config.field_types import (
    Decay,
    Float,
    Fraction,
    JsonObject,
    Names,
    NonNegativeFloat,
    NonNegativeInt,
    Pipe,
    Policy,
    PositiveFloat,
    PositiveFloatOrNone,
    PositiveInt,
    PositiveIntOrNone,
    Seed,
    Share,
)
from tf_sg2.config.messages import raises_input_error
from tf_sg2.config.networks import SETTINGS, DiscriminatorConfig, GeneratorConfig
from tf_sg2.errors import InputError

# Fields that must be the same in both networks: one flag sets both.
SHARED_FIELDS = ("image_size", "image_channels", "label_dim")


@raises_input_error
@dataclass(frozen=True, config=SETTINGS)
class OptimizerConfig:
    """An optimiser by its Keras name; the defaults are the paper's Adam.

    The correction for lazy regularisation (paper section 3.1) scales `learning_rate`. It also
    scales `beta_1` and `beta_2` if the optimiser has them.
    """

    name: str = Field(
        default="Adam",
        description="class of keras.optimizers; Addons>LAMB and others on the addons stack",
    )
    learning_rate: PositiveFloat = Field(
        default=0.002, description="learning rate before the correction for lazy regularisation"
    )
    beta_1: Decay = Field(default=0.0, description="decay of the first moment")
    beta_2: Decay = Field(default=0.99, description="decay of the second moment")
    epsilon: PositiveFloat = Field(default=1e-8, description="small number in the denominator")
    arguments: JsonObject = Field(
        default_factory=dict, description="further arguments of the optimiser, a JSON object"
    )

    def __post_init__(self) -> None:
        own = {entry.name for entry in dataclasses.fields(self)}
        for key, value in self.arguments.items():
            if key in own:
                raise InputError(
                    f"argument {key!r} of optimiser {self.name} has a field of its own; set that "
                    "field, because it is corrected for lazy regularisation"
                )
            if not (value is None or isinstance(value, (bool, int, float, str))) or (
                isinstance(value, float) and not math.isfinite(value)
            ):
                raise InputError(
                    f"argument {key!r} of optimiser {self.name} is {value}; it must be a finite "
                    "number, true, false, null or a text"
                )


@raises_input_error
@dataclass(frozen=True, config=SETTINGS)
class DataConfig:
    """The data set and how its images are read."""

    source: str = Field(default="", description="the same as --data")
    mirror: bool = Field(default=False, description="true mirrors images left to right, at random")
    holdout: Share = Field(
        default=0.0, description="share of the images that is held out, never trained on"
    )
    group: str = Field(
        default="",
        description="column of groups.csv; images of one group are held out together or not at all",
    )
    heldout: str = Field(
        default="", description="another data set of held-out images, instead of data.holdout"
    )

    def __post_init__(self) -> None:
        if self.holdout and self.heldout:
            raise InputError(
                f"data.holdout is {self.holdout:g} and data.heldout is {self.heldout}; hold out a "
                "share, or give held-out images, not both"
            )
        if self.group and not self.holdout:
            raise InputError(
                f"data.group is {self.group} but data.holdout is 0; set data.holdout, because a "
                "group only decides what is held out"
            )


@raises_input_error
@dataclass(frozen=True, config=SETTINGS)
class TrainingConfig:
    """Losses, schedule and records of a run."""

    total_kimg: PositiveFloat = Field(default=25000.0, description="length of the training in kimg")
    batch_size: PositiveInt = Field(
        default=32, description="images per iteration, over all devices"
    )
    accumulation_steps: PositiveInt = Field(
        default=1,
        description="parts in which a device computes its share of a batch; more need less memory",
    )
    seed: Seed = Field(
        default=0, description="seed of weights, latents, noise and the order of the images"
    )
    tf32: bool = Field(
        default=False,
        description="true lets GPUs multiply in TF32: faster, with 10 bits of mantissa",
    )
    r1_gamma: NonNegativeFloat = Field(default=10.0, description="weight of R1, 0 for none")
    r1_interval: NonNegativeInt = Field(
        default=16, description="iterations between R1 steps, 0: none"
    )
    path_length_weight: NonNegativeFloat = Field(
        default=2.0, description="weight of the path-length regularisation, 0 for none"
    )
    path_length_interval: NonNegativeInt = Field(
        default=4, description="iterations between path-length steps, 0 for no such steps"
    )
    path_length_decay: Fraction = Field(
        default=0.01, description="share of a new path length in the running mean"
    )
    path_length_batch_divisor: PositiveInt = Field(
        default=2, description="a path-length step uses the batch divided by this number"
    )
    style_mixing_probability: Fraction = Field(
        default=0.9, description="share of the samples that mix the styles of two latents"
    )
    ema_kimg: PositiveFloat = Field(default=10.0, description="half-life of the averaged generator")
    ema_rampup: PositiveFloatOrNone = Field(
        default=None,
        description="limits the half-life to this share of the run so far; none for no limit",
    )
    tick_kimg: PositiveFloat = Field(default=4.0, description="kimg between lines of the log")
    checkpoint_kimg: PositiveFloat = Field(default=200.0, description="kimg between checkpoints")
    checkpoints_kept: PositiveInt = Field(default=5, description="number of checkpoints to keep")
    checkpoints_every_kimg: PositiveFloatOrNone = Field(
        default=None,
        description="kimg between checkpoints that are never removed, or none for no such ones",
    )
    sample_kimg: PositiveFloat = Field(default=200.0, description="kimg between sample pictures")
    sample_rows: PositiveInt = Field(default=4, description="rows of a sample picture")
    sample_columns: PositiveInt = Field(default=8, description="columns of a sample picture")
    sample_truncation_psi: Float = Field(
        default=0.7, description="truncation psi of the samples; samples with psi 1 are written too"
    )
    metrics: Names = Field(
        default=(),
        description="metrics that are computed during training, such as fd,pr; none without",
    )
    metrics_kimg: PositiveFloatOrNone = Field(
        default=None,
        description="kimg between measurements: metrics and scores of D; none: as the samples",
    )
    metrics_samples: PositiveIntOrNone = Field(
        default=None,
        description="generated images per metric; none for the number that tf-sg2 evaluate takes",
    )
    metrics_features: str = Field(
        default="ppocr",
        description="network that sees the images: ppocr, inception, vgg16 or a path of .onnx",
    )
    metrics_weights: Names = Field(
        default=(),
        description="weight files that the metrics need, as --feature_weights of tf-sg2 evaluate",
    )
    best_metric: str = Field(
        default="",
        description="result, such as fd_ppocr, whose best checkpoint is kept apart; empty: none",
    )
    score_samples: NonNegativeInt = Field(
        default=500,
        description="images of each kind whose scores by D are recorded, 0 for no scores",
    )

    def __post_init__(self) -> None:
        if self.batch_size % self.accumulation_steps:
            raise InputError(
                f"training.batch_size {self.batch_size} is not a multiple of "
                f"training.accumulation_steps {self.accumulation_steps}; change one of them"
            )


@raises_input_error
@dataclass(frozen=True, config=SETTINGS)
class AugmentConfig:
    """Augmentation of the images that enter the discriminator.

    Source: Karras et al. 2020 (limited data), appendix B; Zhao et al. 2020 for `diffaugment`.
    """

    mode: Literal["none", "ada", "fixed", "diffaugment"] = Field(
        default="none",
        description="none; ada adapts the probability; fixed keeps it; diffaugment",
    )
    pipe: Pipe = Field(default="bgc", description="transforms of ada and fixed, by their initials")
    policy: Policy = Field(
        default="color,translation,cutout", description="transforms of diffaugment"
    )
    probability: Fraction = Field(
        default=0.0, description="first probability of each transform with ada, and that of fixed"
    )
    target: Float = Field(default=0.6, description="mean sign of D(real) that ada aims at")
    interval: PositiveInt = Field(
        default=4, description="iterations between adjustments of the probability"
    )
    kimg: PositiveFloat = Field(
        default=500.0, description="kimg in which the probability can go from 0 to 1"
    )
    transfer_kimg: PositiveFloat = Field(
        default=100.0, description="the same in a run that starts with --init_from"
    )
    xint_max: Fraction = Field(default=0.125, description="largest whole-pixel shift, a share")
    scale_std: NonNegativeFloat = Field(default=0.2, description="deviation of log2 of the scale")
    rotate_max: Fraction = Field(default=1.0, description="largest rotation, a share of 180°")
    aniso_std: NonNegativeFloat = Field(
        default=0.2, description="deviation of log2 of the anisotropic scale"
    )
    xfrac_std: NonNegativeFloat = Field(default=0.125, description="deviation of shifts, a share")
    brightness_std: NonNegativeFloat = Field(default=0.2, description="deviation of brightness")
    contrast_std: NonNegativeFloat = Field(default=0.5, description="deviation of log2 of contrast")
    hue_max: Fraction = Field(default=1.0, description="largest rotation of hue, a share of 180")
    saturation_std: NonNegativeFloat = Field(
        default=1.0, description="deviation of log2 of saturation"
    )
    imgfilter_std: NonNegativeFloat = Field(
        default=1.0, description="deviation of log2 of each band's factor"
    )
    noise_std: NonNegativeFloat = Field(default=0.1, description="deviation of the noise level")
    cutout_size: Fraction = Field(default=0.5, description="side of the cut rectangle, a share")

    @property
    def adapt_interval(self) -> int:
        """Iterations between adjustments; 0 where the probability stays."""
        return self.interval if self.mode == "ada" else 0


@raises_input_error
@dataclass(frozen=True, config=SETTINGS)
class Config:
    """A complete run."""

    generator: GeneratorConfig
    discriminator: DiscriminatorConfig
    generator_optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    discriminator_optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    training: TrainingConfig = Field(default_factory=TrainingConfig)
    augment: AugmentConfig = Field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        for key in SHARED_FIELDS:
            ours, theirs = getattr(self.generator, key), getattr(self.discriminator, key)
            if ours != theirs:
                raise InputError(
                    f"generator.{key} is {ours} but discriminator.{key} is {theirs}; "
                    "they must be the same"
                )

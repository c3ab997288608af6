"""The schema of the two networks: frozen pydantic dataclasses, part of `config.schema`.

The fields also tell StyleGAN2 from its predecessors (paper table 1, rows A to D; Karras et al.
2017). Nothing here imports TensorFlow.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from tf_sg2.config.field_types import (
    Decay,
    ImageChannels,
    ImageSize,
    NonNegativeInt,
    PositiveFloat,
    PositiveFloatOrNone,
    PositiveInt,
    PositiveIntOrNone,
    ResampleFilter,
)
from tf_sg2.config.image_size import base_size
from tf_sg2.config.messages import raises_input_error
from tf_sg2.errors import InputError

# Unknown fields are refused, and so are infinity and NaN.
SETTINGS = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclasses.dataclass(frozen=True)
class Level:
    """One resolution of a network: its size, its channels, and the square size it counts as."""

    height: int
    width: int
    channels: int
    square: int


@raises_input_error
@dataclass(frozen=True, config=SETTINGS)
class NetworkConfig:
    """The fields that generator and discriminator have in common."""

    image_size: ImageSize = Field(description="HxW in pixels; default: that of the data set")
    image_channels: ImageChannels = Field(
        default=3, description="channels of the images: 1, 3 or 4; default: those of the data set"
    )
    label_dim: NonNegativeInt = Field(default=0, description="width of the labels, 0 without")
    channel_base: PositiveInt = Field(
        default=32768, description="a level has channel_base / its square size channels"
    )
    channel_max: PositiveInt = Field(default=512, description="most channels per level")
    conv_clamp: PositiveFloatOrNone = Field(
        default=None, description="largest absolute activation, or none for no limit"
    )
    resample_filter: ResampleFilter = Field(
        default=(1.0, 3.0, 3.0, 1.0), description="taps of the up- and downsampling filter"
    )
    resampling: Literal["filter", "nearest"] = Field(
        default="filter",
        description="how sizes change: filter inserts zeros and filters; nearest repeats pixels or "
        "takes means of 2x2 pixels, and blurs with the filter, as StyleGAN does",
    )
    activation_gain: Literal["output", "weight"] = Field(
        default="output",
        description="where the square root of 2 of leaky ReLU stands: output scales the activation "
        "and so the bias too; weight scales only the weights, as in StyleGAN",
    )
    growing: bool = Field(
        default=False,
        description="true builds a network for progressive growing: every level has its own RGB "
        "layer, and lod fades between levels; needs architecture orig",
    )

    def __post_init__(self) -> None:
        architecture = getattr(self, "architecture", "orig")
        if self.growing and architecture != "orig":
            raise InputError(
                f"growing is true but architecture is {architecture}; set architecture to orig, "
                "or growing to false"
            )
        if self.resampling == "nearest" and architecture != "orig":
            raise InputError(
                f"resampling is nearest but architecture is {architecture}; set architecture to "
                "orig, or resampling to filter"
            )
        if self.resampling == "nearest" and len(self.resample_filter) % 2 == 0:
            raise InputError(
                f"resampling is nearest but resample_filter has {len(self.resample_filter)} taps; "
                "a blur needs an odd number of taps, such as 1,2,1, or 0,1,0 for none"
            )

    @property
    def levels(self) -> tuple[Level, ...]:
        """The resolutions from the base to the image."""
        (height, width), doublings = base_size(self.image_size)
        return tuple(
            Level(
                height << k,
                width << k,
                max(1, min(self.channel_base // (4 << k), self.channel_max)),
                4 << k,
            )
            for k in range(doublings + 1)
        )


@raises_input_error
@dataclass(frozen=True, config=SETTINGS)
class GeneratorConfig(NetworkConfig):
    """The generator: mapping network and synthesis network (paper figure 2 d and figure 7)."""

    architecture: Literal["skip", "resnet", "orig"] = Field(
        default="skip", description="connections between levels: skip, resnet or orig"
    )
    normalization: Literal["demodulation", "adain", "pixel"] = Field(
        default="demodulation",
        description="demodulation of the weights (StyleGAN2), adain (StyleGAN), or pixel: "
        "normalisation per pixel without styles (progressive GAN)",
    )
    fused_scaling: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="where resampling nearest turns the kernels of doubling layers by 180 degrees, "
        "as the official fused layers do: auto from 128x128 on, always or never",
    )
    z_dim: PositiveInt = Field(default=512, description="width of the latent z")
    w_dim: PositiveInt = Field(default=512, description="width of w")
    mapping_layers: NonNegativeInt = Field(
        default=8, description="layers of the mapping network; 0 only with normalization pixel"
    )
    mapping_lr_multiplier: PositiveFloat = Field(
        default=0.01, description="factor of the learning rate in the mapping network"
    )
    mapping_width: PositiveIntOrNone = Field(
        default=None, description="width of the mapping network's inner layers, none for w_dim"
    )
    label_input: Literal["embed", "concat"] = Field(
        default="embed",
        description="how labels join z: embed normalises both by themselves; concat normalises "
        "them together, as the first TensorFlow release does",
    )
    label_width: PositiveIntOrNone = Field(
        default=None, description="width of embedded labels, none for w_dim; concat uses z_dim"
    )
    use_noise: bool = Field(
        default=True, description="false builds a synthesis network without noise"
    )
    w_avg_beta: Decay = Field(
        default=0.995, description="decay of the running mean of w, for truncation"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        styles = self.normalization != "pixel"
        if styles and not self.mapping_layers:
            raise InputError(
                f"generator.mapping_layers is 0 but normalization is {self.normalization}; it must "
                "be greater than or equal to 1 (only normalization pixel takes 0)"
            )
        if not styles and (self.mapping_layers or self.w_dim != self.z_dim or self.label_dim):
            raise InputError(
                "generator.normalization is pixel, with mapping_layers "
                f"{self.mapping_layers}, z_dim {self.z_dim}, w_dim {self.w_dim} and label_dim "
                f"{self.label_dim}; these networks take z itself: set mapping_layers and label_dim "
                "to 0, and w_dim to z_dim"
            )
        expected = "filter" if self.normalization == "demodulation" else "nearest"
        if self.resampling != expected:
            raise InputError(
                f"generator.resampling is {self.resampling} but normalization is "
                f"{self.normalization}; set resampling to {expected}"
            )
        gain = "output" if self.normalization == "demodulation" else "weight"
        if self.activation_gain != gain:
            raise InputError(
                f"generator.activation_gain is {self.activation_gain} but normalization is "
                f"{self.normalization}; set activation_gain to {gain}"
            )
        if self.normalization != "demodulation" and self.architecture != "orig":
            raise InputError(
                f"generator.architecture is {self.architecture} but normalization is "
                f"{self.normalization}; set architecture to orig"
            )

    @property
    def num_ws(self) -> int:
        """The number of w that the synthesis network takes.

        One per convolution and one for ToRGB; with AdaIN one per layer of noise, the constant's
        included, which is the same number. Without styles it is 1.
        """
        return 1 if self.normalization == "pixel" else 2 * len(self.levels)


@raises_input_error
@dataclass(frozen=True, config=SETTINGS)
class DiscriminatorConfig(NetworkConfig):
    """The discriminator (paper figure 7, right column)."""

    architecture: Literal["resnet", "skip", "orig"] = Field(
        default="resnet", description="connections between levels: resnet, skip or orig"
    )
    minibatch_stddev_group: NonNegativeInt = Field(
        default=4,
        description="samples per group of the minibatch-stddev layer, 0 for no such layer",
    )
    label_output: Literal["projection", "dot"] = Field(
        default="projection",
        description="how a label chooses the score: projection onto the mapped label; dot "
        "multiplies one output per class by the label, as the first TensorFlow release does",
    )
    label_width: PositiveIntOrNone = Field(
        default=None, description="width of embedded labels, none for output_width"
    )
    mapping_layers: NonNegativeInt = Field(
        default=8, description="layers of the label's mapping network"
    )
    mapping_width: PositiveIntOrNone = Field(
        default=None, description="width of the inner layers of that network, none for output_width"
    )
    mapping_lr_multiplier: PositiveFloat = Field(
        default=0.01, description="factor of the learning rate in that network"
    )
    output_width: PositiveIntOrNone = Field(
        default=None,
        description="width of the mapped label and of the features that meet it, none for the "
        "channels of the smallest level",
    )

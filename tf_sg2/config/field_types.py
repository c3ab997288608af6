"""Types of configuration fields: their bounds, and how the text of a flag becomes a value.

pydantic converts texts such as "8" and "0.5". The functions here add what it does not do: they
refuse true and false as numbers, and read "none", "96x160", "1,3,3,1", "fd,pr" and JSON objects.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt
from pydantic_core import from_json

from tf_sg2.config.image_size import base_size, parse_image_size


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):  # pydantic converts True to 1.
        raise ValueError("it must be a number")
    return value


def _none(value: Any) -> Any:
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def _image_size(value: Any) -> Any:
    return parse_image_size(value) if isinstance(value, str) else value


def _doubled_base(value: tuple[int, int]) -> tuple[int, int]:
    base_size(value)
    return value


def _channels(value: int) -> int:
    if value not in (1, 3, 4):
        raise ValueError("it must be 1, 3 or 4")
    return value


def _numbers(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


def _filter(value: tuple[float, ...]) -> tuple[float, ...]:
    if len(value) < 2 or sum(value) <= 0:
        raise ValueError("it must have two or more taps and a sum above 0")
    return value


def _names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    names = [name.strip() for name in value.split(",")]
    return () if names in ([""], ["none"]) else names


def _each_once(value: tuple[str, ...]) -> tuple[str, ...]:
    if "" in value or len(set(value)) < len(value):
        raise ValueError("it must name each one once, separated by commas")
    return value


def _policy(value: str) -> str:
    names = value.split(",")
    if not set(names) <= set(_POLICIES) or len(set(names)) < len(names):
        raise ValueError(f"it must be some of {', '.join(_POLICIES)}, separated by commas")
    return value


def _json_object(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return from_json(value)
    except ValueError as error:
        raise ValueError("it must be a JSON object") from error


_POLICIES = ("color", "translation", "cutout")
_NUMBER = BeforeValidator(_no_boolean)

PositiveInt = Annotated[int, Field(ge=1), _NUMBER]
NonNegativeInt = Annotated[int, Field(ge=0), _NUMBER]
PositiveIntOrNone = Annotated[Annotated[int, Field(ge=1), _NUMBER] | None, BeforeValidator(_none)]
Seed = Annotated[int, Field(ge=0, lt=2**32), _NUMBER]  # The limit of NumPy.
Float = Annotated[float, _NUMBER]
PositiveFloat = Annotated[float, Field(gt=0), _NUMBER]
NonNegativeFloat = Annotated[float, Field(ge=0), _NUMBER]
Decay = Annotated[float, Field(ge=0, lt=1), _NUMBER]
Share = Annotated[float, Field(ge=0, lt=1), _NUMBER]
Fraction = Annotated[float, Field(ge=0, le=1), _NUMBER]
PositiveFloatOrNone = Annotated[PositiveFloat | None, BeforeValidator(_none)]

ImageSize = Annotated[
    tuple[StrictInt, StrictInt], BeforeValidator(_image_size), AfterValidator(_doubled_base)
]
ImageChannels = Annotated[int, _NUMBER, AfterValidator(_channels)]
ResampleFilter = Annotated[tuple[float, ...], BeforeValidator(_numbers), AfterValidator(_filter)]
Names = Annotated[tuple[str, ...], BeforeValidator(_names), AfterValidator(_each_once)]
Policy = Annotated[str, AfterValidator(_policy)]
Pipe = Literal[
    "blit",
    "geom",
    "color",
    "filter",
    "noise",
    "cutout",
    "bg",
    "bgc",
    "bgcf",
    "bgcfn",
    "bgcfnc",
]
JsonObject = Annotated[dict[str, Any], BeforeValidator(_json_object)]

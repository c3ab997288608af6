"""Converts JSON values and the texts of flags to the types of configuration fields."""

from __future__ import annotations

import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from tf_sg2.config.image_size import parse_image_size
from tf_sg2.errors import InputError

_KINDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    tuple: "a list of numbers",
}


def convert(value: Any, hint: Any, name: str) -> Any:
    """Returns a JSON value or a flag's text as the type of its field.

    Args:
        value: what a file or a flag holds.
        hint: the field's type annotation, evaluated.
        name: the field's dotted name, for messages.

    Raises:
        InputError: if the value is not of that type.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
            return None
        return convert(value, next(a for a in arguments if a is not type(None)), name)
    try:
        if name.rpartition(".")[2] == "image_size" and isinstance(value, str):
            return parse_image_size(value)
        if origin is tuple:
            items = value.split(",") if isinstance(value, str) else list(value)
            return tuple(convert(item, arguments[0], name) for item in items)
        if hint is bool:
            if isinstance(value, bool):
                return value
            return {"true": True, "1": True, "false": False, "0": False}[value.strip().lower()]
        if hint is int:
            if isinstance(value, bool) or int(value) != float(value):
                raise ValueError
            return int(value)
        if hint is float:
            if isinstance(value, bool) or not math.isfinite(float(value)):
                raise ValueError
            return float(value)
        if hint is str:
            if not isinstance(value, str):
                raise ValueError
            return value
        mapping = json.loads(value) if isinstance(value, str) else value
        if not isinstance(mapping, Mapping):
            raise ValueError
        return dict(mapping)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        wanted = _KINDS.get(origin or hint, "an object in JSON")
        raise InputError(
            f"configuration field {name!r} cannot be {value!r}; it is {wanted}"
        ) from error

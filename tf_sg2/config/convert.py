"""Configurations as dictionaries, as JSON and as dotted names; changes and differences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo
from pydantic_core import from_json, to_jsonable_python

from tf_sg2.config.messages import input_error
from tf_sg2.config.schema import Config
from tf_sg2.errors import InputError


def to_dict(config: Any) -> dict[str, Any]:
    """Returns the configuration as plain JSON types."""
    return to_jsonable_python(config)


def from_dict(values: Mapping[str, Any], kind: type = Config) -> Any:
    """Builds a configuration of type `kind` from `to_dict`'s form; absent fields take defaults.

    Values may also be the texts of flags: they are converted to the types of their fields.

    Raises:
        InputError: for an unknown or a missing field, or an unusable value.
    """
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise input_error(error, kind) from None


def to_json(config: Config) -> str:
    """Returns the configuration as indented JSON with a final newline."""
    return json.dumps(to_dict(config), indent=2) + "\n"


def load(path: str | Path) -> Config:
    """Reads a configuration that `to_json` wrote.

    Raises:
        InputError: if the file does not exist, is no JSON, or is no configuration.
    """
    try:
        values = from_json(Path(path).read_bytes())
    except OSError as error:
        raise InputError(f"configuration {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"configuration {path} is not JSON: {error}") from error
    try:
        return from_dict(values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error


def _fields(kind: Any, prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yields the dotted name and the declaration of every field, in the order of definition."""
    if is_pydantic_dataclass(kind):
        for name, field in kind.__pydantic_fields__.items():
            nested: Any = field.annotation
            if is_pydantic_dataclass(nested):
                yield from _fields(nested, f"{prefix}{name}.")
            else:
                yield prefix + name, field


def field_names(kind: type = Config) -> Iterator[str]:
    """Yields the dotted name of every field that `override` can set."""
    for name, _ in _fields(kind):
        yield name


def help_texts(kind: type = Config) -> dict[str, str]:
    """Returns the description of every field by its dotted name."""
    return {name: field.description or "" for name, field in _fields(kind)}


def flatten(config: Any) -> Iterator[tuple[str, Any]]:
    """Yields ("generator.channel_base", 16384) and so on, in the order of definition."""
    for name, _ in _fields(type(config)):
        yield name, attrgetter(name)(config)


def override(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns `config` with new values for some fields, given by their dotted names.

    Texts are converted to the types of the fields.

    Raises:
        InputError: for an unknown field or an unusable value.
    """
    nested = to_dict(config)
    known = set(field_names())
    for name, value in values.items():
        if name not in known:
            raise InputError(f"unknown configuration field {name!r}")
        section, _, field = name.partition(".")
        nested[section][field] = value
    return from_dict(nested)


def differences(ours: Config, theirs: Config) -> list[str]:
    """Returns one line "field: ours -> theirs" for each field in which the two differ."""
    other = dict(flatten(theirs))
    return [
        f"{name}: {value!r} -> {other[name]!r}"
        for name, value in flatten(ours)
        if value != other[name]
    ]

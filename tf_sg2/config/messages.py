"""Turns pydantic's validation errors into `InputError`: one sentence about the first problem.

pydantic reports all problems on several lines, with addresses of its own pages. Its texts for
single values are used, followed by the description of the field. Only missing and unknown fields
have texts of ours.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic.fields import FieldInfo

from tf_sg2.errors import InputError

T = TypeVar("T")

# Types of errors in pydantic.
_UNKNOWN, _MISSING = "unexpected_keyword_argument", "missing"


def raises_input_error(kind: type[T]) -> type[T]:
    """Decorates a pydantic dataclass so that its constructor raises `InputError`."""
    construct = kind.__init__

    @functools.wraps(construct)
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807  it replaces one
        try:
            construct(self, *args, **kwargs)
        except ValidationError as error:
            raise input_error(error, kind) from None

    kind.__init__ = __init__  # type: ignore[method-assign]  # The same signature.
    return kind


def input_error(error: ValidationError, kind: type) -> InputError:
    """Returns the `InputError` for the first problem of `error`.

    Args:
        error: raised by the validation of `kind`.
        kind: the class of configuration.
    """
    # An unknown field comes first: it may be a missing one, misspelt. Missing ones come last.
    rank = {_UNKNOWN: 0, _MISSING: 2}
    problem = min(error.errors(include_url=False), key=lambda each: rank.get(each["type"], 1))
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return InputError(str(cause))
    section = kind.__name__.removesuffix("Config").lower()
    path = ([section] if section else []) + [str(part) for part in problem["loc"]]
    name = ".".join(path)
    if problem["type"] == _MISSING:
        return InputError(f"configuration field {name!r} is missing")
    holder, field = _find(kind, problem["loc"])
    if problem["type"] == _UNKNOWN:
        known = ", ".join(entry.name for entry in dataclasses.fields(holder))
        return InputError(
            f"unknown configuration field {name!r}; "
            f"{'.'.join(path[:-1]) or 'the top level'} has {known}"
        )
    # pydantic adds to some texts how it failed: "..., unable to parse string as an integer".
    text = str(cause or problem["msg"]).partition(", unable")[0]
    text = text.replace("Input should be", "it must be")
    text = text[0].lower() + text[1:]
    meaning = f" ({field.description})" if field and field.description else ""
    return InputError(f"{name or 'the configuration'} is {problem['input']!r}; {text}{meaning}")


def _find(kind: Any, path: Iterable[str | int]) -> tuple[Any, FieldInfo | None]:
    """Returns the field that `path` leads to, and the class that holds it.

    The path may lead further, to an item of the field's value. An unknown field is None.
    """
    holder, field = kind, None
    for part in path:
        if not is_pydantic_dataclass(kind):
            break
        holder, field = kind, kind.__pydantic_fields__.get(str(part))
        kind = field.annotation if field else None
    return holder, field

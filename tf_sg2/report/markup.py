"""HTML and SVG as text that is escaped by construction.

A plain string is text and gets escaped; only what `tag` returns is markup. So the name of a run or
of a file can never become an element or an attribute.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping

# Elements without an end tag.
_VOID = {"input", "img", "meta", "br"}
# Control characters that HTML forbids, also as character references.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]|[\ud800-\udfff]")


class Markup(str):
    """A string that is markup already."""

    __slots__ = ()


def escaped(text: object) -> Markup:
    """Returns text as markup; markup stays as it is."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", str(text))))


def tag(name: str, attributes: Mapping[str, object] | None = None, *children: object) -> Markup:
    """Returns one element.

    Args:
        name: of the element.
        attributes: name -> value. None and False leave an attribute out; True gives it no value.
        children: texts, which are escaped, and markup; None is left out.
    """
    parts = [f"<{name}"]
    for key, value in (attributes or {}).items():
        if value is None or value is False:
            continue
        parts.append(f" {key}" if value is True else f' {key}="{escaped(value)}"')
    parts.append(">")
    if name in _VOID:
        return Markup("".join(parts))
    parts += [escaped(child) for child in children if child is not None]
    parts.append(f"</{name}>")
    return Markup("".join(parts))


def joined(*parts: object) -> Markup:
    """Returns texts and markup one after another; None is left out."""
    return Markup("".join(escaped(part) for part in parts if part is not None))


def scrollable(content: Markup, name: str) -> Markup:
    """Returns content in a box that scrolls sideways on narrow screens, also by keys."""
    entries = {"class": "scroll", "tabindex": "0", "role": "group", "aria-label": name}
    return tag("div", entries, content)

"""Serving: SavedModel export, local server and client; imports `tf_sg2`, never `training`.

`Client` is loaded at its first use, because its imports take time.
"""

from __future__ import annotations

import typing

__all__ = ["Client"]

if typing.TYPE_CHECKING:
    from tf_sg2.serving.client.client import Client


def __getattr__(name: str) -> object:
    if name == "Client":
        from tf_sg2.serving.client.client import Client

        return Client
    raise AttributeError(f"module 'tf_sg2.serving' has no attribute {name!r}")

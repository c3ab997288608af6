"""Exchange of weights with other implementations.

`read` needs no TensorFlow, so the names load on first use.
"""

from __future__ import annotations

import importlib
import typing

# Public name -> its module.
_LOCATIONS = {
    "export_torch_state": "tf_sg2.weights.torch_state",
    "load_tf1_state": "tf_sg2.weights.tf1_state",
    "load_torch_state": "tf_sg2.weights.torch_state",
    "read": "tf_sg2.weights.foreign.read",
}

__all__ = ["export_torch_state", "load_tf1_state", "load_torch_state", "read"]

if typing.TYPE_CHECKING:
    from tf_sg2.weights.foreign.read import read
    from tf_sg2.weights.tf1_state import load_tf1_state
    from tf_sg2.weights.torch_state import export_torch_state, load_torch_state


def __getattr__(name: str) -> object:
    if name in _LOCATIONS:
        return getattr(importlib.import_module(_LOCATIONS[name]), name)
    raise AttributeError(f"module 'tf_sg2.weights' has no attribute {name!r}")

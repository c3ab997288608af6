"""Exchange of weights with other implementations."""

from tf_sg2.weights.torch_state import export_torch_state, load_torch_state

__all__ = ["export_torch_state", "load_torch_state"]

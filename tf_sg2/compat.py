"""Differences between Keras 2.15 (TensorFlow 2.15, the addons stack) and Keras 3; only here."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

# The Keras of TensorFlow 2.15 has no `__version__`.
KERAS_3 = getattr(keras, "__version__", "2").startswith("3.")


def raw_variable(variable: Any) -> tf.Variable:
    """Returns the `tf.Variable` of a weight: Keras 3 wraps it, Keras 2.15 does not."""
    return variable.value if KERAS_3 and not isinstance(variable, tf.Variable) else variable


def in_compiled_graph() -> bool:
    """Returns whether TensorFlow is tracing a function that XLA compiles (`jit_compile=True`).

    TensorFlow marks such graphs with a control-flow context. It has no public name, but both
    supported versions have it.
    """
    graph = None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
    while graph is not None:
        context = graph._get_control_flow_context()
        while context is not None:
            if context.IsXLAContext():
                return True
            context = context.outer_context
        graph = getattr(graph, "outer_graph", None)
    return False


def coordination_service() -> Any:
    """Returns the client of TensorFlow's coordination service, through which workers communicate.

    It has no public name, but both supported versions have these methods: set_config_key_value,
    get_config_key_value, delete_config_key_value, report_error_to_cluster.
    """
    from tensorflow.python.eager import context

    return context.context()

"""The only place that knows Keras 2.15 (TensorFlow 2.15, the addons stack) from Keras 3."""

from __future__ import annotations

import tensorflow as tf
from tensorflow import keras

# Keras 2.15 names no version here.
KERAS_3 = getattr(keras, "__version__", "2").startswith("3.")


def raw_variable(variable: object) -> tf.Variable:
    """Returns the `tf.Variable` behind a weight: Keras 3 wraps it, Keras 2.15 does not."""
    return variable.value if KERAS_3 and not isinstance(variable, tf.Variable) else variable

"""The label of generated pictures, from the text of a flag."""

from __future__ import annotations

import numpy as np

from tf_sg2.errors import InputError


def parse_label(text: str | None, label_dim: int) -> np.ndarray | None:
    """Returns the label as float32 [label_dim], or None for an unconditional model.

    Args:
        text: a class number such as "3" (one-hot), or `label_dim` numbers separated by commas.
        label_dim: width of the model's labels; 0 without labels.

    Raises:
        InputError: if a label is missing, or does not fit the model.
    """
    if not label_dim:
        if text is not None:
            raise InputError(
                f"--labels={text} was given, but this model has no labels; leave it out"
            )
        return None
    wanted = f"a class number of 0...{label_dim - 1}, or {label_dim} numbers separated by commas"
    if text is None:
        raise InputError(f"this model is conditional: give --labels, {wanted}")
    words = [word.strip() for word in text.split(",")]
    if len(words) == 1 and words[0] in map(str, range(label_dim)):
        return np.eye(label_dim, dtype=np.float32)[int(words[0])]
    try:
        values = np.array([float(word) for word in words], np.float32)
    except ValueError:
        values = np.empty(0, np.float32)
    if len(values) == 1 or len(values) != label_dim or not np.isfinite(values).all():
        raise InputError(f"--labels={text} does not fit this model; give {wanted}")
    return values

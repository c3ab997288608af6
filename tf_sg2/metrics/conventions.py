"""The known differences between the official metrics of PyTorch and of TensorFlow 1, by name.

A function without an entry computes one thing only. Both official codes turn generated images
into the same uint8 values, so nothing stands here for them.

Example:
    frechet_distance(real, generated, **arguments("tensorflow1", "frechet_distance"))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tf_sg2.errors import InputError

# Convention -> function of `tf_sg2.metrics` -> its arguments.
CONVENTIONS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    # NVlabs/stylegan2-ada-pytorch and stylegan3.
    "pytorch": {
        "frechet_distance": {"ddof": 0},  # Covariance divided by n.
        "frechet_distance_of_moments": {"ddof": 0},
        "frechet_distance_at_infinity": {"ddof": 0},
        "precision_recall": {"rounding": "float16"},  # Distances kept in float16.
        "detector_images": {"convention": "pytorch"},  # Averaged by the size before the crop.
        "path_lengths": {"convention": "pytorch"},
        "perceptual_path_length": {"convention": "pytorch"},  # First half of latents, then second.
    },
    # The TensorFlow metrics of NVlabs/stylegan2 and stylegan2-ada.
    "tensorflow1": {
        "frechet_distance": {"ddof": 1},  # numpy.cov: divided by n - 1.
        "frechet_distance_of_moments": {"ddof": 1},
        "frechet_distance_at_infinity": {"ddof": 1},
        "precision_recall": {"rounding": "float16_squared"},  # Squared distances in float16.
        "detector_images": {"convention": "tensorflow1"},  # Averaged by the size after the crop.
        "path_lengths": {"convention": "tensorflow1"},
        "perceptual_path_length": {"convention": "tensorflow1"},  # Every other latent.
    },
}


def arguments(convention: str, function: str) -> dict[str, Any]:
    """Returns the arguments that make a metric follow a convention.

    Args:
        convention: "pytorch" or "tensorflow1".
        function: the name of a function of `tf_sg2.metrics`; without an entry above, {}.

    Raises:
        InputError: for an unknown convention.
    """
    check(convention)
    return dict(CONVENTIONS[convention].get(function, {}))


def check(convention: str) -> None:
    """Refuses an unknown convention.

    Raises:
        InputError: which names the known ones.
    """
    if convention not in CONVENTIONS:
        raise InputError(
            f"there is no convention {convention!r}; take one of {', '.join(CONVENTIONS)}"
        )

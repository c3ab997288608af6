"""Quality metrics: distances between sets of features, path lengths, and the eyes that see.

The maths needs NumPy and SciPy only. The eyes under `features` load on first use.
"""

from __future__ import annotations

from tf_sg2.metrics import conventions, features
from tf_sg2.metrics.frechet import (
    frechet_distance,
    frechet_distance_at_infinity,
    frechet_distance_of_moments,
)
from tf_sg2.metrics.inception_scores import inception_score
from tf_sg2.metrics.kernel import (
    kernel_distance,
    kernel_distance_of_all,
    kernel_distance_spread,
)
from tf_sg2.metrics.moments import Moments
from tf_sg2.metrics.neighbours import density_coverage, precision_recall
from tf_sg2.metrics.path_length import (
    PATHS,
    PathSampler,
    detector_images,
    filtered_mean,
    path_lengths,
    perceptual_path_length,
    slerp,
)
from tf_sg2.metrics.spread import spread_over_seeds

__all__ = [
    "PATHS",
    "Moments",
    "PathSampler",
    "conventions",
    "density_coverage",
    "detector_images",
    "features",
    "filtered_mean",
    "frechet_distance",
    "frechet_distance_at_infinity",
    "frechet_distance_of_moments",
    "inception_score",
    "kernel_distance",
    "kernel_distance_of_all",
    "kernel_distance_spread",
    "path_lengths",
    "perceptual_path_length",
    "precision_recall",
    "slerp",
    "spread_over_seeds",
]

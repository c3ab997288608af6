"""The eyes: networks that turn images into features, and the files their weights come from.

Names load on first use, so the maths of `tf_sg2.metrics` imports neither TensorFlow nor ONNX
Runtime.
"""

from __future__ import annotations

import importlib
import typing

# Public name -> module that holds it.
_LOCATIONS = {
    "LPIPS": "tf_sg2.metrics.features.lpips",
    "Inception": "tf_sg2.metrics.features.inception",
    "InceptionEye": "tf_sg2.metrics.features.eyes",
    "VGG16Eye": "tf_sg2.metrics.features.eyes",
    "OnnxFeatures": "tf_sg2.metrics.features.onnx",
    "PPOCR": "tf_sg2.metrics.features.ppocr",
    "SOURCES": "tf_sg2.metrics.features.weight_files",
    "read_weights": "tf_sg2.metrics.features.weight_files",
}

__all__ = [
    "LPIPS",
    "PPOCR",
    "SOURCES",
    "Inception",
    "InceptionEye",
    "OnnxFeatures",
    "VGG16Eye",
    "read_weights",
]

if typing.TYPE_CHECKING:
    from tf_sg2.metrics.features.eyes import InceptionEye, VGG16Eye
    from tf_sg2.metrics.features.inception import Inception
    from tf_sg2.metrics.features.lpips import LPIPS
    from tf_sg2.metrics.features.onnx import OnnxFeatures
    from tf_sg2.metrics.features.ppocr import PPOCR
    from tf_sg2.metrics.features.weight_files import SOURCES, read_weights


def __getattr__(name: str) -> object:
    if name in _LOCATIONS:
        return getattr(importlib.import_module(_LOCATIONS[name]), name)
    raise AttributeError(f"module 'tf_sg2.metrics.features' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

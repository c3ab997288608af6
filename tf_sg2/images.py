"""Images: conversion between float in [-1, 1] and uint8, grids, and PNG files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.files import new_file

PADDING_VALUE = 255  # White, and opaque where there is an alpha channel.


def to_uint8(images: Any) -> Any:
    """Returns images as uint8: clip(round(x * 127.5 + 127.5), 0, 255), halves to even.

    Args:
        images: float of any shape; values outside [-1, 1] are clipped.

    Returns:
        The same shape: an array for an array, a tensor (also inside a graph) for a tensor.
    """
    if isinstance(images, np.ndarray):
        images = images.astype(np.float32, copy=False)
        scaled = images * np.float32(127.5) + np.float32(127.5)
        return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    import tensorflow as tf

    scaled = tf.cast(images, tf.float32) * 127.5 + 127.5
    return tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8)


def from_uint8(images: Any) -> Any:
    """Returns uint8 images of any shape as float32: x / 127.5 - 1.

    An array gives an array, a tensor (also inside a graph) a tensor.
    """
    if isinstance(images, np.ndarray):
        return images.astype(np.float32) / np.float32(127.5) - np.float32(1)
    import tensorflow as tf

    return tf.cast(images, tf.float32) / 127.5 - 1


def grid(images: np.ndarray, rows: int, columns: int, padding: int = 0) -> np.ndarray:
    """Arranges images row by row; cells without an image, and the padding, are white.

    Args:
        images: uint8 [N, H, W, C] with N <= rows * columns.
        rows: number of rows.
        columns: number of columns.
        padding: pixels between cells; there is none around the grid.

    Returns:
        uint8 [rows * (H + padding) - padding, columns * (W + padding) - padding, C].

    Raises:
        InputError: if the images do not fit into the grid.
    """
    images = np.asarray(images)
    count, height, width, channels = images.shape
    if rows < 1 or columns < 1 or padding < 0 or count > rows * columns:
        raise InputError(
            f"{count} images do not fit into a grid of {rows} rows and {columns} columns "
            f"with padding {padding}"
        )
    cells = np.full(
        (rows * columns, height + padding, width + padding, channels), PADDING_VALUE, np.uint8
    )
    cells[:count, :height, :width] = images
    cells = cells.reshape(rows, columns, height + padding, width + padding, channels)
    sheet = cells.transpose(0, 2, 1, 3, 4).reshape(
        rows * (height + padding), columns * (width + padding), channels
    )
    return sheet[: sheet.shape[0] - padding, : sheet.shape[1] - padding]


def to_pillow(image: np.ndarray) -> Any:
    """Returns a uint8 image [H, W, C] as a `PIL.Image`: L, RGB or RGBA for 1, 3 or 4 channels.

    Raises:
        InputError: for another type or channel count.
    """
    from PIL import Image

    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] not in (1, 3, 4):
        raise InputError(
            f"an image to save is {image.dtype} of shape {list(image.shape)}; it must be "
            "uint8 [H, W, C] with 1, 3 or 4 channels"
        )
    return Image.fromarray(np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image))


def save_png(
    path: str | Path, image: np.ndarray, metadata: Mapping[str, object] | None = None
) -> None:
    """Writes a PNG atomically; replaces an existing file.

    Args:
        path: the file; missing folders are made.
        image: uint8 [H, W, C] with 1, 3 or 4 channels.
        metadata: text entries of the PNG (`PIL.Image.open(path).text`).

    Raises:
        InputError: for another type or shape of the image, or if `path` cannot be written.
    """
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    for key, value in (metadata or {}).items():
        text.add_text(key, str(value))
    picture = to_pillow(image)
    with new_file(path) as file:
        picture.save(file, format="PNG", pnginfo=text)

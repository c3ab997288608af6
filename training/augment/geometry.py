"""The geometric transforms: one matrix per image, and one resampling for all of them.

Coordinates are (x, y) with the image's centre as origin and y downwards.

Source: Karras et al. 2020 (limited data), appendix B.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_sg2.ops import upfirdn2d
from tf_sg2.training.augment.filters import resampling_taps

NAMES = (
    *("xflip_i", "rotate90_i", "xint_t", "xint_pixels", "scale_s", "rotate_pre", "aniso_s"),
    *("rotate_post", "xfrac_t"),
)
MARGIN = 6  # Pixels that the filter's taps reach over the image's edge, on both scales.


def inverse_matrices(
    parameters: Mapping[str, tf.Tensor], count: Any, height: int, width: int
) -> tf.Tensor:
    """Returns the maps from positions in the output to positions in the input, [N, 3, 3].

    Args:
        parameters: float32 [N] or [N, 2] each; those that are missing mean the identity.
        count: N.
        height: rows of the images.
        width: columns of the images.
    """
    size = tf.constant([width, height], tf.float32)
    matrix = tf.eye(3, batch_shape=[count])
    if "xflip_i" in parameters:
        matrix @= _scaling(1 - 2 * parameters["xflip_i"], 1.0)
    if "rotate90_i" in parameters:
        matrix @= _rotation(parameters["rotate90_i"] * (math.pi / 2))
    if "xint_t" in parameters:
        matrix @= _translation(-tf.round(parameters["xint_t"] * size))  # Half to even.
    elif "xint_pixels" in parameters:
        matrix @= _translation(-parameters["xint_pixels"])
    if "scale_s" in parameters:
        matrix @= _scaling(1 / parameters["scale_s"], 1 / parameters["scale_s"])
    if "rotate_pre" in parameters:
        matrix @= _rotation(parameters["rotate_pre"])
    if "aniso_s" in parameters:
        matrix @= _scaling(1 / parameters["aniso_s"], parameters["aniso_s"])
    if "rotate_post" in parameters:
        matrix @= _rotation(parameters["rotate_post"])
    if "xfrac_t" in parameters:
        matrix @= _translation(-parameters["xfrac_t"] * size)
    return matrix


def margins_of(inverse: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Returns how many mirrored pixels each image needs, int32 [N, 4]: left, right, top, bottom.

    They reach as far as the output's corners, and the filter's taps beyond. At most the whole
    image is mirrored once.
    """
    half = tf.constant([(width - 1) / 2, (height - 1) / 2])
    corners = tf.constant([[-1.0, -1, 1, 1], [-1, 1, -1, 1]]) * half[:, None]
    corners = tf.concat([corners, tf.ones([1, 4])], axis=0)  # [3, 4]
    places = inverse[:, :2] @ corners  # [N, 2, 4]
    before = tf.reduce_max(-places, axis=2)  # [N, 2]: x, y
    after = tf.reduce_max(places, axis=2)
    amounts = tf.stack([before, after], axis=2) + (MARGIN - half)[:, None]  # [N, 2, 2]
    most = tf.constant([[width - 1.0], [height - 1.0]])
    return tf.reshape(
        tf.cast(tf.math.ceil(tf.clip_by_value(amounts, 0.0, most)), tf.int32), [-1, 4]
    )


def resample(images: tf.Tensor, inverse: tf.Tensor, share_margins: bool) -> tf.Tensor:
    """Moves images by their matrices: mirror, double, look up, halve.

    Args:
        images: float32 [N, H, W, C].
        inverse: [N, 3, 3], see `inverse_matrices`.
        share_margins: True gives all images the largest margins of the batch, as the official
            code does. False gives each image its own, so the batch does not matter.

    Returns:
        float32 [N, H, W, C].
    """
    height, width = images.shape[1:3]
    own = margins_of(inverse, height, width)
    most = tf.reduce_max(own, axis=0)
    left, right, top, bottom = tf.unstack(most)
    x = tf.pad(images, [[0, 0], [top, bottom], [left, right], [0, 0]], "REFLECT")
    if not share_margins:
        x *= _inside(own, most, height, width)
    taps = resampling_taps()[None]
    for kernel, factor, padding in (
        (taps, (1, 2), (0, 0, 6, 5)),
        (taps.T, (2, 1), (6, 5, 0, 0)),
    ):
        x = upfirdn2d(x, kernel, up=factor, padding=padding, gain=2.0)

    shift = tf.cast(tf.stack([left - right, top - bottom]), tf.float32) / 2
    matrix = _translation(shift[None]) @ inverse
    half = tf.constant([[0.5, 0.5]])
    matrix = _translation(-half) @ _scaling(2.0, 2.0) @ matrix
    matrix = matrix @ _scaling(0.5, 0.5) @ _translation(half)
    x = _look_up(x, matrix, 2 * (height + MARGIN), 2 * (width + MARGIN))

    for kernel, factor, padding in (
        (taps, (1, 2), (0, 0, -1, -1)),
        (taps.T, (2, 1), (-1, -1, 0, 0)),
    ):
        x = upfirdn2d(x, kernel, down=factor, padding=padding, flip_kernel=True)
    return tf.ensure_shape(x, images.shape)


def _inside(own: tf.Tensor, most: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Returns 1 within each image's own margins and 0 outside, [N, rows, columns, 1]."""

    def axis(before: int, size: int) -> tf.Tensor:
        place = tf.range(size + most[before] + most[before + 1]) - most[before]
        first, last = -own[:, before, None], size + own[:, before + 1, None]
        return tf.cast((place >= first) & (place < last), tf.float32)  # [N, size + margins]

    return axis(2, height)[:, :, None, None] * axis(0, width)[:, None, :, None]


def _look_up(x: tf.Tensor, matrix: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
    """Interpolates linearly at the positions matrix · grid, with zeros outside the image."""
    shape = tf.shape(x)
    count, height, width = shape[0], shape[1], shape[2]
    grid_x = tf.range(columns, dtype=tf.float32) + (0.5 - columns / 2)
    grid_y = tf.range(rows, dtype=tf.float32) + (0.5 - rows / 2)

    def places(row: int, size: tf.Tensor) -> tf.Tensor:
        entries = matrix[:, row, :, None, None]  # [N, 3, 1, 1]
        place = entries[:, 0] * grid_x + entries[:, 1] * grid_y[:, None] + entries[:, 2]
        # One row of zeros lies on each side. A position outside falls on it or is moved there.
        place += (tf.cast(size, tf.float32) - 1) / 2 + 1
        return tf.clip_by_value(place, 0.0, tf.cast(size, tf.float32) + 1)

    x_places, y_places = places(0, width), places(1, height)  # [N, rows, columns]
    padded = tf.reshape(tf.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]]), [-1, x.shape[3]])
    left = tf.minimum(tf.floor(x_places), tf.cast(width, tf.float32))
    top = tf.minimum(tf.floor(y_places), tf.cast(height, tf.float32))
    right_share, bottom_share = (x_places - left)[..., None], (y_places - top)[..., None]
    stride = width + 2
    first = tf.range(count)[:, None, None] * (stride * (height + 2))
    first += tf.cast(top, tf.int32) * stride + tf.cast(left, tf.int32)

    def at(offset: Any) -> tf.Tensor:
        return tf.gather_nd(padded, (first + offset)[..., None])  # [N, rows, columns, C]

    upper = at(0) * (1 - right_share) + at(1) * right_share
    lower = at(stride) * (1 - right_share) + at(stride + 1) * right_share
    return upper * (1 - bottom_share) + lower * bottom_share


def _matrix(rows: list[list[Any]]) -> tf.Tensor:
    """Returns [N, 3, 3] of entries that are numbers or [N]."""
    entries = [tf.convert_to_tensor(entry, tf.float32) for row in rows for entry in row]
    count = next((tf.shape(entry)[0] for entry in entries if entry.shape.rank), 1)
    full = [tf.broadcast_to(entry, [count]) for entry in entries]
    return tf.reshape(tf.stack(full, axis=1), [-1, 3, 3])


def _translation(shift: tf.Tensor) -> tf.Tensor:
    return _matrix([[1, 0, shift[:, 0]], [0, 1, shift[:, 1]], [0, 0, 1]])


def _scaling(x: Any, y: Any) -> tf.Tensor:
    return _matrix([[x, 0, 0], [0, y, 0], [0, 0, 1]])


def _rotation(angle: tf.Tensor) -> tf.Tensor:
    cos, sin = tf.cos(angle), tf.sin(angle)
    return _matrix([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])

"""Conversion between [-1, 1] and uint8, grids, and PNG files."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tf_sg2.errors import InputError
from tf_sg2.images import from_uint8, grid, save_png, to_uint8


def test_every_level_survives_both_conversions():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    values = from_uint8(levels)
    assert values.dtype == np.float32
    assert values.min() == -1
    assert values.max() == 1
    np.testing.assert_array_equal(to_uint8(values), levels)
    np.testing.assert_array_equal(to_uint8(from_uint8(tf.constant(levels))), levels)


def test_values_outside_are_clipped_and_halves_go_to_even():
    # 0 stands half between 127 and 128, and 2/255 half between 128 and 129.
    values = np.array([-7, -1, 0, 2 / 255, 1, 7], np.float32)
    expected = np.array([0, 0, 128, 128, 255, 255], np.uint8)
    np.testing.assert_array_equal(to_uint8(values), expected)
    np.testing.assert_array_equal(to_uint8(tf.constant(values)), expected)


def test_arrays_and_tensors_agree_inside_a_graph():
    values = np.random.default_rng(0).uniform(-1.2, 1.2, (4, 5, 6, 3)).astype(np.float32)
    np.testing.assert_array_equal(tf.function(to_uint8)(tf.constant(values)), to_uint8(values))
    pixels = to_uint8(values)
    # A graph multiplies by the reciprocal instead: one unit in the last place.
    ours = tf.function(from_uint8)(tf.constant(pixels))
    np.testing.assert_allclose(ours, from_uint8(pixels), rtol=0, atol=2e-7)


def test_float64_and_half_are_taken():
    for dtype in (np.float64, np.float16):
        assert to_uint8(np.array([0.5], dtype)).tolist() == [191]


@pytest.mark.parametrize("padding", [0, 3])
def test_grid_lays_out_row_by_row(padding):
    images = np.random.default_rng(0).integers(0, 200, (5, 2, 4, 3)).astype(np.uint8)
    sheet = grid(images, 2, 3, padding)
    assert sheet.shape == (4 + padding, 12 + 2 * padding, 3)
    seen = np.zeros(sheet.shape[:2], bool)
    for i in range(5):
        y, x = (i // 3) * (2 + padding), (i % 3) * (4 + padding)
        np.testing.assert_array_equal(sheet[y : y + 2, x : x + 4], images[i])
        seen[y : y + 2, x : x + 4] = True
    assert (sheet[~seen] == 255).all()


def test_grid_refuses_more_images_than_cells():
    images = np.zeros((5, 2, 2, 1), np.uint8)
    with pytest.raises(InputError, match="5 images do not fit into a grid of 2 rows and 2 columns"):
        grid(images, 2, 2)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_png_keeps_pixels_and_metadata(tmp_path, channels, mode):
    image = np.random.default_rng(0).integers(0, 256, (7, 5, channels)).astype(np.uint8)
    path = tmp_path / "new" / "image.png"
    save_png(path, image, {"seed": 3, "psi": 0.7, "name": "名刺"})
    with Image.open(path) as picture:
        assert picture.mode == mode
        assert picture.text == {"seed": "3", "psi": "0.7", "name": "名刺"}
        np.testing.assert_array_equal(np.asarray(picture).reshape(image.shape), image)
    assert [entry.name for entry in path.parent.iterdir()] == ["image.png"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    save_png(path, np.zeros((2, 2, 3), np.uint8))
    before = path.read_bytes()

    def fail(self, file, **_):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(InputError, match="cannot be written: No space left on device"):
        save_png(path, np.ones((2, 2, 3), np.uint8))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(("shape", "dtype"), [((4, 4, 2), np.uint8), ((4, 4), np.uint8)])
def test_png_refuses_other_shapes(tmp_path, shape, dtype):
    with pytest.raises(InputError, match="1, 3 or 4 channels"):
        save_png(tmp_path / "image.png", np.zeros(shape, dtype))
    with pytest.raises(InputError, match="float32"):
        save_png(tmp_path / "image.png", np.zeros((4, 4, 3), np.float32))

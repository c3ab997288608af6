"""ONNX models as eyes: the default one of PP-OCR, and any other."""

from __future__ import annotations

import importlib.util
import sys

import numpy as np
import pytest
from PIL import Image, ImageFilter

import onnx_writer
from tf_sg2 import metrics
from tf_sg2.errors import InputError
from tf_sg2.metrics import features
from tf_sg2.metrics.features import onnx as onnx_module
from tf_sg2.metrics.features import ppocr as module

pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
rng = np.random.default_rng(4)


def tiny(tmp_path, operation="Identity", shape=("n", 3, 8, 12), rank=4, **attributes):
    path = tmp_path / "tiny.onnx"
    onnx_writer.write(path, operation, shape, rank, **attributes)
    return path


@pytest.fixture
def images():
    return rng.integers(0, 256, [5, 8, 12, 3], np.uint8)


def test_feature_maps_become_channel_means(tmp_path, images):
    eye = features.OnnxFeatures(tiny(tmp_path))
    values = eye(images)
    mean, std = (np.array(x) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    expected = ((images / 255 - mean) / std).mean(axis=(1, 2))
    assert values.dtype == np.float32
    np.testing.assert_allclose(values, expected, atol=1e-5)
    assert eye.name == "tiny"
    assert eye.recipe["resize"].startswith("8x12 ")


def test_channels_and_scale_are_the_models(tmp_path, images):
    half = (0.5, 0.5, 0.5)
    eye = features.OnnxFeatures(tiny(tmp_path), mean=half, std=half, channels="bgr", name="x")
    expected = (images[..., ::-1] / 127.5 - 1).mean(axis=(1, 2))
    np.testing.assert_allclose(eye(images), expected, atol=1e-5)
    assert eye.recipe["channels"] == "bgr"
    assert eye.name == "x"


def test_tokens_give_the_first_or_their_mean(tmp_path, images):
    path = tiny(tmp_path, "ReduceMean", rank=3, axes=[3], keepdims=0)  # [N, 3, 8]
    plain = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    tokens = (images / 255).mean(axis=2).transpose(0, 2, 1)
    np.testing.assert_allclose(
        features.OnnxFeatures(path, **plain)(images), tokens[:, 0], atol=1e-6
    )
    mean = features.OnnxFeatures(path, pool="mean", **plain)(images)
    np.testing.assert_allclose(mean, tokens.mean(axis=1), atol=1e-6)


def test_a_tensor_inside_the_model_can_be_read(tmp_path, images):
    path = tiny(tmp_path, "Flatten", rank=2, axis=1)
    inside = features.OnnxFeatures(path, tensor="hidden")(images)
    assert inside.shape == (5, 288)
    np.testing.assert_array_equal(inside, features.OnnxFeatures(path)(images))


@pytest.mark.parametrize("batch", [1, 3])
def test_a_fixed_batch_size_is_filled_up(tmp_path, images, batch):
    fixed = features.OnnxFeatures(tiny(tmp_path, shape=(batch, 3, 8, 12)))(images)
    free = features.OnnxFeatures(tiny(tmp_path))(images)
    np.testing.assert_array_equal(fixed, free)


def test_images_are_resized(tmp_path, images):
    eye = features.OnnxFeatures(tiny(tmp_path, shape=("n", 3, "h", "w")), size=(4, 6))
    grey = np.full((1, 9, 31, 3), 77, np.uint8)
    assert eye.network_input(grey).shape == (1, 3, 4, 6)
    expected = (77 / 255 - np.array((0.485, 0.456, 0.406))) / (0.229, 0.224, 0.225)
    np.testing.assert_allclose(eye(grey)[0], expected, atol=1e-5)


@pytest.mark.parametrize("resample", ["bilinear", "bicubic", "lanczos"])
def test_the_filter_of_the_resize_is_chosen_and_named(tmp_path, images, resample):
    path = tiny(tmp_path, shape=("n", 3, "h", "w"))
    plain = {"mean": (0, 0, 0), "std": (1, 1, 1)}
    eye = features.OnnxFeatures(path, size=(4, 21), resample=resample, **plain)
    chosen = Image.Resampling[resample.upper()]
    resized = [np.asarray(Image.fromarray(image).resize((21, 4), chosen)) for image in images]
    expected = np.stack(resized).transpose(0, 3, 1, 2) / 255
    np.testing.assert_allclose(eye.network_input(images), expected, atol=1e-6)
    assert eye.recipe["resize"] == f"4x21 {resample}, antialiased"


def test_parts_of_a_batch_give_the_rows_of_the_whole(tmp_path):
    many = rng.integers(0, 256, [2 * onnx_module.PART_IMAGES + 3, 8, 12, 3], np.uint8)
    eye = features.OnnxFeatures(tiny(tmp_path))
    np.testing.assert_array_equal(
        eye(many), np.concatenate([eye(many[i : i + 1]) for i in range(len(many))])
    )


def test_bad_models_are_named(tmp_path, images):
    with pytest.raises(InputError, match=r"none.onnx cannot be read: No such file"):
        features.OnnxFeatures(tmp_path / "none.onnx")
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(InputError, match=r"bad.onnx is no ONNX model: "):
        features.OnnxFeatures(tmp_path / "bad.onnx")
    path = tiny(tmp_path)
    with pytest.raises(InputError, match="no ONNX model with a tensor 'gone'"):
        features.OnnxFeatures(path, tensor="gone")
    with pytest.raises(InputError, match="takes images of 8x12, not 9x12"):
        features.OnnxFeatures(path, size=(9, 12))
    with pytest.raises(InputError, match="channels are 'grb'"):
        features.OnnxFeatures(path, channels="grb")
    with pytest.raises(
        InputError, match=r"^there is no filter 'area'; take one of bilinear, bicubic, lanczos$"
    ):
        features.OnnxFeatures(path, resample="area")
    with pytest.raises(InputError, match="no pool 'max'"):
        features.OnnxFeatures(path, pool="max")
    with pytest.raises(InputError, match="they must be uint8"):
        features.OnnxFeatures(path)(images[..., :1])
    with pytest.raises(InputError, match="an eye takes"):
        features.OnnxFeatures(tiny(tmp_path, shape=("n", 4, 8, 8)))
    with pytest.raises(InputError, match="say which"):
        features.OnnxFeatures(tiny(tmp_path, shape=("n", 3, "h", "w")))
    path = tiny(tmp_path, "ReduceMean", rank=1, axes=[1, 2, 3], keepdims=0)
    with pytest.raises(InputError, match="an eye needs one row"):
        features.OnnxFeatures(path)(images)


def test_a_missing_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match=r"pip install 'tf-sg2\[evaluation\]'"):
        features.OnnxFeatures(tiny(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs the package rapidocr: pip install"):
        features.PPOCR()


def test_another_model_than_the_known_one_is_refused(monkeypatch):
    monkeypatch.setattr(module, "SHA256", "0" * 64)
    with pytest.raises(InputError, match="another model gives other numbers"):
        features.PPOCR()


def documents(count):
    """Bars of dark ink on light paper, about as text looks to a detector."""
    pages = np.full((count, 48, 80, 3), 235, np.uint8)
    for page in pages:
        for row in range(6, 42, 8):
            start, length = rng.integers(3, 12), rng.integers(30, 60)
            word = rng.integers(0, 2, [5, length]) * 200 + 20
            page[row : row + 5, start : start + length] = word[..., None]
    return pages


def test_the_default_eye_tells_damage_from_chance():
    eye = features.PPOCR()
    real, same = eye(documents(24)), eye(documents(24))
    assert real.shape == (24, 384)
    assert real.dtype == np.float32
    blurred = np.stack(
        [np.asarray(Image.fromarray(x).filter(ImageFilter.GaussianBlur(1))) for x in documents(24)]
    )
    floor = metrics.frechet_distance(real, same)
    damage = metrics.frechet_distance(real, eye(blurred))
    assert damage > 3 * floor
    assert metrics.kernel_distance_of_all(real, eye(blurred)) > 0

"""Folders of images: which files are read, which are refused, and the decoding rules."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pictures import encoded, noise, save, to_image, zoo
from tf_sg2.data import decode, open_source
from tf_sg2.data.folder import FolderFiles
from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError


def test_nested_folder_is_read_in_sorted_order(tmp_path):
    pixels = {name: noise() for name in ("b/1.png", "a/2.bmp", "a/10.PNG", "0.webp")}
    for name, values in pixels.items():
        save(tmp_path / name, values, **({"lossless": True} if name.endswith("webp") else {}))
    (tmp_path / ".hidden.png").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("x")
    source = open_source(str(tmp_path))
    assert isinstance(source, ImageSource)
    assert (len(source), source.image_size, source.image_channels) == (4, (12, 20), 3)
    assert source.label_dim == 0
    assert source.label(0).shape == (0,)
    for index, name in enumerate(["0.webp", "a/10.PNG", "a/2.bmp", "b/1.png"]):
        np.testing.assert_array_equal(source.image(index), pixels[name])
        assert source.image(index).dtype == np.uint8


def test_jpeg_equals_pillow(tmp_path):
    save(tmp_path / "a.jpg", noise(16, 16), quality=80)
    expected = np.asarray(Image.open(tmp_path / "a.jpg"))
    np.testing.assert_array_equal(open_source(str(tmp_path)).image(0), expected)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([2, 0], [[0, 0, 1], [1, 0, 0]]), ([[0.5, 1], [0, 0.25]], [[0.5, 1], [0, 0.25]]), (None, [])],
)
def test_labels_come_from_dataset_json(tmp_path, labels, expected):
    for name in ("a.png", "b.png"):
        save(tmp_path / name, noise())
    pairs = labels and [["a.png", labels[0]], ["b.png", labels[1]]]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": pairs}))
    source = open_source(str(tmp_path))
    assert source.label_dim == (len(expected[0]) if expected else 0)
    for index, row in enumerate(expected):
        assert source.label(index).dtype == np.float32
        np.testing.assert_array_equal(source.label(index), row)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"labels": [["a.png", 1]]}', "no label for b.png"),
        ('{"labels": [["a.png", 1], ["b.png", -1]]}', "class of b.png is negative"),
        ('{"labels": [["a.png", 1], ["b.png", [1, 2]]]}', "all class numbers, or all vectors"),
        ('{"labels": [["a.png", "x"], ["b.png", "y"]]}', "all class numbers, or all vectors"),
        ('{"labels": 3}', "not a list"),
    ],
)
def test_malformed_labels_are_refused(tmp_path, text, message):
    for name in ("a.png", "b.png"):
        save(tmp_path / name, noise())
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=message):
        open_source(str(tmp_path))


def test_missing_empty_and_unknown_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").write_text("x")
    for spec, message in [
        (str(tmp_path / "nowhere"), "there is no data set"),
        ("", "there is no data set"),
        (str(tmp_path / "empty"), "holds no images"),
        (str(tmp_path / "file.txt"), "is not a data set"),
        ("x" * 300, "cannot be opened .File name too long"),
        ("a\0b", "there is no data set"),
    ]:
        with pytest.raises(InputError, match=message):
            open_source(spec)


def test_first_image_of_another_size_is_named(tmp_path):
    save(tmp_path / "a.png", noise())
    save(tmp_path / "b.png", noise(12, 21))
    with pytest.raises(InputError, match=r"b\.png is 12x21 .*not 12x20.*tf-sg2 dataset"):
        open_source(str(tmp_path))
    with pytest.raises(InputError, match=r"a\.png is 12x20 .*not 64x64.*--size 64x64"):
        open_source(str(tmp_path), image_size=(64, 64))


def test_channels_follow_the_images(tmp_path):
    gray = noise(channels=1)
    save(tmp_path / "gray" / "a.png", gray)
    save(tmp_path / "mixed" / "a.png", gray)
    save(tmp_path / "mixed" / "b.png", noise())
    save(tmp_path / "alpha" / "a.png", noise(channels=4))
    opaque = noise(channels=4)
    opaque[..., 3] = 255
    save(tmp_path / "opaque" / "a.png", opaque)
    found = {
        name: open_source(str(tmp_path / name)).image_channels
        for name in ("gray", "mixed", "alpha", "opaque")
    }
    assert found == {"gray": 1, "mixed": 3, "alpha": 4, "opaque": 3}
    replicated = open_source(str(tmp_path / "mixed")).image(0)
    np.testing.assert_array_equal(replicated, np.repeat(gray, 3, axis=2))
    with_alpha = open_source(str(tmp_path / "opaque"), image_channels=4).image(0)
    np.testing.assert_array_equal(with_alpha, opaque)
    with pytest.raises(InputError, match=r"a\.png .*composited over white.*tf-sg2 dataset"):
        open_source(str(tmp_path / "alpha"), image_channels=3).image(0)
    with pytest.raises(InputError, match="1, 3 or 4 channels"):
        open_source(str(tmp_path / "gray"), image_channels=2)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", zoo())
def test_unsuitable_image_is_refused_by_name(tmp_path, name):
    data, message = zoo()[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=f"(?s){name}.*{message}"):
        open_source(str(tmp_path), image_channels=3).image(0)


def test_palette_and_orientation_are_read_directly(tmp_path):
    palette = Image.fromarray(noise()).quantize(16)
    palette.save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # Displayed rotated by 90 degrees clockwise.
    turned = Image.fromarray(noise(20, 12))
    turned.save(tmp_path / "b.png", exif=exif)
    source = open_source(str(tmp_path))
    np.testing.assert_array_equal(source.image(0), np.asarray(palette.convert("RGB")))
    np.testing.assert_array_equal(source.image(1), np.rot90(np.asarray(turned), -1))


def test_sixteen_bits_scale_to_the_nearest_value():
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    decoded = decode.decode(encoded(Image.fromarray(values)), "x")
    assert decoded.treatments == (decode.SIXTEEN_BITS,)
    expected = np.round(values / 65535 * 255)
    np.testing.assert_array_equal(decoded.array()[..., 0], expected)


def test_transparent_is_laid_over_white():
    pixels = noise(channels=4)
    decoded = decode.decode(encoded(Image.fromarray(pixels)), "x", 3)
    alpha = pixels[..., 3:] / 255
    expected = pixels[..., :3] * alpha + 255 * (1 - alpha)
    np.testing.assert_allclose(decoded.array(), expected, atol=1)
    assert decoded.treatments == (decode.OVER_WHITE,)


@pytest.mark.parametrize(
    ("pixels", "channels", "treatment"),
    [
        (noise(), 1, decode.COLOUR_TO_GRAY),
        (np.repeat(noise(channels=1), 3, axis=2), 1, decode.ONE_CHANNEL_KEPT),
        (noise(channels=1), 3, decode.GRAY_TO_COLOUR),
        (noise(), 4, decode.ALPHA_ADDED),
    ],
)
def test_channel_treatments_are_reported(pixels, channels, treatment):
    decoded = decode.decode(encoded(to_image(pixels)), "x", channels)
    assert decoded.treatments == (treatment,)
    assert decoded.array().shape == (12, 20, channels)


def test_wrong_png_checksum_is_found():
    data = bytearray(encoded(Image.fromarray(noise())))
    data[-14] ^= 1  # Inside the checksum of the pixel data.
    with pytest.raises(InputError, match=r"a\.png is broken"):
        decode.verify(bytes(data), "a.png")


def test_vanished_file_is_named(tmp_path):
    for name in ("a.png", "b.png"):
        save(tmp_path / name, noise())
    source = open_source(str(tmp_path))
    (tmp_path / "b.png").unlink()
    with pytest.raises(InputError, match=r"b\.png cannot be read"):
        source.image(1)


def test_fingerprint_follows_content_not_time(tmp_path):
    save(tmp_path / "one" / "a.png", noise())
    first = open_source(str(tmp_path / "one")).fingerprint()
    (tmp_path / "one" / "a.png").touch()
    assert open_source(str(tmp_path / "one")).fingerprint() == first
    (tmp_path / "one").rename(tmp_path / "two")
    assert open_source(str(tmp_path / "two")).fingerprint() == first
    (tmp_path / "two" / "dataset.json").write_text('{"labels": [["a.png", 0]]}')
    labelled = open_source(str(tmp_path / "two")).fingerprint()
    save(tmp_path / "two" / "b.png", noise())
    (tmp_path / "two" / "dataset.json").unlink()
    assert len({first, labelled, open_source(str(tmp_path / "two")).fingerprint()}) == 3


def test_links_to_nothing_and_pipes_are_named(tmp_path):
    save(tmp_path / "a.png", noise())
    (tmp_path / "b.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"b\.png cannot be read .No such file"):
        open_source(str(tmp_path))
    with pytest.raises(InputError, match=r"b\.png cannot be read .No such file"):
        FolderFiles(str(tmp_path)).content()
    (tmp_path / "b.png").unlink()
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(InputError, match=r"b\.png cannot be read .it is not a regular file"):
        open_source(str(tmp_path))


@pytest.mark.parametrize("name", ["set.zip", "set.tfrecords", "folder/set.tfrecords"])
def test_a_pipe_is_no_data_set(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    with pytest.raises(InputError, match="it is not a regular file"):
        open_source(str(path.parent if "folder" in name else path))


def test_labels_that_cannot_be_read_are_refused_not_dropped(tmp_path):
    save(tmp_path / "a.png", noise())
    (tmp_path / "dataset.json").symlink_to(tmp_path / "gone.json")
    with pytest.raises(InputError, match=r"dataset\.json cannot be read .No such file"):
        open_source(str(tmp_path))


def test_labels_below_the_top_are_refused_not_dropped(tmp_path):
    save(tmp_path / "photos" / "a.png", noise())
    (tmp_path / "photos" / "dataset.json").write_text("{}")
    with pytest.raises(InputError, match=r"photos/dataset\.json in .* is not at the top"):
        open_source(str(tmp_path))
    (tmp_path / "dataset.json").write_text('{"labels": [["photos/a.png", 1]]}')
    assert open_source(str(tmp_path)).label_dim == 2
    assert FolderFiles(str(tmp_path)).ignored == ["photos/dataset.json"]


def test_a_file_too_large_for_an_image_is_refused_unread(tmp_path):
    with open(tmp_path / "a.png", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(InputError, match=r"a\.png is larger than 1024 MiB"):
        open_source(str(tmp_path))


def test_one_image_with_transparency_makes_four_channels(tmp_path):
    opaque = noise(channels=4)
    opaque[..., 3] = 255
    save(tmp_path / "a.png", opaque)
    save(tmp_path / "b.png", noise(channels=4))
    source = open_source(str(tmp_path))
    assert source.image_channels == 4
    np.testing.assert_array_equal(source.image(0), opaque)
    assert source.image(1).shape == (12, 20, 4)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_SG2_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tf_sg2.data.folder._SETTLED_NS", -(10**18))
    return tmp_path / "cache"


def test_fingerprint_sees_pixels_of_the_same_size(tmp_path, cache):
    path = tmp_path / "set" / "a.png"
    save(path, noise())
    first = open_source(str(path.parent)).fingerprint()
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    times = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert open_source(str(path.parent)).fingerprint() != first


def test_fingerprint_does_not_read_a_file_twice(tmp_path, cache, monkeypatch):
    path = tmp_path / "set" / "personal.png"
    save(path, noise())
    first = open_source(str(path.parent)).fingerprint()
    (kept,) = (cache / "data").iterdir()
    assert "personal" not in kept.read_text() + kept.name
    with monkeypatch.context() as patch:
        patch.setattr("tf_sg2.data.folder._hash", lambda path: pytest.fail("it is read"))
        assert open_source(str(path.parent)).fingerprint() == first
    kept.write_text("[")  # A damaged cache is ignored.
    assert open_source(str(path.parent)).fingerprint() == first


def test_fingerprint_needs_no_cache(tmp_path, monkeypatch):
    save(tmp_path / "set" / "a.png", noise())
    (tmp_path / "file").touch()
    monkeypatch.setenv("TF_SG2_CACHE", str(tmp_path / "file"))
    assert open_source(str(tmp_path / "set")).fingerprint()


def test_fingerprint_needs_no_home(tmp_path, monkeypatch):
    """As in a container whose user has no entry in the list of users."""

    def nowhere():
        raise RuntimeError("Could not determine home directory.")

    save(tmp_path / "set" / "a.png", noise())
    monkeypatch.delenv("TF_SG2_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    assert open_source(str(tmp_path / "set")).fingerprint()


def test_a_file_that_just_changed_is_read_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_SG2_CACHE", str(tmp_path / "cache"))
    save(tmp_path / "set" / "a.png", noise())
    open_source(str(tmp_path / "set")).fingerprint()
    assert not (tmp_path / "cache" / "data").exists()

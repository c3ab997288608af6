"""Zips of images: stored and deflated, with labels, from many threads, and damaged."""

from __future__ import annotations

import io
import json
import struct
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tf_sg2.data import open_source
from tf_sg2.data.archive import ArchiveFiles
from tf_sg2.errors import InputError

COUNT = 40
PIXELS = np.random.default_rng(1).integers(0, 256, (COUNT, 8, 12, 3), dtype=np.uint8)


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def names():
    return [f"00000/img{i:08d}.png" for i in range(COUNT)]


def write_zip(path, labels=None, method=zipfile.ZIP_STORED, more=()):
    with zipfile.ZipFile(path, "w", method) as archive:
        # Backwards: the order of the entries differs from the order of the names.
        for name, pixels in list(zip(names(), PIXELS, strict=True))[::-1]:
            archive.writestr(name, png(pixels))
        if labels is not None:
            archive.writestr("dataset.json", json.dumps({"labels": labels}))
        for name, data in more:
            archive.writestr(name, data)
    return str(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_images_and_official_labels_are_read(tmp_path, method):
    labels = [[name, i % 5] for i, name in enumerate(names())]
    more = [("__MACOSX/x.png", b"x"), ("a/._b.png", b"x"), ("readme.txt", b"x")]
    source = open_source(write_zip(tmp_path / "a.zip", labels, method, more))
    assert (len(source), source.image_size, source.label_dim) == (COUNT, (8, 12), 5)
    for index in range(COUNT):
        np.testing.assert_array_equal(source.image(index), PIXELS[index])
        np.testing.assert_array_equal(source.label(index), np.eye(5)[index % 5])


def test_threads_read_at_once(tmp_path):
    source = open_source(write_zip(tmp_path / "a.zip", method=zipfile.ZIP_DEFLATED))
    indices = np.random.default_rng(2).integers(0, COUNT, 2000).tolist()
    with ThreadPoolExecutor(8) as pool:
        for index, image in zip(indices, pool.map(source.image, indices), strict=True):
            np.testing.assert_array_equal(image, PIXELS[index])


def test_damaged_entry_is_named(tmp_path):
    path = tmp_path / "a.zip"
    write_zip(path)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(names()[7])
    data[entry.header_offset + 30 + len(entry.filename) + 60] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=rf"{names()[7]} in .*a\.zip is damaged"):
        open_source(str(path))


def test_truncation_while_in_use_is_named(tmp_path):
    path = tmp_path / "a.zip"
    source = open_source(write_zip(path))
    with open(path, "r+b") as file:
        file.truncate(100)
    with pytest.raises(InputError, match=r"in .*a\.zip is damaged"):
        source.image(0)


def test_unusable_zips_are_refused(tmp_path):
    (tmp_path / "text.zip").write_text("not a zip")
    with pytest.raises(InputError, match="cannot be opened as a zip"):
        open_source(str(tmp_path / "text.zip"))
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(InputError, match="holds no images"):
        open_source(str(tmp_path / "empty.zip"))
    write_zip(tmp_path / "lzma.zip", method=zipfile.ZIP_LZMA)
    with pytest.raises(InputError, match="compressed by method 14"):
        open_source(str(tmp_path / "lzma.zip"))


def test_fingerprint_sees_content_and_labels(tmp_path):
    first = open_source(write_zip(tmp_path / "a.zip")).fingerprint()
    deflated = write_zip(tmp_path / "b.zip", method=zipfile.ZIP_DEFLATED)
    assert open_source(deflated).fingerprint() == first
    labelled = write_zip(tmp_path / "c.zip", [[name, 0] for name in names()])
    assert open_source(labelled).fingerprint() != first
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for name, pixels in zip(names(), PIXELS[::-1], strict=True):
            archive.writestr(name, png(pixels))
    assert open_source(str(tmp_path / "d.zip")).fingerprint() != first


def declared_small(path, name, size):
    """Rewrites the directory of a zip: `name` claims to inflate to `size` bytes."""
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    assert data[at + 46 : at + 46 + len(name)] == name.encode()
    data[at + 24 : at + 28] = struct.pack("<I", size)
    path.write_bytes(data)


def test_an_entry_inflates_no_further_than_it_declares(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(64 << 20))
    declared_small(path, "a.png", 10)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"a\.png in .*bomb\.zip is damaged"):
            open_source(str(path))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_an_entry_too_large_for_an_image_is_refused_unread(tmp_path):
    path = tmp_path / "large.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"x")
    declared_small(path, "a.png", 2**32 - 2)
    with pytest.raises(InputError, match=r"a\.png in .*large\.zip is larger than 1024 MiB"):
        open_source(str(path))


def test_a_compressed_size_beyond_the_file_is_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("a.png", b"x")
    data = bytearray(path.read_bytes())
    at = data.index(b"PK\x01\x02")
    data[at + 20 : at + 28] = struct.pack("<II", 2**30, 2**30)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.png in .*a\.zip is damaged"):
        open_source(str(path))


def test_labels_below_the_top_are_refused_not_dropped(tmp_path):
    more = [("photos/dataset.json", b"{}")]
    path = write_zip(tmp_path / "a.zip", more=more)
    with pytest.raises(InputError, match=r"photos/dataset\.json in .*a\.zip is not at the top"):
        open_source(path)
    labels = [[name, 0] for name in names()]
    with_own = ArchiveFiles(write_zip(tmp_path / "b.zip", labels, more=more))
    assert with_own.ignored == ["photos/dataset.json"]
    assert with_own.labels().dim == 1


def test_hidden_folders_are_passed_over(tmp_path):
    more = [(".thumbs/a.png", b"x"), ("b/.cache/a.png", b"x"), ("b/__MACOSX/._a.png", b"x")]
    assert len(open_source(write_zip(tmp_path / "a.zip", more=more))) == COUNT


@pytest.mark.parametrize(
    ("offset", "value"),
    [
        (6, b"\xff\x00"),  # The zip version needed for extraction.
        (8, b"\x00\x08"),  # Claims that the name is UTF-8.
        (42, b"\xff\xff\xff\x7f"),  # The start of the entry.
    ],
)
def test_malformed_directories_are_one_sentence(tmp_path, offset, value):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a" * 8 + ".png", png(PIXELS[0]))
    data = bytearray(path.read_bytes().replace(b"a" * 8, b"\xff" * 8))
    at = data.index(b"PK\x01\x02")
    data[at + offset : at + offset + len(value)] = value
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"cannot be opened as a zip|is damaged"):
        open_source(str(path))


def test_names_that_begin_at_the_current_folder_are_taken(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("./x/a.png", png(PIXELS[0]))
        archive.writestr("./dataset.json", json.dumps({"labels": [["x/a.png", 1]]}))
    source = open_source(str(tmp_path / "a.zip"))
    assert (len(source), source.label_dim) == (1, 2)

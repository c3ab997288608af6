"""Conversions: TFRecord levels, verdicts, and outputs that appear completely or not at all."""

from __future__ import annotations

import json
import os
import resource
import signal
import time

import numpy as np
import pytest
import tensorflow as tf

from pictures import noise, save
from tf_sg2.commands.main import main
from tf_sg2.data import decode, open_source, resize
from tf_sg2.data.conversion import convert
from tf_sg2.errors import InputError


def write_folder(path, count=6, height=12, width=20, channels=3):
    for index in range(count):
        save(path / f"{index}.png", noise(height, width, channels))
    return str(path)


@pytest.fixture
def folder(tmp_path):
    """Six images of 12x20 pixels."""
    return write_folder(tmp_path / "images")


def while_converting(monkeypatch, happen):
    """Calls `happen` once, while the third image is prepared."""
    fit, calls = resize.fit, []

    def observed(*arguments):
        calls.append(1)
        if len(calls) == 3:
            happen()
        return fit(*arguments)

    monkeypatch.setattr(resize, "fit", observed)


@pytest.mark.parametrize("name", ["records/a.tfrecords", "records/a-r05.tfrecords"])
@pytest.mark.parametrize("channels", [1, 3])
def test_square_powers_of_two_become_an_official_set(tmp_path, name, channels):
    source = write_folder(tmp_path / "images", 3, 32, 32)
    labels = [[f"{index}.png", index % 2] for index in range(3)]
    (tmp_path / "images" / "dataset.json").write_text(json.dumps({"labels": labels}))
    dest = str(tmp_path / name)
    report = convert(source, dest, image_channels=channels)
    expected = [f"a-r{level:02d}.tfrecords" for level in (5, 4, 3, 2)]
    assert report.files == expected
    assert "the official StyleGAN2 loaders read them too" in str(report)
    # The official loader needs every level, square, with one number of channels.
    shapes = {}
    for path in (tmp_path / "records").glob("*.tfrecords"):
        for record in tf.data.TFRecordDataset(str(path)):
            features = tf.train.Example.FromString(record.numpy()).features.feature
            shapes.setdefault(path.name, set()).add(tuple(features["shape"].int64_list.value))
    assert shapes == {
        name: {(channels, 2**n, 2**n)} for name, n in zip(expected, (5, 4, 3, 2), strict=True)
    }
    np.testing.assert_array_equal(
        np.load(tmp_path / "records" / "a-rxx.labels"), np.eye(2)[[0, 1, 0]]
    )
    original = open_source(source)
    for spec in (dest, str(tmp_path / "records")):
        read = open_source(spec)
        assert (read.image_size, read.label_dim) == ((32, 32), 2)
        if channels == 3:
            np.testing.assert_array_equal(read.image(1), original.image(1))
    assert open_source(dest.replace("-r05", ""), image_size=(8, 8)).image_size == (8, 8)


def test_other_sizes_are_reported_as_not_official(folder, tmp_path):
    report = convert(folder, str(tmp_path / "a.tfrecords"))
    assert "12x20 is not a square power of two" in str(report)
    assert "only tf-sg2 reads them" in str(report)
    assert report.files == ["a.tfrecords"]


@pytest.mark.parametrize("name", ["a-r06.tfrecords", "a.tfrecord"])
def test_names_that_official_loaders_misread_are_refused(tmp_path, name):
    source = write_folder(tmp_path / "images", 1, 32, 32)
    with pytest.raises(InputError, match=r"not the official name .* call it a-r05\.tfrecords"):
        convert(source, str(tmp_path / name))
    assert os.listdir(tmp_path) == ["images"]


def test_a_level_that_is_there_is_not_overwritten(tmp_path):
    source = write_folder(tmp_path / "images", 1, 32, 32)
    (tmp_path / "a-r03.tfrecords").write_text("x")
    with pytest.raises(InputError, match=r"a-r03\.tfrecords exists already"):
        convert(source, str(tmp_path / "a-r05.tfrecords"))


def test_an_empty_folder_inside_the_source_is_no_destination(folder):
    os.mkdir(os.path.join(folder, "out"))
    with pytest.raises(InputError, match="lies inside the source"):
        convert(folder, os.path.join(folder, "out"))
    with pytest.raises(InputError, match="lies inside the source"):
        convert(folder, os.path.join(folder, "out", "deeper", "a.zip"))
    assert len(open_source(folder)) == 6


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("a.zip", "a.zip"),
        ("a.zip", "a.report.json"),
        ("a", "a/x"),
        ("a.tfrecords", "a-r03.tfrecords"),
        ("a.tfrecords", "a.report.json"),
    ],
)
def test_what_appears_during_a_conversion_is_not_overwritten(tmp_path, monkeypatch, name, theirs):
    source = write_folder(tmp_path / "images", 4, 32, 32)
    out = tmp_path / "out"

    def another_converter_ends():
        (out / theirs).parent.mkdir(exist_ok=True)
        (out / theirs).write_text("theirs")

    while_converting(monkeypatch, another_converter_ends)
    with pytest.raises(InputError, match="exists already"):
        convert(source, str(out / name))
    assert [str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()] == [theirs]
    assert (out / theirs).read_text() == "theirs"


@pytest.mark.parametrize("name", ["a.zip", "a", "a.tfrecords"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_no_file_behind(folder, tmp_path, monkeypatch, name, number):
    def stop():
        os.kill(os.getpid(), number)
        time.sleep(0.2)  # The main thread receives it.

    while_converting(monkeypatch, stop)
    inherited = signal.signal(number, signal.SIG_DFL)  # Under nohup, SIGHUP is ignored.
    try:
        with pytest.raises(SystemExit) as ended:
            main(["dataset", f"--source={folder}", f"--dest={tmp_path / name}"])
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, inherited)
    assert ended.value.code == 128 + number
    assert os.listdir(tmp_path) == ["images"]


@pytest.mark.parametrize("name", [b"out-\xff.zip", b"out-\xff", b"out-\xff.tfrecords"])
def test_names_that_are_not_utf8_are_converted_and_reported(tmp_path, name):
    source = tmp_path / os.fsdecode(b"images-\xfe")
    save(source / "a.png", noise())
    os.rename(source / "a.png", source / os.fsdecode(b"\xff.png"))
    (source / os.fsdecode(b"\xfd.png")).write_bytes(b"")
    dest = tmp_path / os.fsdecode(name)
    assert main(["dataset", f"--source={source}", f"--dest={dest}"]) == 0
    (path,) = tmp_path.rglob("*report.json")
    report = json.loads(path.read_text(encoding="utf-8"))
    assert report["origins"] == [os.fsdecode(b"\xff.png")]
    assert len(open_source(str(dest))) == 1


def test_sizes_that_no_network_has_must_be_converted(tmp_path, capsys):
    source = write_folder(tmp_path / "images", 2, 50, 50)
    with pytest.raises(SystemExit):
        main(["dataset", f"--source={source}", "--check"])
    out = capsys.readouterr().out
    assert "must be converted first" in out
    assert "image size 50x50 is not base * 2^k" in out


def test_a_set_with_transparency_is_usable_with_four_channels(tmp_path, capsys):
    source = write_folder(tmp_path / "images", 2, channels=4)
    assert main(["dataset", f"--source={source}", "--check"]) == 0
    assert "4 channels" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["dataset", f"--source={source}", "--check", "--channels=3"])
    assert decode.OVER_WHITE in capsys.readouterr().out


def test_records_of_another_channel_count_must_be_converted(tmp_path):
    source = write_folder(tmp_path / "images", 2, channels=1)
    convert(source, str(tmp_path / "a.tfrecords"), image_channels=1)
    assert convert(str(tmp_path / "a.tfrecords")).usable_as_is
    assert not convert(str(tmp_path / "a.tfrecords"), image_channels=3).usable_as_is
    assert convert(source, image_channels=3).usable_as_is  # Files fit any number.


def test_a_broken_image_does_not_end_a_check(folder):
    with open(os.path.join(folder, "0.png"), "wb"):
        pass
    report = convert(folder)
    assert report.image_channels == 3
    assert len(report.left_out) == 1


@pytest.mark.parametrize("name", ["a.zip", "a", "a.tfrecords"])
def test_full_disk_is_one_sentence_and_leaves_no_file_behind(folder, tmp_path, name):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))
    try:
        with pytest.raises(InputError, match=f"{name}.* cannot be written .*File too large"):
            convert(folder, str(tmp_path / name))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert os.listdir(tmp_path) == ["images"]


@pytest.mark.parametrize("suffix", ["", ".zip", ".tfrecords"])
def test_a_name_too_long_is_one_sentence(folder, tmp_path, suffix):
    with pytest.raises(InputError, match="File name too long"):
        convert(folder, str(tmp_path / ("x" * 300 + suffix)))


def test_a_size_beyond_any_image_is_refused(folder):
    with pytest.raises(InputError, match="65536x65536 is more than 89 megapixels"):
        convert(folder, image_size=(65536, 65536))


def test_a_check_of_levels_looks_at_the_wanted_one(tmp_path):
    source = write_folder(tmp_path / "images", 2, 32, 32)
    convert(source, str(tmp_path / "a.tfrecords"))
    assert convert(str(tmp_path / "a.tfrecords"), image_size=(8, 8)).usable_as_is
    assert not convert(str(tmp_path / "a.tfrecords"), image_size=(24, 24)).usable_as_is

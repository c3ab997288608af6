"""`tf-sg2 dataset`: conversion between all kinds, crop and resize, the report, refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image

from pictures import noise, save, zoo
from tf_sg2.commands.main import main
from tf_sg2.data import decode, open_source, resize
from tf_sg2.data.conversion import convert
from tf_sg2.errors import InputError


def pixels_of(source):
    return np.stack([source.image(index) for index in range(len(source))])


def labels_of(source):
    return np.stack([source.label(index) for index in range(len(source))])


@pytest.fixture
def folder(tmp_path):
    """Six images with labels in a folder."""
    path = tmp_path / "images"
    for index in range(6):
        save(path / f"{index}.png", noise())
    labels = [[f"{index}.png", index % 3] for index in range(6)]
    (path / "dataset.json").write_text(json.dumps({"labels": labels}))
    return path


def test_round_through_all_kinds_keeps_pixels_and_labels(folder, tmp_path):
    original = open_source(str(folder))
    spec = str(folder)
    for name in ("a.zip", "b", "c-r05.tfrecords", "d.zip", "e.tfrecords", "f"):
        convert(spec, str(tmp_path / name))
        spec = str(tmp_path / name)
        found = open_source(spec)
        np.testing.assert_array_equal(pixels_of(found), pixels_of(original))
        np.testing.assert_array_equal(labels_of(found), labels_of(original))
    assert (tmp_path / "c-rxx.labels").exists()


def test_zip_is_official_and_reproducible(folder, tmp_path):
    for name in ("a.zip", "b.zip"):
        convert(str(folder), str(tmp_path / name))
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        labels = json.loads(archive.read("dataset.json"))["labels"]
        assert labels == [[f"00000/img{i:08d}.png", i % 3] for i in range(6)]
        assert sorted(archive.namelist())[0] == "00000/img00000000.png"


def test_labels_keep_their_length_when_the_last_class_is_left_out(folder, tmp_path):
    (folder / "2.png").write_bytes(b"")
    (folder / "5.png").write_bytes(b"")  # class 2 is gone
    report = convert(str(folder), str(tmp_path / "a.zip"))
    assert len(report.left_out) == 2
    np.testing.assert_array_equal(
        labels_of(open_source(str(tmp_path / "a.zip"))), np.eye(3)[[0, 1, 0, 1]]
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_zoo_is_treated_or_left_out_and_reported(tmp_path):
    source = tmp_path / "zoo"
    save(source / "0.png", noise())
    for name, (data, _) in zoo().items():
        (source / name).write_bytes(data)
    (source / "film.gif").write_bytes(b"GIF89a")
    report = convert(str(source), str(tmp_path / "out"), image_size=(12, 20))
    assert {name: reason.split("/")[-1] for name, reason in report.left_out}.keys() == {
        "truncated.jpg",
        "truncated.png",
        "zero.png",
        "text.png",
        "animated.png",
        "large.png",
    }
    assert all(name in reason for name, reason in report.left_out)
    for treatment in (
        decode.CMYK,
        decode.SIXTEEN_BITS,
        decode.PALETTE,
        decode.OVER_WHITE,
        decode.FIRST_FRAME,
    ):
        assert report.treatments[treatment] == 1
    assert report.ignored == ["film.gif"]
    assert report.images_found == 11
    assert report.images_usable == 5
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(written["left_out"]) == 6
    assert len(written["origins"]) == 5
    assert "6 images left out" in str(report)
    assert "1 .gif" in str(report)
    assert len(open_source(str(tmp_path / "out"), (12, 20), 3)) == 5


@pytest.mark.parametrize("size", [(12, 20), (16, 16), (7, 30)])
def test_center_crop_and_resize_equal_pillow(size):
    image = Image.fromarray(noise(40, 60))
    fitted, treatments = resize.fit(image, "x", size, "center")
    scale = min(60 / size[1], 40 / size[0])
    width, height = size[1] * scale, size[0] * scale
    left, top = (60 - width) / 2, (40 - height) / 2
    expected = image.resize(
        size[::-1], Image.Resampling.LANCZOS, box=(left, top, left + width, top + height)
    )
    np.testing.assert_array_equal(np.asarray(fitted), np.asarray(expected))
    assert treatments == [resize.CROPPED, resize.REDUCED]


def test_pure_crop_resamples_nothing():
    pixels = noise(12, 21)
    fitted, treatments = resize.fit(Image.fromarray(pixels), "x", (12, 16), "center")
    np.testing.assert_array_equal(np.asarray(fitted), pixels[:, 2:18])
    assert treatments == [resize.CROPPED]


def test_other_crops():
    image = Image.fromarray(noise(40, 60))
    stretched, treatments = resize.fit(image, "x", (10, 10), "stretch")
    expected = image.resize((10, 10), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(np.asarray(stretched), np.asarray(expected))
    assert treatments == [resize.STRETCHED, resize.REDUCED]
    with pytest.raises(InputError, match=r"x is 40x60 .*another aspect ratio than 10x10"):
        resize.fit(image, "x", (10, 10), "none")
    assert resize.fit(image, "x", (80, 120), "none")[1] == [resize.ENLARGED]


def test_without_a_size_other_sizes_are_left_out(folder):
    save(folder / "3.png", noise(13, 20))
    report = convert(str(folder))
    assert [name for name, _ in report.left_out] == ["3.png"]
    assert not report.usable_as_is
    assert report.dest is None


def test_max_images_stops_early(folder, tmp_path):
    (folder / "0.png").write_bytes(b"")
    report = convert(str(folder), str(tmp_path / "a.zip"), max_images=2)
    assert report.origins == ["1.png", "2.png"]
    assert report.images_found == 3


def test_failure_leaves_nothing_behind(tmp_path):
    source = tmp_path / "bad"
    source.mkdir()
    (source / "a.png").write_bytes(b"")
    for dest in ("out.zip", "out", "out.tfrecords"):
        with pytest.raises(InputError, match=r"no image of .*a\.png is empty"):
            convert(str(source), str(tmp_path / dest), image_size=(8, 8))
    assert os.listdir(tmp_path) == ["bad"]


def test_nothing_is_overwritten(folder, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "a.zip").write_text("x")
    (tmp_path / "b.report.json").write_text("x")
    (tmp_path / "c-rxx.labels").write_text("x")
    for dest in ("full", "a.zip", "b.zip", "c-r05.tfrecords"):
        with pytest.raises(InputError, match="exists already"):
            convert(str(folder), str(tmp_path / dest))
    with pytest.raises(InputError, match="lies inside the source"):
        convert(str(folder), str(folder / "out"))


def test_damaged_records_are_refused(folder, tmp_path):
    path = tmp_path / "a.tfrecords"
    convert(str(folder), str(path))
    data = bytearray(path.read_bytes())
    data[len(data) // 6 * 2 + 200] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"record 2 of .*a\.tfrecords is damaged"):
        convert(str(path), str(tmp_path / "b.zip"))


def test_command_converts_and_reports(folder, tmp_path, capsys):
    dest = str(tmp_path / "a.zip")
    arguments = ["dataset", f"--source={folder}", f"--dest={dest}", "--size=6x10", "--channels=1"]
    assert main(arguments) == 0
    assert "6 of 6 images written to" in capsys.readouterr().out
    source = open_source(dest)
    assert (source.image_size, source.image_channels, source.label_dim) == ((6, 10), 1, 3)
    assert json.loads((tmp_path / "a.report.json").read_text())["images_usable"] == 6


def test_check_ends_with_the_verdict(folder, capsys):
    assert main(["dataset", f"--source={folder}", "--check"]) == 0
    assert "can be trained on as it is" in capsys.readouterr().out
    (folder / "0.png").write_bytes(b"")
    with pytest.raises(SystemExit) as ended:
        main(["dataset", f"--source={folder}", "--check"])
    assert ended.value.code == 1
    out = capsys.readouterr().out
    assert "0.png is empty" in out
    assert "must be converted first" in out


def test_check_writes_nothing(folder):
    def contents():
        return {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*")}

    before = contents()
    assert main(["dataset", f"--source={folder}", "--check"]) == 0
    assert contents() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--source is needed: folder of images"),
        (["--source=a", "--check", "--dest=b"], "--check writes nothing"),
        (["--source=nowhere"], "there is no data set at 'nowhere'"),
        (["--source=.", "--size=big"], "big"),
        (["--source=.", "--crop=left"], "crop"),
        (["--source=.", "--channels=2"], "1, 3 or 4 channels, not 2"),
    ],
)
def test_bad_flags_are_one_line(arguments, message, capsys):
    assert main(["dataset", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_help_is_fast_and_needs_no_tensorflow():
    code = (
        "import sys; from tf_sg2.commands.main import main\n"
        "try: main(['dataset', '--help'])\n"
        "finally: assert 'tensorflow' not in sys.modules and 'PIL' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--[no]check" in done.stdout


def test_cards_are_a_source(tmp_path):
    pytest.importorskip("tf_sg2.cards", exc_type=ImportError)
    convert("cards:count=3,seed=1,size=96x160", str(tmp_path / "cards.zip"))
    assert open_source(str(tmp_path / "cards.zip")).image_size == (96, 160)

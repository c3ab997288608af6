"""Tests of the cards' data set, files and command."""

from __future__ import annotations

import json
import os
import signal
import zipfile

import numpy as np
import PIL
import pytest
from PIL import Image, features

from tf_sg2.cards import CardSource, draw_card, fonts, write_cards, writing
from tf_sg2.commands.cards import main
from tf_sg2.data import open_source
from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError


def test_source_streams_cards():
    source = CardSource.from_spec("cards:count=5,seed=2,size=48x80")
    assert isinstance(source, ImageSource)
    assert (len(source), source.image_size, source.image_channels) == (5, (48, 80), 3)
    assert source.name == "cards:count=5,seed=2,size=48x80"
    np.testing.assert_array_equal(source.image(3), draw_card(2, 3, (48, 80)).image)
    assert source.label_dim == 0
    assert source.label(0).shape == (0,)
    with pytest.raises(IndexError):
        source.image(5)


def test_spec_has_defaults():
    source = CardSource.from_spec("cards:")
    assert (len(source), source.seed, source.image_size) == (10_000, 0, (96, 160))
    assert CardSource.from_spec(source.spec).fingerprint() == source.fingerprint()


def test_different_sets_have_different_fingerprints():
    specs = ["cards:", "cards:seed=1", "cards:count=9", "cards:size=64", "cards:languages=ja"]
    assert len({CardSource.from_spec(spec).fingerprint() for spec in specs}) == len(specs)
    again = CardSource.from_spec("cards:languages=en+ja")
    assert again.fingerprint() == CardSource.from_spec("cards:seed=0").fingerprint()


def test_fingerprint_names_what_the_cards_are_drawn_with(monkeypatch):
    source = CardSource.from_spec("cards:")
    ours = source.fingerprint()
    assert PIL.__version__ in ours
    assert features.version("freetype2") in ours
    monkeypatch.setattr(fonts, "drawn_with", lambda: "Pillow 10.4.0, FreeType 2.13.2, fonts 0")
    assert source.fingerprint() != ours
    assert "Pillow 10.4.0" in source.fingerprint()


def test_fingerprint_sees_the_content_of_the_fonts(monkeypatch, tmp_path):
    ours = fonts.drawn_with()
    other = tmp_path / "other.ttf"
    other.write_bytes(b"another font")
    path = fonts.font_path
    monkeypatch.setattr(fonts, "font_path", lambda f: str(other) if f == "caladea" else path(f))
    fonts.drawn_with.cache_clear()
    assert fonts.drawn_with() != ours
    fonts.drawn_with.cache_clear()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("cards:colour=red", "unknown part"),
        ("cards:count=ten", "whole number"),
        ("cards:seed=-1", "whole number"),
        ("cards:count=0", "empty"),
        ("cards:count=1000000000000", "a set of 1000000000000 cards is too large"),
        ("cards:count=" + "9" * 5000, "count .* whole number"),
        ("cards:seed=²", "whole number"),
        ("cards:seed=1,seed=2", "twice"),
        ("cards:size=big", "image size"),
        ("cards:size=8x8", "too small"),
        ("cards:languages=fr", "'fr'"),
        ("folder", "does not start"),
    ],
)
def test_unusable_spec_is_refused(spec, message):
    with pytest.raises(InputError, match=message):
        CardSource.from_spec(spec)


@pytest.mark.parametrize("name", ["cards", "cards.zip"])
def test_written_cards_are_read_back(tmp_path, name):
    out = write_cards(tmp_path / "new" / name, 6, seed=4, image_size=(48, 80))
    source = open_source(str(out))
    assert len(source) == 6
    if out.is_dir():
        document = json.loads((out / "cards.json").read_text(encoding="utf-8"))
    else:
        with zipfile.ZipFile(out) as archive:
            document = json.loads(archive.read("cards.json"))
            pngs = [e for e in archive.infolist() if e.filename.endswith(".png")]
            assert all(entry.compress_type == zipfile.ZIP_STORED for entry in pngs)
    assert (document["seed"], document["image_size"]) == (4, [48, 80])
    for i, entry in enumerate(document["cards"]):
        card = draw_card(4, i, (48, 80))
        np.testing.assert_array_equal(source.image(i), card.image)
        assert entry["file"] == f"{i:08}.png"
        assert (entry["fields"], entry["boxes"]) == (card.fields, card.boxes)
        assert entry["language"] == card.language
        assert entry["layout"] == card.layout
        assert entry["orientation"] == card.orientation
    assert sorted(p.name for p in out.parent.iterdir()) == [name]


def test_large_set_goes_into_subfolders(tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "FOLDER_SIZE", 2)
    out = write_cards(tmp_path / "cards", 5, image_size=(16, 16))
    files = sorted(str(p.relative_to(out)) for p in out.rglob("*.png"))
    assert files[0] == "00000/00000000.png"
    assert files[-1] == "00002/00000004.png"
    assert len(open_source(str(out))) == 5


def test_processes_write_the_same_zip(tmp_path):
    one = write_cards(tmp_path / "a.zip", 20, image_size=(48, 80), processes=1)
    two = write_cards(tmp_path / "b.zip", 20, image_size=(48, 80), processes=2)
    assert one.read_bytes() == two.read_bytes()


@pytest.mark.parametrize("name", ["cards", "cards.zip"])
def test_existing_output_is_refused(tmp_path, name):
    out = tmp_path / name
    out.write_text("precious")
    with pytest.raises(InputError, match="exists already; remove it, or give another --out"):
        write_cards(out, 2, image_size=(16, 16))
    assert out.read_text() == "precious"


@pytest.mark.parametrize("name", ["cards", "cards.zip"])
def test_interrupted_writing_leaves_nothing(tmp_path, monkeypatch, name):
    draw = writing.draw_card

    def interrupted(seed, index, *rest):
        if index == 2:
            raise KeyboardInterrupt
        return draw(seed, index, *rest)

    monkeypatch.setattr(writing, "draw_card", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_cards(tmp_path / name, 4, image_size=(16, 16))
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cards\.zip cannot be written"):
        write_cards(tmp_path / "file" / "cards.zip", 1, image_size=(16, 16))


def test_command_writes_cards(tmp_path, capsys):
    out = tmp_path / "cards"
    main([f"--out={out}", "--count=3", "--seed=1", "--size=32x48", "--languages=ja"])
    assert "3 cards of 32x48 pixels" in capsys.readouterr().out
    with Image.open(out / "00000000.png") as image:
        assert image.size == (48, 32)
        assert image.mode == "RGB"
    cards = json.loads((out / "cards.json").read_text(encoding="utf-8"))["cards"]
    assert [card["language"] for card in cards] == ["ja"] * 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--out is needed: folder or .zip file to create"),
        (["--out=x", "--size=big"], "image size"),
        (["--out=x", "--count=0"], "empty"),
        (["--out=x", "--seed=-3"], "0 or more"),
        (["--out=x", "--languages=ja,fr"], "'fr'"),
        (["--out=x", "--processes=0"], "processes"),
        (["--nothing=1"], "nothing"),
    ],
)
def test_command_refuses_unusable_flags(tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        main(arguments)
    assert list(tmp_path.iterdir()) == []


def test_help_lists_every_flag(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    text = capsys.readouterr().out
    flags = ("--out", "--count", "--seed", "--size", "--languages", "--processes")
    assert all(flag in text for flag in flags)


@pytest.mark.parametrize("name", ["cards", "cards.zip"])
def test_what_appears_while_drawing_is_not_overwritten(tmp_path, monkeypatch, name):
    draw = writing.draw_card
    theirs = tmp_path / name / "x" if name == "cards" else tmp_path / name

    def another_writer_ends(seed, index, *rest):
        if index == 2:
            theirs.parent.mkdir(exist_ok=True)
            theirs.write_text("theirs")
        return draw(seed, index, *rest)

    monkeypatch.setattr(writing, "draw_card", another_writer_ends)
    with pytest.raises(InputError, match="exists already"):
        write_cards(tmp_path / name, 4, image_size=(16, 16))
    assert theirs.read_text() == "theirs"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [theirs]


@pytest.mark.parametrize("name", ["cards", "cards.zip"])
def test_a_signal_leaves_nothing_behind(tmp_path, monkeypatch, name):
    draw = writing.draw_card

    def stopped(seed, index, *rest):
        if index == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(seed, index, *rest)

    monkeypatch.setattr(writing, "draw_card", stopped)
    with pytest.raises(SystemExit) as ended:
        main([f"--out={tmp_path / name}", "--count=4", "--size=16x16"])
    assert ended.value.code == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["", ".zip"])
def test_a_name_too_long_is_one_sentence(tmp_path, suffix):
    with pytest.raises(InputError, match="File name too long"):
        write_cards(tmp_path / ("x" * 300 + suffix), 1, image_size=(16, 16))

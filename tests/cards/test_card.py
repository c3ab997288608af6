"""Tests of `tf_sg2.cards.card`: the content of a card, and that it never changes."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from tf_sg2.cards import draw_card, fonts
from tf_sg2.cards.design import _EN, _JA_HORIZONTAL, _JA_VERTICAL, draw_design
from tf_sg2.cards.layouts import LAYOUTS, lay_out
from tf_sg2.cards.people import person_fields
from tf_sg2.cards.typesetting import Page, Rect, Row, Text, columns, stack
from tf_sg2.errors import InputError

SIZES = [(48, 80), (96, 160), (64, 64), (160, 96), (60, 200), (384, 640), (55, 91)]


@pytest.fixture(scope="module")
def cards():
    return [draw_card(seed=3, index=i) for i in range(200)]


def _digest(indices) -> str:
    content = hashlib.sha256()
    for i in indices:
        card = draw_card(seed=5, index=i, image_size=(48, 80))
        content.update(card.image.tobytes())
        content.update(json.dumps([card.fields, card.boxes, card.layout]).encode())
    return content.hexdigest()


def test_card_is_the_same_whatever_was_drawn_before():
    alone = draw_card(seed=1, index=17)
    draw_card(seed=2, index=17, image_size=(64, 64))
    draw_card(seed=1, index=3)
    again = draw_card(seed=1, index=17)
    np.testing.assert_array_equal(alone.image, again.image)
    assert (alone.fields, alone.boxes) == (again.fields, again.boxes)
    assert draw_card(seed=1, index=18).fields != alone.fields
    assert draw_card(seed=2, index=17).fields != alone.fields


def test_card_is_the_same_in_another_process():
    code = (
        "import importlib.util as u\n"
        f"spec = u.spec_from_file_location('digest', {os.path.abspath(__file__)!r})\n"
        "module = u.module_from_spec(spec); spec.loader.exec_module(module)\n"
        "print(module._digest(range(6)))\n"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == _digest(range(6))


def test_card_is_the_same_from_many_threads():
    alone = [draw_card(9, i, (48, 80)).image for i in range(24)]
    fonts._glyphs.clear()
    with ThreadPoolExecutor(6) as threads:
        together = list(threads.map(lambda i: draw_card(9, i, (48, 80)).image, range(24)))
    np.testing.assert_array_equal(alone, together)


def test_fields_stay_as_they_were():
    fields = [draw_card(seed=1, index=i, image_size=(48, 80)).fields for i in range(20)]
    text = json.dumps(fields, sort_keys=True).encode()
    assert hashlib.sha256(text).hexdigest()[:16] == "e41d03c30210e49f"


@pytest.mark.parametrize("size", SIZES)
def test_image_has_the_size_asked(size):
    image = draw_card(0, 4, size).image
    assert image.shape == (*size, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("size", SIZES)
def test_boxes_are_inside_and_apart(size):
    for i in range(60):
        card = draw_card(seed=8, index=i, image_size=size)
        assert set(card.boxes) == set(card.fields)
        for left, top, right, bottom in card.boxes.values():
            assert 0 <= left < right <= size[1]
            assert 0 <= top < bottom <= size[0]
        for (name, a), (other, b) in itertools.combinations(card.boxes.items(), 2):
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            assert apart, (i, card.layout, name, other)


@pytest.mark.parametrize("size", [(16, 16), (24, 40), (32, 32), (32, 56), (80, 48)])
def test_small_boxes_meet_only_where_one_is_a_pixel_thin(size):
    for i in range(60):
        card = draw_card(seed=8, index=i, image_size=size)
        for a, b in itertools.combinations(card.boxes.values(), 2):
            apart = a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]
            thin = [min(box[2] - box[0], box[3] - box[1]) == 1 for box in (a, b)]
            assert apart or any(thin), (i, card.layout, a, b)


def test_boxes_hold_the_ink():
    for i in range(30):
        card = draw_card(seed=4, index=i, image_size=(384, 640))
        for name, (left, top, right, bottom) in card.boxes.items():
            inside = card.image[top:bottom, left:right].astype(int)
            ground = np.median(inside.reshape(-1, 3), axis=0)
            ink = np.abs(inside - ground).max(axis=2) > 40
            assert ink.any(axis=1).mean() > 0.4, (i, name)
            # The ink reaches all four edges of its box, within three pixels for thin strokes.
            assert ink[:3].any()
            assert ink[-3:].any()
            assert ink[:, :3].any()
            assert ink[:, -3:].any()


def test_card_is_laid_out_alike_at_every_size():
    for i in range(20):
        small, large = draw_card(6, i, (96, 160)), draw_card(6, i, (384, 640))
        assert small.fields == large.fields
        assert small.layout == large.layout
        for name, box in small.boxes.items():
            np.testing.assert_allclose(np.array(large.boxes[name]) / 4, box, atol=1.01)
        reduced = np.asarray(Image.fromarray(large.image).reduce(4), float)
        assert np.abs(reduced - small.image).mean() < 6


def test_fields_are_texts_of_the_language(cards):
    assert {card.language for card in cards} == {"ja", "en"}
    for card in cards:
        assert {"name", "company", "title", "phone", "address"} <= set(card.fields)
        assert all(text == text.strip() and text for text in card.fields.values())
        if card.language == "ja":
            assert any(f in card.fields["company"] for f in ("株式会社", "有限会社", "合同会社"))
            assert card.fields["postal_code"].startswith("〒")
            assert not card.fields["name"].isascii()
        else:
            assert all(text.isascii() for text in card.fields.values())
            assert card.orientation == "horizontal"


def test_variety_covers_every_layout(cards):
    assert set(LAYOUTS) == {*_JA_HORIZONTAL, *_JA_VERTICAL, *_EN}
    assert {card.layout for card in cards} == set(LAYOUTS)
    assert {card.orientation for card in cards} == {"horizontal", "vertical"}
    assert len({card.fields["name"] for card in cards}) > 150
    assert len({card.image.tobytes() for card in cards}) == len(cards)


def test_addresses_and_numbers_reach_nobody(cards):
    reserved = re.compile(r"(^|[@./])(example\.(com|net|org|jp|co\.jp)|[a-z0-9-]+\.example)$")
    american = re.compile(r"555[-. ]01\d\d$")
    digits = str.maketrans("〇一二三四五六七八九（）", "0123456789--")
    for card in cards:
        for name in ("mail", "url"):
            if name in card.fields:
                assert reserved.search(card.fields[name]), card.fields[name]
        for name in ("phone", "fax", "mobile"):
            number = card.fields.get(name)
            if number is None:
                continue
            if card.language == "en":
                assert american.search(number), number
            else:
                area, local, line = number.translate(digits).split("-")
                assert area.startswith("0"), number
                assert local.startswith("00"), number
                assert len(area + local + line) == (11 if name == "mobile" else 10)


def test_every_character_has_a_glyph():
    missing = {
        face: fonts.glyph(face, "\U000f1234", 24.0, False, (0, 0))[0] for face in fonts.FACES
    }
    drawn = set()
    for i in range(150):
        drawn |= {(mark.face, mark.char) for mark in _sheet(i).page.marks}
    assert len(drawn) > 500
    for face, char in drawn:
        glyph = fonts.glyph(face, char, 24.0, False, (0, 0))[0]
        assert glyph.any(), (face, char)
        assert not np.array_equal(glyph, missing[face]), f"{face} has no {char!r}"


def test_vertical_text_turns_marks_and_latin():
    page = Page()
    text = Text("マネージャー（A）", "noto", 3.0, (0, 0, 0), field="title")
    columns(page, [Row([text])], Rect(0, 0, 10, 50))
    turned = {mark.char for mark in page.marks if mark.rotated}
    assert turned == {"ー", "（", "）", "A"}
    # A long vowel mark stands upright: higher than wide.
    glyph = fonts.glyph("noto", "ー", 40.0, True, (0, 0))[0]
    assert glyph.shape[0] > 3 * glyph.shape[1]


@pytest.mark.parametrize("set_rows", [stack, columns])
@pytest.mark.parametrize("size", [1.0, 4.0, 12.0])
def test_text_stays_inside_its_rectangle_and_rows_stay_apart(set_rows, size):
    fields = person_fields("ja", 3)
    texts = [fields[name] for name in ("company", "name", "address", "mail")]
    rect = Rect(3.0, 5.0, 33.0, 25.0)
    for face in fonts.FACES:
        page = Page()
        rows = [
            Row([Text(text, face if text.isascii() else "noto", size, (0, 0, 0), field=text)])
            for text in texts
        ]
        set_rows(page, rows, rect, "middle", "middle")
        # A stroke may reach over the end of its line.
        slack = 0.1 * max(mark.size for mark in page.marks)
        x, y = (slack, 0.0) if set_rows is stack else (0.0, slack)
        for left, top, right, bottom in page.boxes.values():
            assert rect.left - x <= left
            assert right <= rect.right + x
            assert rect.top - y <= top
            assert bottom <= rect.bottom + y
        for a, b in itertools.combinations(page.boxes.values(), 2):
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


def test_languages_can_be_chosen():
    for language in ("ja", "en"):
        assert all(draw_card(0, i, (48, 80), [language]).language == language for i in range(12))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, 0), "0 or more"),
        ((0, -1), "0 or more"),
        ((0, 0, (8, 80)), "too small"),
        ((0, 0, (96, 160), ("fr",)), "'fr'"),
        ((0, 0, (96, 160), ()), "without a language"),
    ],
)
def test_impossible_card_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        draw_card(*arguments)


def test_missing_font_names_the_package(monkeypatch):
    monkeypatch.setitem(fonts.FACES, "none", ("no_such_font_package", "files/A.ttf", "font-a"))
    with pytest.raises(InputError, match="pip install font-a"):
        fonts.font_path("none")


@pytest.mark.parametrize("size", [(91.7, 55.0), (55.0, 55.0), (55.0, 91.7)])
def test_logo_stays_clear_of_text(size):
    for i in range(100):
        sheet = _sheet(i, size)
        if sheet.logo is None:
            continue
        logo = sheet.logo[0]
        assert 0 <= logo.left < logo.right <= size[0]
        assert 0 <= logo.top < logo.bottom <= size[1]
        for left, top, right, bottom in sheet.page.boxes.values():
            across = left < logo.right - 0.1 and logo.left < right - 0.1
            assert not (across and top < logo.bottom - 0.1 and logo.top < bottom - 0.1), i


def _sheet(index, size=(91.7, 55.0)):
    rng = random.Random(index)
    design = draw_design(rng, ("ja", "en"))
    fields = person_fields(design.language, index)
    return lay_out(design, fields, *size)

"""Real images may be shown only where every image is known to be drawn."""

from __future__ import annotations

import shutil
import zipfile

import pytest

from pictures import noise, save
from tf_sg2.cards.writing import write_cards
from tf_sg2.report.drawn import is_drawn


@pytest.fixture(scope="module")
def cards(tmp_path_factory):
    return write_cards(tmp_path_factory.mktemp("cards") / "cards", 3, 1, (32, 56))


def test_drawn_cards_are_known_in_every_form(cards, tmp_path):
    archive = write_cards(tmp_path / "cards.zip", 3, 1, (32, 56))
    assert is_drawn("cards:count=3,size=32x56")
    assert is_drawn(str(cards))
    assert is_drawn(str(archive))


def test_one_image_that_the_list_lacks_makes_a_set_unknown(cards, tmp_path):
    folder = tmp_path / "more"
    shutil.copytree(cards, folder)
    save(folder / "someone.png", noise(32, 56))
    assert not is_drawn(str(folder))
    archive = write_cards(tmp_path / "more.zip", 3, 1, (32, 56))
    with zipfile.ZipFile(archive, "a") as file:
        file.write(folder / "someone.png", "someone.png")
    assert not is_drawn(str(archive))


@pytest.mark.parametrize("document", ["{", "[]", "{}", '{"cards": 1}', '{"cards": [{}]}', "\udcff"])
def test_other_sets_are_unknown(document, tmp_path):
    save(tmp_path / "set" / "a.png", noise(32, 56))
    assert not is_drawn(str(tmp_path / "set"))
    text = document.encode("utf-8", "surrogateescape")
    (tmp_path / "set" / "cards.json").write_bytes(text)
    assert not is_drawn(str(tmp_path / "set"))
    assert not is_drawn(str(tmp_path / "missing"))
    assert not is_drawn("")

"""Cards in sets that have no person in common, and the canaries among them."""

from __future__ import annotations

import csv
import json
import re
import zipfile
from collections import Counter

import numpy as np
import pytest

from tf_sg2.cards.split import Deal, write_split
from tf_sg2.cards.split.deal import CANARIES, REPEATS
from tf_sg2.commands.cards import main
from tf_sg2.data import open_source
from tf_sg2.data.split import split
from tf_sg2.errors import InputError

SHARED = {"department", "title"}
IDENTIFYING = ("name", "company", "phone", "fax", "mobile", "mail", "url", "address")


def texts_of_sets(deal: Deal) -> dict[str, list[dict[str, str]]]:
    return {
        name: [deal.texts(name, index) for index in range(size)]
        for name, size in deal.sizes.items()
    }


@pytest.fixture(scope="module")
def texts():
    return texts_of_sets(Deal(3000, seed=7, image_size=(48, 80)))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small split, with its document."""
    out = tmp_path_factory.mktemp("split") / "out"
    deal = Deal(60, seed=3, image_size=(16, 28), holdout=0.2, canaries=2)
    return out, write_split(out, deal, processes=1)


def test_no_text_is_in_two_sets(texts):
    owners: dict[str, str] = {}
    for name, people in texts.items():
        for person in people:
            for field, text in person.items():
                # A house number is printed only as the end of an address.
                if text and field not in {*SHARED, "house_number"}:
                    assert owners.setdefault(text, name) == name, (field, text)
    assert len(owners) > 20_000


def test_no_telephone_number_is_in_two_sets_in_any_form(texts):
    owners: dict[str, str] = {}
    for name, people in texts.items():
        for person in people:
            for field in ("phone", "fax", "mobile"):
                digits = re.sub(r"\D", "", person[field].removeprefix("+1"))
                assert owners.setdefault(digits, name) == name, digits


def test_texts_of_a_person_fit_together(texts):
    for person in (person for people in texts.values() for person in people[:200]):
        assert all(person[field] for field in IDENTIFYING)
        latin = person.get("name_latin", person["name"]).lower().split()
        box, domain = person["mail"].split("@")
        assert latin[-1] in box
        assert domain in person["url"]
        company = person.get("company_latin", person["company"]).lower().split()
        assert domain.startswith(company[0])
        assert person["address"].endswith(person.get("house_number", ""))
        if "building" in person:
            area = person["phone"].split("-")[0]
            assert person["fax"].startswith(f"{area}-00")
            assert re.fullmatch(r"0\d+-00\d*-\d{4}", person["phone"])
            assert re.fullmatch(r"090-00\d\d-\d{4}", person["mobile"])
            assert len(re.sub(r"\D", "", person["phone"])) == 10
        else:
            assert re.search(r"555[-. ]01\d\d$", person["phone"])
            assert person["phone"][:-2] == person["fax"][:-2] == person["mobile"][:-2]


def test_sets_are_drawn_alike(texts):
    """What tells the sets apart must be their words, not their forms."""
    shares = {}
    for name in ("training", "holdout", "reference"):
        people = texts[name]
        shares[name] = np.mean(
            [
                [
                    "building" in person,
                    len(person["name"].split()) == 3,
                    not person["department"],
                    person["url"].startswith("https"),
                    person["mail"].endswith(".example"),
                    person["phone"].startswith("+1"),
                    person.get("building", "").endswith(("F", "階")),
                ]
                for person in people
            ],
            axis=0,
        )
    for name in ("holdout", "reference"):
        # Four standard deviations of the smaller set's share.
        limit = 4 * np.sqrt(shares["training"] * (1 - shares["training"]) / len(texts[name]))
        assert (np.abs(shares[name] - shares["training"]) < limit).all()


def test_a_card_depends_on_no_other_card_and_no_count():
    small, large = Deal(40, seed=5, image_size=(16, 28)), Deal(400, seed=5, image_size=(16, 28))
    for name, size in small.sizes.items():
        for index in {0, size - 1}:
            ours, theirs = small.card(name, index), large.card(name, index)
            np.testing.assert_array_equal(ours.image, theirs.image)
            assert ours.fields == theirs.fields
            assert ours.fields["name"] == small.texts(name, index)["name"]
    other = Deal(40, seed=6, image_size=(16, 28))
    assert other.texts("training", 0) != small.texts("training", 0)


def test_coins_are_fair_and_reproducible():
    coins = np.array(
        [
            [deal.canary(index).planted for index in range(deal.sizes[CANARIES])]
            for deal in (Deal(10, seed=seed, canaries=25) for seed in range(100))
        ]
    )
    assert coins.shape == (100, 100)
    assert abs(coins.mean() - 0.5) < 4 * 0.5 / 100  # Four standard deviations.
    # Neither a canary nor a seed nor a number of repeats has a side of its own.
    assert (np.abs(coins.mean(axis=0) - 0.5) < 5 * 0.05).all()
    assert (np.abs(coins.mean(axis=1) - 0.5) < 5 * 0.05).all()
    for repeats in range(len(REPEATS)):
        assert abs(coins[:, repeats :: len(REPEATS)].mean() - 0.5) < 4 * 0.5 / 50
    assert [Deal(10, seed=1).canary(i) for i in range(64)] == [
        Deal(999, seed=1).canary(i) for i in range(64)
    ]


def test_written_sets_hold_the_cards_and_exactly_the_planted_copies(written):
    out, document = written
    assert json.loads((out / "split.json").read_text(encoding="utf-8")) == document
    sizes = {"training": 42, "holdout": 12, "reference": 6, "canaries": 8}
    assert {name: found["cards"] for name, found in document["sets"].items()} == sizes
    canaries = document["canaries"]
    assert [canary["repeats"] for canary in canaries] == [1, 4, 16, 64] * 2
    assert {canary["planted"] for canary in canaries} == {True, False}
    planted = sum(canary["repeats"] for canary in canaries if canary["planted"])
    for name, found in document["sets"].items():
        source = open_source(str(out / found["file"]), (16, 28), 3)
        assert len(source) == found["images"] == sizes[name] + planted * (name == "training")
        assert source.fingerprint() == found["fingerprint"]
    pixels = {}
    for name in ("training", "canaries"):
        source = open_source(str(out / f"{name}.zip"))
        pixels[name] = [source.image(index).tobytes() for index in range(len(source))]
    counts = Counter(pixels["training"])
    for canary, image in zip(canaries, pixels["canaries"], strict=True):
        assert counts[image] == (canary["repeats"] if canary["planted"] else 0)
        assert len(canary["copies"]) == counts[image]
    with zipfile.ZipFile(out / "training.zip") as archive:
        copies = [name for name in archive.namelist() if name.startswith("canaries/")]
    assert copies == [name for canary in canaries for name in canary["copies"]]


def test_printed_texts_are_recorded_and_in_one_set_only(written):
    out, document = written
    owners: dict[str, str] = {}
    for name in document["sets"]:
        with zipfile.ZipFile(out / f"{name}.zip") as archive:
            entries = json.loads(archive.read("cards.json"))["cards"]
            groups = list(csv.DictReader(archive.read("groups.csv").decode().splitlines()))
        by_file = {card["file"]: card for card in document["cards"][name]}
        for entry, group in zip(entries, groups, strict=True):
            keys = ("file", "person", "company")
            assert [entry[key] for key in keys] == [group[key] for key in keys]
            printed = {k: text for k, text in entry["fields"].items() if k not in SHARED}
            if "canary" not in entry:
                assert by_file[entry["file"]]["strings"] == printed
                for text in printed.values():
                    assert owners.setdefault(text, name) == name


def test_copies_of_a_canary_are_held_out_together(written):
    out, _ = written
    source = open_source(str(out / "training.zip"))
    sides = split(source, 0.5, "person")
    images = [
        {part.image(index).tobytes() for index in range(len(part))}
        for part in (sides.training, sides.heldout)
    ]
    assert not images[0] & images[1]


def test_splits_are_equal_byte_for_byte_also_with_many_processes(written, tmp_path):
    out, _ = written
    deal = Deal(60, seed=3, image_size=(16, 28), holdout=0.2, canaries=2)
    write_split(tmp_path / "again", deal, processes=2)
    for path in out.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_interrupted_writing_leaves_nothing(tmp_path, monkeypatch):
    deal = Deal(20, seed=3, image_size=(16, 28), canaries=0)
    draw, drawn = Deal.card, []

    def fail(self, name, index):
        drawn.append(index)
        if len(drawn) == 10:
            raise KeyboardInterrupt
        return draw(self, name, index)

    monkeypatch.setattr(Deal, "card", fail)
    with pytest.raises(KeyboardInterrupt):
        write_split(tmp_path / "out", deal, processes=1)
    assert len(drawn) == 10
    assert not list(tmp_path.iterdir())


def test_empty_sets_have_no_zip(tmp_path):
    deal = Deal(5, 1, (16, 28), ("en",), holdout=0.2, reference=0, canaries=0)
    document = write_split(tmp_path / "out", deal, processes=1)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"training.zip", "holdout.zip", "split.json"}
    assert list(document["sets"]) == ["training", "holdout"]
    assert document["canaries"] == []


def test_command_writes_a_split(tmp_path, capsys):
    out = tmp_path / "out"
    main(["--split", f"--out={out}", "--count=10", "--size=16x28", "--canaries=0", "--seed=2"])
    assert capsys.readouterr().out.splitlines()[:2] == [
        "training: 8 images of 8 cards in training.zip",
        "holdout: 1 images of 1 cards in holdout.zip",
    ]
    with pytest.raises(InputError) as caught:
        main(["--split", f"--out={out}", "--count=10"])
    assert str(caught.value) == f"{out} exists already; remove it, or give another --out"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--canaries=2"], "--canaries is only for --split; add --split, or leave --canaries out"),
        (["--holdout=0"], "--holdout is only for --split; add --split, or leave --holdout out"),
        (["--split", "--holdout=0.5"], "--holdout is 0.5; give a share from 0 to 0.45"),
        (["--split", "--reference=-1"], "--reference is -1; give a share from 0 to 0.45"),
        (["--split", "--canaries=-1"], "--canaries is -1; give 0 or more"),
        (
            ["--split", "--count=3"],
            "--holdout=0.1 of 3 cards is none; give more cards or a larger share",
        ),
        (["--split", "--count=0"], "a set of 0 cards is empty; give a count of 1 or more"),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(tmp_path, arguments, sentence):
    with pytest.raises(InputError) as caught:
        main([f"--out={tmp_path / 'out'}", *arguments])
    assert str(caught.value) == sentence
    assert not list(tmp_path.iterdir())


def test_a_set_without_texts_is_named(monkeypatch):
    from tf_sg2.cards.split import texts as module

    monkeypatch.setattr(module, "_MOST_DRAWS", 1)
    deal = Deal(300, image_size=(16, 28))
    with pytest.raises(InputError) as caught:
        [deal.texts("reference", index) for index in range(20)]
    assert str(caught.value) == (
        "the set reference owns too few texts for its cards; give it a larger share"
    )

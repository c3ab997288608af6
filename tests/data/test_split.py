"""Held-out parts of data sets: who is held out, and that training never sees it."""

import hashlib
import zipfile

import numpy as np
import pytest
from PIL import Image

from tf_sg2 import InputError, config
from tf_sg2.cards import CardSource, card
from tf_sg2.config import DataConfig
from tf_sg2.data import open_source
from tf_sg2.data.pipeline import batches
from tf_sg2.data.source import ImageSource
from tf_sg2.data.split import Subset, open_split, split
from tf_sg2.data.split.shares import divide, parse_shares, position
from tf_sg2.data.tfrecord import write_records

COUNT = 40


def pixels(value: int) -> np.ndarray:
    return np.full((8, 12, 3), value, np.uint8)


def write_folder(path, count: int = COUNT, first: int = 0):
    path.mkdir(exist_ok=True)
    for index in range(first, first + count):
        Image.fromarray(pixels(index)).save(path / f"img{index:03}.png")
    return path


def write_groups(path, groups: list[str], column: str = "person") -> None:
    rows = [f"img{index:03}.png,x,{group}" for index, group in enumerate(groups)]
    (path / "groups.csv").write_text("\n".join([f"file,other,{column}", *rows]) + "\n")


def values(source: ImageSource) -> list[int]:
    """What is written into each image's first pixel."""
    return [int(source.image(index)[0, 0, 0]) for index in range(len(source))]


def test_position_is_the_sha256_of_the_key():
    for key in (b"a.png", b"", "名刺.png".encode()):
        digest = hashlib.sha256(b"tf_sg2 split " + key).hexdigest()
        assert position(key) == (int(digest[:16], 16) >> 11) / 2.0**53


def test_shares_are_uniform_and_lie_side_by_side():
    keys = [f"{index}.png".encode() for index in range(20_000)]
    found = divide(keys, {"holdout": 0.1, "reference": 0.25})
    assert sorted(np.concatenate(list(found.values())).tolist()) == list(range(20_000))
    # Five standard deviations of a binomial distribution.
    for name, share in (("holdout", 0.1), ("reference", 0.25), ("training", 0.65)):
        assert abs(len(found[name]) - 20_000 * share) < 5 * (20_000 * share * (1 - share)) ** 0.5
    alone = divide(keys, {"holdout": 0.1})
    np.testing.assert_array_equal(alone["holdout"], found["holdout"])
    larger = divide(keys, {"holdout": 0.2})
    assert set(alone["holdout"]) < set(larger["holdout"])


@pytest.mark.parametrize("kind", ["folder", "zip", "tfrecords"])
def test_both_parts_make_the_whole_and_adding_images_moves_none(tmp_path, kind):
    def source(count: int, first: int = 0) -> ImageSource:
        path = tmp_path / f"{first}-{count}"
        if kind == "tfrecords":
            write_records(f"{path}.tfrecords", map(pixels, range(first, first + count)))
            return open_source(f"{path}.tfrecords")
        write_folder(path, count, first)
        if kind == "folder":
            return open_source(str(path))
        with zipfile.ZipFile(f"{path}.zip", "w") as archive:
            for file in path.iterdir():
                archive.write(file, f"./{file.name}")
        return open_source(f"{path}.zip")

    found = split(source(COUNT, 10), 0.3)
    training, heldout = values(found.training), values(found.heldout)
    assert sorted(training + heldout) == list(range(10, 10 + COUNT))
    assert 0 < len(heldout) < len(training)
    # Ten more images before the first one, and fifty after the last one.
    more = split(source(COUNT + 60), 0.3)
    assert set(training) < set(values(more.training))
    assert set(heldout) < set(values(more.heldout))


def test_a_zip_is_divided_as_its_folder(tmp_path):
    folder = write_folder(tmp_path / "a")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    parts = [split(open_source(str(path)), 0.3) for path in (folder, tmp_path / "a.zip")]
    assert values(parts[0].heldout) == values(parts[1].heldout)


def test_equal_records_are_on_the_same_side(tmp_path):
    path = str(tmp_path / "a.tfrecords")
    write_records(path, [pixels(index % 20) for index in range(60)])
    found = split(open_source(path), 0.3)
    assert not set(values(found.training)) & set(values(found.heldout))
    assert len(values(found.heldout)) == 3 * len(set(values(found.heldout)))


def test_cards_are_held_out_by_index_whatever_their_count():
    small, large = (split(CardSource(count, 3, (16, 20)), 0.2) for count in (50, 200))
    np.testing.assert_array_equal(
        small.heldout.indices, [i for i in large.heldout.indices if i < 50]
    )
    other = split(CardSource(50, 4, (16, 20)), 0.2)
    assert other.heldout.indices.tolist() != small.heldout.indices.tolist()
    index = int(small.heldout.indices[0])
    np.testing.assert_array_equal(small.heldout.image(0), card.draw_card(3, index, (16, 20)).image)


def test_groups_are_never_divided(tmp_path):
    folder = write_folder(tmp_path / "a")
    write_groups(folder, [f"p{index % 13}" for index in range(COUNT)])
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.iterdir():
            file.write(path, path.name)
    for path in (folder, archive):
        found = open_split(DataConfig(str(path), holdout=0.4, group="person"))
        sides = [{value % 13 for value in values(part)} for part in (found.training, found.heldout)]
        assert not sides[0] & sides[1]
        assert len(sides[0] | sides[1]) == 13
    cards = CardSource(150, 1, (16, 20))
    found = split(cards, 0.3, "name")
    names = [
        {card.card_texts(1, int(index))["name"] for index in part.indices}
        for part in (found.training, found.heldout)
    ]
    assert not names[0] & names[1]


def test_labels_stay_with_their_images(tmp_path):
    folder = write_folder(tmp_path / "a")
    pairs = ", ".join(f'["img{index:03}.png", {index % 7}]' for index in range(COUNT))
    (folder / "dataset.json").write_text(f'{{"labels": [{pairs}]}}')
    found = split(open_source(str(folder)), 0.4)
    for part in (found.training, found.heldout):
        assert part.label_dim == 7
        labels = [int(part.label(index).argmax()) for index in range(len(part))]
        assert labels == [value % 7 for value in values(part)]


@pytest.mark.stack
def test_training_never_sees_a_held_out_image_over_an_epoch_of_two_workers(tmp_path):
    found = split(open_source(str(write_folder(tmp_path / "a", 60))), 0.25)
    training, heldout = values(found.training), set(values(found.heldout))
    assert heldout
    seen: list[int] = []
    for worker in range(2):
        stream = batches(found.training, 6, seed=5, mirror=True, shard_index=worker, shard_count=2)
        # One batch more than an epoch, so the end of the epoch is among them.
        for images, _ in stream.take(-(-len(training) // 6) + 1):
            seen += images.numpy()[:, 0, 0, 0].tolist()
    assert set(seen) == set(training)
    assert not set(seen) & heldout


def test_an_unreadable_image_is_not_replaced_by_a_held_out_one(tmp_path):
    folder = write_folder(tmp_path / "a", 60)
    found = split(open_source(str(folder)), 0.3)
    training, heldout = values(found.training), set(values(found.heldout))
    for value in training[1:]:
        (folder / f"img{value:03}.png").unlink()
    bad: list[int] = []
    stream = batches(found.training, 4, seed=0, on_bad_image=lambda index, _: bad.append(index))
    seen = {value for images, _ in stream.take(4) for value in images.numpy()[:, 0, 0, 0].tolist()}
    assert seen == {training[0]}
    assert heldout
    assert bad


def test_fingerprints_tell_parts_apart_and_follow_the_content(tmp_path):
    folder = write_folder(tmp_path / "a")
    write_groups(folder, [f"p{index % 13}" for index in range(COUNT)])
    parts = [split(open_source(str(folder)), *how) for how in ((0.3,), (0.4,), (0.3, "person"))]
    prints = [part.fingerprint() for both in parts for part in (both.training, both.heldout)]
    prints.append(open_source(str(folder)).fingerprint())
    assert len(set(prints)) == 7
    assert split(open_source(str(folder)), 0.3).heldout.fingerprint() == prints[1]
    Image.fromarray(pixels(200)).save(folder / "img000.png")
    assert split(open_source(str(folder)), 0.3).heldout.fingerprint() != prints[1]
    # The versions of what draws the cards stay readable.
    whole = CardSource(20, 1, (16, 20))
    part = split(whole, 0.3).training
    assert part.fingerprint().split(" ", 1)[1] == whole.fingerprint().split(" ", 1)[1]


def test_a_data_set_of_its_own_is_held_out(tmp_path):
    here, there = write_folder(tmp_path / "a", 5), write_folder(tmp_path / "b", 3, first=50)
    found = open_split(DataConfig(str(here), heldout=str(there)))
    assert (values(found.training), values(found.heldout)) == ([0, 1, 2, 3, 4], [50, 51, 52])
    assert open_split(DataConfig(str(here))).heldout is None


def test_parts_are_image_sources(tmp_path):
    found = split(open_source(str(write_folder(tmp_path / "a"))), 0.3)
    assert isinstance(found.training, ImageSource)
    assert isinstance(found.training, Subset)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        (
            {"holdout": 0.1, "heldout": "b"},
            "data.holdout is 0.1 and data.heldout is b; hold out a share, or give held-out images, "
            "not both",
        ),
        (
            {"group": "person"},
            "data.group is person but data.holdout is 0; set data.holdout, because a group only "
            "decides what is held out",
        ),
        ({"holdout": 1}, "holdout"),
    ],
)
def test_contradictory_fields_are_refused(fields, sentence):
    with pytest.raises(InputError) as caught:
        config.from_dict({"source": "a", **fields}, DataConfig)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "{} has no groups.csv at its top, so there is no group 'person'; add one with the "
         "columns file,person, or leave the group out"),
        ("file,company\n", "{}/groups.csv has no column person; the columns are company"),
        ("name,person\n", "{}/groups.csv has the columns name,person; the first must be file"),
        ("", "{}/groups.csv has the columns none; the first must be file"),
        ("file,person\nimg000.png\n", "{}/groups.csv: row 1 has 1 values for 2 columns; "
         "correct it"),
        ("file,person\nimg000.png,a\nimg000.png,b\n", "{}/groups.csv has two rows for "
         "img000.png that differ; keep one"),
        ("file,person\nimg000.png,a\n", "{}/groups.csv has no person for img001.png; add it"),
        ("file,person\nimg000.png,a\nimg001.png,\n", "{}/groups.csv has no person for img001.png; "
         "add it"),
    ],
)  # fmt: skip
def test_bad_groups_are_named(tmp_path, text, sentence):
    folder = write_folder(tmp_path / "a", 2)
    if text is not None:
        (folder / "groups.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        split(open_source(str(folder)), 0.5, "person")
    assert str(caught.value) == sentence.format(folder)


def test_groups_that_are_not_text_are_named(tmp_path):
    folder = write_folder(tmp_path / "a", 2)
    (folder / "groups.csv").write_bytes(b"file,person\n\xff\xfe,a\n")
    with pytest.raises(InputError, match=r"groups.csv is not CSV in UTF-8 \(.*\); correct it"):
        split(open_source(str(folder)), 0.5, "person")


def test_what_cannot_be_divided_is_refused(tmp_path):
    folder = write_folder(tmp_path / "a", 2)
    for share, verb in ((1e-6, "holds out none"), (0.999999, "leaves none")):
        with pytest.raises(InputError) as caught:
            split(open_source(str(folder)), share)
        assert str(caught.value) == (
            f"data.holdout={share:g} {verb} of the 2 images of {folder}; give another share or "
            "more images"
        )
    path = str(tmp_path / "a.tfrecords")
    write_records(path, [pixels(0)])
    with pytest.raises(InputError, match="is TFRecords, which have no groups; divide the images"):
        split(open_source(path), 0.5, "person")
    with pytest.raises(InputError, match="cards have no group 'title'; the groups are name and c"):
        split(CardSource(5), 0.5, "title")
    (folder / "dataset.json").write_text('{"labels": [["img000.png", 1], ["img001.png", 0]]}')
    plain = write_folder(tmp_path / "b", 2)
    with pytest.raises(
        InputError, match=r"b has labels of width 0, but .*a has labels of width 2;"
    ):
        open_split(DataConfig(str(folder), heldout=str(plain)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "--split has the part ''; give NAME:SHARE with a share between 0 and 1, such as "
         "holdout:0.1"),
        ("holdout", "--split has the part 'holdout'; give NAME:SHARE with a share between 0 and "
         "1, such as holdout:0.1"),
        ("holdout:nan", "--split has the part 'holdout:nan'; give NAME:SHARE with a share between "
         "0 and 1, such as holdout:0.1"),
        ("training:0.1", "--split names a set 'training'; a name has small letters, digits, - and "
         "_, and training is the name of the images that remain"),
        ("../x:0.1", "--split names a set '../x'; a name has small letters, digits, - and _, and "
         "training is the name of the images that remain"),
        ("a:0.1,a:0.2", "--split names the set a twice; keep one"),
        ("a:0.5,b:0.5", "--split=a:0.5,b:0.5 leaves no images for training; give shares with a "
         "sum below 1"),
    ],
)  # fmt: skip
def test_bad_shares_are_named(text, sentence):
    with pytest.raises(InputError) as caught:
        parse_shares(text)
    assert str(caught.value) == sentence
    assert parse_shares("holdout:0.1, reference:0.25") == {"holdout": 0.1, "reference": 0.25}

"""`tf-sg2 dataset --split`: sets that share no group, and groups that survive a conversion."""

import csv
import json
import zipfile

import numpy as np
import pytest
from PIL import Image

from tf_sg2.commands.dataset import main
from tf_sg2.data import open_source
from tf_sg2.data.split import split
from tf_sg2.errors import InputError

COUNT, GROUPS = 60, 17


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "photos"
    path.mkdir()
    rows = ["file,person"]
    for index in range(COUNT):
        Image.fromarray(np.full((8, 12, 3), index, np.uint8)).save(path / f"{index:02}.png")
        rows.append(f"{index:02}.png,person {index % GROUPS}")
    (path / "groups.csv").write_text("\n".join(rows) + "\n")
    labels = ", ".join(f'["{index:02}.png", {index % 5}]' for index in range(COUNT))
    (path / "dataset.json").write_text(f'{{"labels": [{labels}]}}')
    return path


def values(source) -> list[int]:
    return [int(source.image(index)[0, 0, 0]) for index in range(len(source))]


def test_images_of_a_group_are_in_one_set_with_labels_and_groups(folder, tmp_path, capsys):
    out = tmp_path / "sets"
    shares = "--split=holdout:0.3,reference:0.3"
    main([f"--source={folder}", f"--dest={out}", shares, "--group=person"])
    told = capsys.readouterr().out
    document = json.loads((out / "split.json").read_text())
    assert (document["group"], document["shares"]) == ("person", {"holdout": 0.3, "reference": 0.3})
    people, images = [], []
    for name, found in document["sets"].items():
        source = open_source(str(out / found["file"]))
        assert (len(source), source.fingerprint()) == (found["images"], found["fingerprint"])
        images += values(source)
        people += sorted({value % GROUPS for value in values(source)})
        with zipfile.ZipFile(out / found["file"]) as archive:
            rows = list(csv.DictReader(archive.read("groups.csv").decode().splitlines()))
        assert [row["person"] for row in rows] == [f"person {v % GROUPS}" for v in values(source)]
        for index, value in enumerate(values(source)):
            assert source.label(index).argmax() == value % 5
        assert f"{found['images']} of {found['images']} images written to {out}/{name}.zip" in told
        report = json.loads((out / f"{name}.report.json").read_text())
        assert report["dest"] == str(out / f"{name}.zip")
        assert report["origins"] == [f"{value:02}.png" for value in values(source)]
    assert sorted(images) == list(range(COUNT))
    assert sorted(people) == list(range(GROUPS))


@pytest.mark.parametrize("group", ["", "person"])
def test_sets_agree_with_a_hold_out_of_training(folder, tmp_path, group):
    out = tmp_path / "sets"
    main([f"--source={folder}", f"--dest={out}", "--split=holdout:0.4", f"--group={group}"])
    found = split(open_source(str(folder)), 0.4, group)
    assert values(open_source(str(out / "holdout.zip"))) == values(found.heldout)
    assert values(open_source(str(out / "training.zip"))) == values(found.training)


def test_groups_survive_a_conversion(folder, tmp_path):
    (folder / "60.png").write_bytes((folder / "07.png").read_bytes())  # It has no group.
    (folder / "dataset.json").unlink()
    (folder / "03.png").write_bytes(b"broken")
    dest = tmp_path / "a.zip"
    main([f"--source={folder}", f"--dest={dest}"])
    with zipfile.ZipFile(dest) as archive:
        rows = list(csv.DictReader(archive.read("groups.csv").decode().splitlines()))
    expected = [f"person {i % GROUPS}" for i in range(COUNT) if i != 3]
    assert [row["person"] for row in rows] == [*expected, ""]
    with pytest.raises(InputError, match=r"has no person for 00000/img00000059.png; add it"):
        split(open_source(str(dest)), 0.5, "person")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--group=person"], "--group is only for --split; add --split, or leave --group out"),
        (["--split=holdout:0.1"], "--split needs --dest, the folder of the sets"),
        (
            ["--split=holdout:0.1", "--dest={}/a", "--max_images=3"],
            "--max_images has no meaning with --split; leave one of them out",
        ),
        (
            ["--split=holdout:0.1", "--dest={}/a.zip"],
            "--split writes a folder of zips, but --dest is {}/a.zip; name a folder",
        ),
        (
            ["--split=holdout:0.000001", "--dest={}/a", "--group=person"],
            "--split leaves the set holdout without any of the 60 images of {}/photos; give other "
            "shares or more images or groups",
        ),
    ],
)
def test_bad_input_is_one_sentence_and_writes_nothing(folder, tmp_path, arguments, sentence):
    with pytest.raises(InputError) as caught:
        main([f"--source={folder}", *(argument.format(tmp_path) for argument in arguments)])
    assert str(caught.value) == sentence.format(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]

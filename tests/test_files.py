"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import errno
import os

import pytest

from tf_sg2.errors import InputError
from tf_sg2.files import move_new, new_file, new_folder


def write_and_fail(new, write):
    """Runs the block of `new_file` or `new_folder`, and ends it with an error."""
    with new as place:
        write(place)
        raise KeyError


def test_file_replaces_the_old_one_only_when_whole(tmp_path):
    path = tmp_path / "new" / "file"
    with new_file(path) as file:
        file.write(b"one")
        assert not path.exists()
    with pytest.raises(KeyError):
        write_and_fail(new_file(path), lambda file: file.write(b"two"))
    assert path.read_bytes() == b"one"
    assert os.listdir(path.parent) == ["file"]


def test_file_has_the_permissions_of_any_new_file(tmp_path):
    with new_file(tmp_path / "ours"):
        pass
    (tmp_path / "plain").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_file_is_on_disk_before_its_name_is(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(
        os, "fsync", lambda descriptor: done.append(os.readlink(f"/dev/fd/{descriptor}"))
    )
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *paths: (done.append("renamed"), replace(*paths)))
    with new_file(tmp_path / "file") as file:
        file.write(b"content")
    written, renamed, folder = done
    assert os.path.basename(written).startswith(".file.")
    assert (renamed, folder) == ("renamed", str(tmp_path))


@pytest.mark.parametrize("new", [new_file, new_folder])
def test_two_writers_with_one_process_number_do_not_meet(tmp_path, monkeypatch, new):
    """As in containers that share a disk."""
    monkeypatch.setattr(os, "getpid", lambda: 1)
    with new(tmp_path / "place") as one:
        with new(tmp_path / "place") as two:
            assert str(getattr(one, "name", one)) != str(getattr(two, "name", two))
            if new is new_folder:
                (one / "a").touch()
                assert not list(two.iterdir())
        if new is new_folder:
            (tmp_path / "place").rmdir()
    assert os.listdir(tmp_path) == ["place"]


def test_unwritable_places_are_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path, message in (("file/below", ""), ("folder", "Is a directory")):
        expected = pytest.raises(InputError, match=f"{path} cannot be written: {message}")
        with expected, new_file(tmp_path / path):
            pass
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_folder_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "folder"
    with pytest.raises(KeyError):
        write_and_fail(new_folder(path), lambda folder: (folder / "half").touch())
    assert os.listdir(path.parent) == []
    path.mkdir()
    with new_folder(path) as folder:
        (folder / "file").touch()
        assert os.listdir(path) == []
    assert os.listdir(path) == ["file"]
    assert os.listdir(path.parent) == ["folder"]


def test_folder_in_use_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for taken in (tmp_path, tmp_path / "file"):
        expected = pytest.raises(InputError, match="exists already; remove it, or name another")
        with expected, new_folder(taken):
            pass
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("links", [True, False])
def test_a_move_never_goes_over_what_is_there(tmp_path, monkeypatch, links):
    if not links:

        def refuse(*_):
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.write_text("ours")
    theirs.write_text("theirs")
    with pytest.raises(InputError, match="theirs exists already; remove it, or name another"):
        move_new(ours, theirs)
    assert (ours.read_text(), theirs.read_text()) == ("ours", "theirs")
    move_new(ours, tmp_path / "free")
    assert not ours.exists()
    assert (tmp_path / "free").read_text() == "ours"


def test_a_folder_moves_over_an_empty_folder_only(tmp_path):
    for name in ("ours", "empty", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    for name in ("full", "file"):
        with pytest.raises(InputError, match=f"{name} exists already"):
            move_new(tmp_path / "ours", tmp_path / name)
    move_new(tmp_path / "ours", tmp_path / "empty")
    assert not (tmp_path / "ours").exists()

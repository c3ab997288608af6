"""The table of models on its own: what is kept, replaced and tried again, with models that are made
up."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from local_server import wait_for
from tf_sg2.errors import InputError
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.models.config_watcher import ConfigWatcher
from tf_sg2.serving.server.models.manager import ModelManager
from tf_sg2.serving.server.wire.config_files import ModelConfig
from tf_sg2.serving.server.wire.errors import ServingError


class Made:
    """A model that knows where it comes from, and whether it was closed."""

    def __init__(self, path: Path):
        self.text = (path / "saved_model.pb").read_text()
        if self.text == "broken":
            raise InputError(f"{path} is broken")
        self.closed = False

    def close(self):
        self.closed = True


def write(folder: Path, text: str = "good") -> Path:
    folder.mkdir(parents=True)
    (folder / "saved_model.pb").write_text(text)
    return folder


@pytest.fixture
def tables():
    """Makes tables of models, and closes them."""
    made = []

    def make(load=lambda _, path: Made(path), **named):
        made.append(ModelManager(load, Metrics(), **{"poll_seconds": 0.02, **named}))
        return made[-1]

    yield make
    for models in made:
        models.close()


def model_of(models, number=None):
    lease = models.acquire("m", number)
    lease.release()
    return lease.model


class Listing:
    """Listings of a folder: counted, and refused on demand."""

    def __init__(self, monkeypatch, folder):
        self._scandir, self._folder = os.scandir, folder
        self.count, self.refused = 0, False
        monkeypatch.setattr(os, "scandir", self)

    def __call__(self, path):
        if Path(path) == self._folder:
            self.count += 1
            if self.refused:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return self._scandir(path)

    def wait(self):
        """Waits for a few more."""
        target = self.count + 5
        wait_for(lambda: self.count > target)


def test_a_folder_that_cannot_be_listed_keeps_its_models(tables, tmp_path, monkeypatch, caplog):
    write(tmp_path / "m" / "1")
    listing = Listing(monkeypatch, tmp_path / "m")
    models = tables()
    models.start([ModelConfig("m", tmp_path / "m")])
    first = model_of(models)
    listing.refused = True
    wait_for(lambda: "cannot be listed: Too many open files" in caplog.text)
    listing.wait()
    assert model_of(models) is first
    assert not first.closed
    assert caplog.text.count("cannot be listed") == 1
    listing.refused = False
    write(tmp_path / "m" / "2")
    wait_for(lambda: models.names() == {"m": [2]})


def test_a_folder_that_cannot_be_listed_at_the_start_is_said(tables, tmp_path, monkeypatch):
    write(tmp_path / "m" / "1")
    Listing(monkeypatch, tmp_path / "m").refused = True
    with pytest.raises(InputError, match=r"model m: .*cannot be listed: Too many open files"):
        tables().start([ModelConfig("m", tmp_path / "m")])


def test_a_folder_that_was_removed_has_no_versions(tables, tmp_path):
    write(tmp_path / "m" / "1")
    models = tables()
    models.start([ModelConfig("m", tmp_path / "m")])
    (tmp_path / "m").rename(tmp_path / "gone")
    wait_for(lambda: models.names() == {"m": []})


def test_another_base_path_with_the_same_number_is_loaded(tables, tmp_path):
    write(tmp_path / "a" / "1", "old")
    write(tmp_path / "b" / "1", "new")
    models = tables()
    models.start([ModelConfig("m", tmp_path / "a")])
    old = models.acquire("m")
    models.reload([ModelConfig("m", tmp_path / "b")])
    assert model_of(models).text == "new"
    assert not old.model.closed
    model = old.model
    old.release()
    wait_for(lambda: model.closed)
    assert models._metrics.loaded.value("m", "1") == 1
    assert [row[:2] for row in models.status("m")] == [(1, "AVAILABLE")]


def test_another_base_path_that_fails_leaves_the_old_version_until_it_is_mended(
    tables, tmp_path, caplog
):
    write(tmp_path / "a" / "1", "old")
    write(tmp_path / "b" / "1", "broken")
    models = tables()
    models.start([ModelConfig("m", tmp_path / "a")])
    models.reload([ModelConfig("m", tmp_path / "b")])
    assert model_of(models).text == "old"
    (tmp_path / "b" / "1" / "saved_model.pb").write_text("new")
    wait_for(lambda: model_of(models).text == "new")
    assert caplog.text.count("is broken") == 1


def test_a_failed_version_that_was_replaced_is_loaded(tables, tmp_path, monkeypatch):
    write(tmp_path / "m" / "1")
    listing = Listing(monkeypatch, tmp_path / "m")
    attempts = []

    def load(_, path):
        attempts.append(path)
        return Made(path)

    models = tables(load, most_retries=2, retry_seconds=0.01)
    models.start([ModelConfig("m", tmp_path / "m")])
    write(tmp_path / "m" / "2", "broken")
    wait_for(lambda: len(attempts) == 4)  # Version 1, and 2 with its two retries.
    listing.wait()
    assert len(attempts) == 4
    assert models.names() == {"m": [1]}
    (tmp_path / "m" / "2").rename(tmp_path / "failed")
    write(tmp_path / "m" / "2")
    wait_for(lambda: models.names() == {"m": [2]})


def test_a_configuration_that_changed_during_the_start_is_taken_up(tmp_path):
    path = tmp_path / "models.config"
    path.write_text('model_config_list { config { name: "b" base_path: "/b" } }')
    taken = []
    watcher = ConfigWatcher(path, 0.02, taken.append)
    watcher.start([ModelConfig("a", Path("/a"))])  # As the file said before the models loaded.
    try:
        wait_for(lambda: taken)
        assert [config.name for config in taken[0]] == ["b"]
    finally:
        watcher.close()


def test_close_waits_for_a_reload_and_refuses_the_next(tables, tmp_path):
    write(tmp_path / "m" / "1")
    write(tmp_path / "n" / "1")
    loading, go_on, made = threading.Event(), threading.Event(), []

    def load(name, path):
        if name == "n":
            loading.set()
            assert go_on.wait(20)
        made.append(Made(path))
        return made[-1]

    models = tables(load, poll_seconds=0.0)
    configs = [ModelConfig("m", tmp_path / "m"), ModelConfig("n", tmp_path / "n")]
    models.start(configs[:1])
    reload = threading.Thread(target=models.reload, args=[configs])
    reload.start()
    assert loading.wait(20)
    close = threading.Thread(target=models.close)
    close.start()
    close.join(0.1)
    go_on.set()
    reload.join(20)
    close.join(20)
    assert [model.closed for model in made] == [True, True]
    with pytest.raises(ServingError, match="shutting down"):
        models.reload(configs)

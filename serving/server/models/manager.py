"""Models and their versions: which are on disk, which are served, and when one may go.

One thread looks at the disk, loads and unloads. Requests take leases; a version that is to go gets
no new ones, and is closed when the last has been given back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from tf_sg2.errors import InputError
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.models.version_folders import stamp, versions_on_disk
from tf_sg2.serving.server.wire.config_files import ModelConfig
from tf_sg2.serving.server.wire.errors import ServingError, from_exception, invalid_argument

log = logging.getLogger(__name__)

REMEMBERED = 100  # Versions that have ended, per model: their status can still be asked for.


class Model(Protocol):
    """What a version is once it is loaded."""

    def close(self) -> None: ...


@dataclass
class Version:
    """One version of a model. `state` is a name of ModelVersionStatus.State.

    `successor` has the same number and another folder. It takes over when it is loaded.
    """

    model_name: str
    number: int
    path: Path
    state: str = "START"
    error: ServingError | None = None
    model: Model | None = None
    users: int = 0
    attempts: int = 0
    tried: float = 0.0  # On the monotonic clock.
    stamp: Hashable = None  # What the folder held at the last attempt.
    successor: Version | None = None

    def serves(self, path: Path) -> bool:
        """Whether it answers from this folder."""
        return self.state == "AVAILABLE" and self.path == path

    def is_unchanged(self, path: Path) -> bool:
        """Whether the folder is the one of the last attempt, and holds what it held then."""
        return self.path == path and self.stamp == stamp(path)


@dataclass
class _Entry:
    config: ModelConfig
    versions: dict[int, Version] = field(default_factory=dict)
    unreadable: str = ""  # Why the folder could not be listed at the last look.

    def available(self) -> list[int]:
        return sorted(n for n, version in self.versions.items() if version.state == "AVAILABLE")


class Lease:
    """The right to use a version; it stays loaded until `release`, which may be called twice."""

    def __init__(self, version: Version, released: Callable[[Version], None]):
        self.name, self.number, self.model = version.model_name, version.number, version.model
        self._version, self._released = version, released
        self._open = True
        self._lock = threading.Lock()

    def release(self) -> None:
        """Gives the version back."""
        with self._lock:
            was_open, self._open = self._open, False
        if was_open:
            self._released(self._version)


class Models:
    """The models of a server.

    Args:
        load: makes a model of a name and a version's directory; may raise anything.
        metrics: told of loads and unloads.
        poll_seconds: how often the disk is looked at; 0 looks once.
        labels_need_no_version: lets labels name versions that are not there.
        most_retries: how often a version that failed to load is tried again.
        retry_seconds: how long it is left alone before.
    """

    def __init__(
        self,
        load: Callable[[str, Path], Model],
        metrics: Metrics,
        poll_seconds: float = 1.0,
        labels_need_no_version: bool = False,
        most_retries: int = 5,
        retry_seconds: float = 60.0,
    ):
        self._load, self._metrics = load, metrics
        self._poll_seconds = poll_seconds
        self._labels_need_no_version = labels_need_no_version
        self._most_retries, self._retry_seconds = most_retries, retry_seconds
        self._entries: dict[str, _Entry] = {}
        self._leaving: list[Version] = []
        self._lock = threading.Lock()  # Of the tables; never held while a model loads.
        self._management = threading.Lock()  # Of loading and unloading: one at a time.
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._keep_up, name="models", daemon=True)

    def start(self, configs: Iterable[ModelConfig]) -> None:
        """Loads the models and begins to follow the disk.

        Raises:
            InputError: if a model has no version that can be served.
        """
        configs = list(configs)
        for config in configs:
            if config.labels and not self._labels_need_no_version:
                raise InputError(
                    f"model {config.name} has version labels, but no version is loaded yet; start "
                    "with --allow_version_labels_for_unavailable_models, or set labels later"
                )
        self.reload(configs)
        for config in configs:
            if not self._entries[config.name].available():
                raise InputError(self._why_nothing(config))
        self._thread.start()

    def _why_nothing(self, config: ModelConfig) -> str:
        entry = self._entries[config.name]
        if entry.unreadable:
            return f"model {config.name}: {entry.unreadable}"
        for version in entry.versions.values():
            if version.error is not None:
                return f"model {config.name} cannot be loaded: {version.error.message}"
        return (
            f"{config.base_path} holds no version to serve as model {config.name}; a version is a "
            "directory with a number for its name and a saved_model.pb in it"
        )

    def reload(self, configs: Iterable[ModelConfig]) -> None:
        """Replaces the models that are served; returns when the new ones are loaded.

        Raises:
            ServingError: FAILED_PRECONDITION, if a label names a version that is not available. The
                models are then the new ones, the labels the old. UNAVAILABLE after `close`.
        """
        configs = list(configs)
        with self._management:
            if self._closed:
                raise ServingError("UNAVAILABLE", "The server is shutting down")
            with self._lock:
                old = {name: entry.config for name, entry in self._entries.items()}
                for config in configs:
                    labels = old[config.name].labels if config.name in old else {}
                    kept = ModelConfig(config.name, config.base_path, config.policy, labels)
                    self._entries.setdefault(config.name, _Entry(kept)).config = kept
                gone = self._entries.keys() - {config.name for config in configs}
            self._update(gone)
            with self._lock:
                for name in gone:
                    del self._entries[name]
                for config in configs:
                    self._check_labels(config, old.get(config.name))
                for config in configs:
                    self._entries[config.name].config = config

    def _check_labels(self, config: ModelConfig, old: ModelConfig | None) -> None:
        available = self._entries[config.name].available()
        for label, number in config.labels.items():
            moved = old is not None and old.labels.get(label, number) != number
            if number not in available and (moved or not self._labels_need_no_version):
                raise ServingError(
                    "FAILED_PRECONDITION",
                    f"Request to assign label to version {number} of model {config.name}, which is "
                    "not currently available for inference",
                )

    def acquire(self, name: str, number: int | None = None, label: str | None = None) -> Lease:
        """A lease on a version: by number, by label, or the latest.

        Raises:
            ServingError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label.
        """
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        with self._lock:
            entry = self._entries.get(name)
            if label is not None:
                if entry is None or label not in entry.config.labels:
                    raise invalid_argument(f"Unrecognized servable version label: {label}")
                number = entry.config.labels[label]
            available = entry.available() if entry is not None else []
            wanted = available[-1:] if number is None else [number]
            if not wanted or wanted[0] not in available:
                what = f"Latest({name})" if number is None else f"Specific({name}, {number})"
                raise ServingError("NOT_FOUND", f"Servable not found for request: {what}")
            version = entry.versions[wanted[0]]
            version.users += 1
            return Lease(version, self._release)

    def _release(self, version: Version) -> None:
        with self._lock:
            version.users -= 1
            leaving = version.state == "UNLOADING" and not version.users
        if leaving:
            self._wake.set()

    def status(self, name: str, number: int | None = None) -> list[tuple[int, str, ServingError]]:
        """Number, state and health (code "OK" or an error) of versions, the newest first.

        Raises:
            ServingError: NOT_FOUND.
        """
        with self._lock:
            versions = self._entries[name].versions if name in self._entries else {}
            leaving = {v.number: v for v in self._leaving if v.model_name == name}
            versions = {**leaving, **versions}
            if number is not None:
                versions = {n: version for n, version in versions.items() if n == number}
            found = [(n, version.state, version.error) for n, version in versions.items()]
        if not found and number is not None:
            raise ServingError("NOT_FOUND", f"Could not find version {number} of model {name}")
        if not found:
            raise ServingError("NOT_FOUND", f"Could not find any versions of model {name}")
        return sorted(found, key=lambda row: row[0], reverse=True)

    def names(self) -> Mapping[str, list[int]]:
        """The models, and the versions of each that answer."""
        with self._lock:
            return {name: entry.available() for name, entry in self._entries.items()}

    def close(self) -> None:
        """Stops following the disk and closes every model. No lease may be open."""
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._management:  # A reload under way may still be loading.
            with self._lock:
                versions = [v for entry in self._entries.values() for v in entry.versions.values()]
                versions += self._leaving
            for version in versions:
                if version.model is not None:
                    self._end(version)

    def _keep_up(self) -> None:
        """The thread: looks at the disk, and closes versions when their last lease is back."""
        next_look = time.monotonic() + self._poll_seconds
        while not self._closed:
            pause = next_look - time.monotonic() if self._poll_seconds else None
            self._wake.wait(None if pause is None else max(0.0, pause))
            self._wake.clear()
            with self._management:
                if self._poll_seconds and time.monotonic() >= next_look and not self._closed:
                    try:
                        self._update(set())
                    except Exception:  # The next look may go better; the server must not stop.
                        log.exception("cannot follow the models' folders")
                    next_look = time.monotonic() + self._poll_seconds
                self._close_unused()

    def _update(self, gone: set[str]) -> None:
        """Brings what is loaded in line with the disk. Old versions go when new ones answer.

        A folder that cannot be listed changes nothing: only one that is not there has no versions.
        """
        for name, entry in list(self._entries.items()):
            try:
                on_disk = {} if name in gone else versions_on_disk(entry.config.base_path)
                said = ""
            except OSError as error:
                said = f"{entry.config.base_path} cannot be listed: {error.strerror or error}"
            if said and said != entry.unreadable:
                log.error("%s; %s stays as it is", said, name)
            entry.unreadable = said
            if not said:
                self._follow(name, entry, on_disk)
        self._close_unused()

    def _follow(self, name: str, entry: _Entry, on_disk: Mapping[int, Path]) -> None:
        aspired = entry.config.policy.choose(on_disk)
        for number in sorted(aspired, reverse=True):
            if not self._closed:
                self._bring(name, entry, number, on_disk[number])
        with self._lock:
            if aspired and not aspired & set(entry.available()):
                return  # Better an old version than none.
            for number, version in list(entry.versions.items()):
                if number not in aspired and version.state == "AVAILABLE":
                    self._retire(version)
            ended = [n for n in sorted(entry.versions) if entry.versions[n].state == "END"]
            for number in ended[:-REMEMBERED]:
                del entry.versions[number]

    def _bring(self, name: str, entry: _Entry, number: int, path: Path) -> None:
        """Loads a version that is wanted, unless it is loaded, or has failed and is unchanged."""
        known = entry.versions.get(number)
        if known is not None and (known.state == "UNLOADING" or known.serves(path)):
            return
        answers = known is not None and known.state == "AVAILABLE"  # From another folder.
        last = known.successor if known is not None and answers else known
        version = Version(name, number, path)
        if last is not None and last.error is not None and last.is_unchanged(path):
            waited = time.monotonic() - last.tried >= self._retry_seconds
            if last.attempts > self._most_retries or not waited:
                return
            version.attempts = last.attempts
        if known is not None and answers:
            known.successor = version
        else:
            with self._lock:
                entry.versions[number] = version
        self._try_load(version)
        if known is not None and answers and version.state == "AVAILABLE":
            with self._lock:
                entry.versions[number] = version
                self._retire(known)

    def _retire(self, version: Version) -> None:
        log.info("unloading %s version %d", version.model_name, version.number)
        version.state, version.successor = "UNLOADING", None
        self._leaving.append(version)

    def _try_load(self, version: Version) -> None:
        version.state = "LOADING"
        version.attempts += 1
        started = version.tried = time.monotonic()
        version.stamp = stamp(version.path)
        try:
            model = self._load(version.model_name, version.path)
        except Exception as error:
            version.error = (
                ServingError("INVALID_ARGUMENT", str(error))
                if isinstance(error, InputError)
                else from_exception(error)
            )
            version.state = "END"
            self._metrics.load_attempts.add(str(version.path), "fail")
            log.error("%s version %d: %s", version.model_name, version.number, error)
            return
        self._metrics.load_attempts.add(str(version.path), "success")
        self._metrics.load_latency.add(str(version.path), amount=1e6 * (time.monotonic() - started))
        self._metrics.loaded.set(version.model_name, str(version.number), value=1)
        with self._lock:
            version.model, version.state = model, "AVAILABLE"
        log.info("serving %s version %d", version.model_name, version.number)

    def _close_unused(self) -> None:
        with self._lock:
            unused = [version for version in self._leaving if not version.users]
            self._leaving = [version for version in self._leaving if version.users]
        for version in unused:
            self._end(version)

    def _end(self, version: Version) -> None:
        model, version.model = version.model, None
        if model is not None:
            model.close()
        version.state = "END"
        if version.number not in self.names().get(version.model_name, []):
            self._metrics.loaded.remove(version.model_name, str(version.number))

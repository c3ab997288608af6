"""The model manager: which versions are loaded, and when one may be unloaded.

One thread polls the disk, loads and unloads. Requests hold leases. A version that is being
unloaded gives no new leases, and is closed after the last one has been released.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic

from tf_sg2.errors import InputError
from tf_sg2.serving.server.metrics import Metrics
from tf_sg2.serving.server.models.version import Lease, Loaded, ModelVersion
from tf_sg2.serving.server.models.version_folders import stamp, versions_on_disk
from tf_sg2.serving.server.wire.config_files import ModelConfig
from tf_sg2.serving.server.wire.errors import ServingError, from_exception, invalid_argument

log = logging.getLogger(__name__)

ENDED_KEPT = 100  # Ended versions per model whose status can still be requested.


@dataclass
class _ServedModel(Generic[Loaded]):
    """One model: its configuration and its versions.

    Attributes:
        config: as the configuration file or a reload request gives it.
        versions: by version number.
        unreadable: why the last poll could not list the folder; empty if it could.
        duplicates: the last warning about folders that name the same version.
    """

    config: ModelConfig
    versions: dict[int, ModelVersion[Loaded]] = field(default_factory=dict)
    unreadable: str = ""
    duplicates: str = ""

    def available(self) -> list[int]:
        return sorted(n for n, version in self.versions.items() if version.state == "AVAILABLE")


VersionStatus = tuple[int, str, ServingError | None]  # Number, state, error.


class ModelManager(Generic[Loaded]):
    """The models of a server.

    Args:
        load: loads a version, given the model's name and the version's folder. It may raise any
            exception.
        metrics: counts loads and unloads.
        poll_seconds: time between two polls of the disk; 0 reads it only at the start.
        labels_need_no_version: allows labels for versions that are not loaded.
        most_retries: retries, at most, after a version failed to load.
        retry_seconds: time before a retry.
    """

    def __init__(
        self,
        load: Callable[[str, Path], Loaded],
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
        self._models: dict[str, _ServedModel[Loaded]] = {}
        self._unloading: list[ModelVersion[Loaded]] = []
        self._lock = threading.Lock()  # Guards the tables; never held while a model loads.
        self._management = threading.Lock()  # Serialises loading and unloading.
        self._wake = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._poll, name="models", daemon=True)

    def start(self, configs: Iterable[ModelConfig]) -> None:
        """Loads the models and starts to poll the disk.

        Raises:
            InputError: if a model has no version that can be served.
        """
        configs = list(configs)
        for config in configs:
            if config.labels and not self._labels_need_no_version:
                raise InputError(
                    f"model {config.name} has version labels, but no version is loaded yet; start "
                    "with --allow_version_labels_for_unavailable_models, or set the labels later"
                )
        self.reload(configs)
        for config in configs:
            if not self._models[config.name].available():
                raise InputError(self._why_unavailable(config))
        self._thread.start()

    def _why_unavailable(self, config: ModelConfig) -> str:
        model = self._models[config.name]
        if model.unreadable:
            return f"model {config.name}: {model.unreadable}"
        for version in model.versions.values():
            if version.error is not None:
                return f"model {config.name} cannot be loaded: {version.error.message}"
        return (
            f"{config.base_path} holds no version of model {config.name} to serve; a version is a "
            "directory whose name is a number and which holds a saved_model.pb"
        )

    def reload(self, configs: Iterable[ModelConfig]) -> None:
        """Replaces the served models; returns when the new ones are loaded.

        Raises:
            ServingError: FAILED_PRECONDITION, if a label names a version that is not available.
                Then the models are replaced, but not the labels. UNAVAILABLE after `close`.
        """
        configs = list(configs)
        with self._management:
            if self._closed:
                raise ServingError("UNAVAILABLE", "The server is shutting down")
            with self._lock:
                old = {name: model.config for name, model in self._models.items()}
                for config in configs:
                    labels = old[config.name].labels if config.name in old else {}
                    kept = ModelConfig(config.name, config.base_path, config.policy, labels)
                    self._models.setdefault(config.name, _ServedModel(kept)).config = kept
                gone = self._models.keys() - {config.name for config in configs}
            self._update(gone)
            with self._lock:
                for name in gone:
                    del self._models[name]
                for config in configs:
                    self._check_labels(config, old.get(config.name))
                for config in configs:
                    self._models[config.name].config = config

    def _check_labels(self, config: ModelConfig, old: ModelConfig | None) -> None:
        available = self._models[config.name].available()
        for label, number in config.labels.items():
            moved = old is not None and old.labels.get(label, number) != number
            if number not in available and (moved or not self._labels_need_no_version):
                raise ServingError(
                    "FAILED_PRECONDITION",
                    f"Request to assign label to version {number} of model {config.name}, which is "
                    "not currently available for inference",
                )

    def acquire(
        self, name: str, number: int | None = None, label: str | None = None
    ) -> Lease[Loaded]:
        """Returns a lease on a version: by number, by label, or the latest.

        Raises:
            ServingError: NOT_FOUND, or INVALID_ARGUMENT for an unknown label.
        """
        if not name:
            raise invalid_argument("ModelSpec has no name specified.")
        with self._lock:
            model = self._models.get(name)
            if label is not None:
                if model is None or label not in model.config.labels:
                    raise invalid_argument(f"Unrecognized servable version label: {label}")
                number = model.config.labels[label]
            available = model.available() if model is not None else []
            wanted = available[-1:] if number is None else [number]
            if model is None or not wanted or wanted[0] not in available:
                what = f"Latest({name})" if number is None else f"Specific({name}, {number})"
                raise ServingError("NOT_FOUND", f"Servable not found for request: {what}")
            version = model.versions[wanted[0]]
            assert version.model is not None  # It is available.
            version.users += 1
            return Lease(version, version.model, self._release)

    def _release(self, version: ModelVersion[Loaded]) -> None:
        with self._lock:
            version.users -= 1
            unused = version.state == "UNLOADING" and not version.users
        if unused:
            self._wake.set()

    def status(self, name: str, number: int | None = None) -> list[VersionStatus]:
        """Returns number, state and error of versions, the newest first.

        Raises:
            ServingError: NOT_FOUND.
        """
        with self._lock:
            versions = self._models[name].versions if name in self._models else {}
            unloading = {v.number: v for v in self._unloading if v.model_name == name}
            versions = {**unloading, **versions}
            if number is not None:
                versions = {n: version for n, version in versions.items() if n == number}
            found = [(n, version.state, version.error) for n, version in versions.items()]
        if not found and number is not None:
            raise ServingError("NOT_FOUND", f"Could not find version {number} of model {name}")
        if not found:
            raise ServingError("NOT_FOUND", f"Could not find any versions of model {name}")
        return sorted(found, key=lambda row: row[0], reverse=True)

    def names(self) -> Mapping[str, list[int]]:
        """Returns the available versions of each model."""
        with self._lock:
            return {name: model.available() for name, model in self._models.items()}

    def close(self) -> None:
        """Stops polling the disk and closes every model. No lease may be open."""
        self._closed = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        with self._management:  # A reload under way may still be loading.
            with self._lock:
                versions = [v for model in self._models.values() for v in model.versions.values()]
                versions += self._unloading
            for version in versions:
                if version.model is not None:
                    self._end(version)

    def _poll(self) -> None:
        """The thread: polls the disk, and closes versions after their last lease."""
        next_poll = time.monotonic() + self._poll_seconds
        while not self._closed:
            pause = next_poll - time.monotonic() if self._poll_seconds else None
            self._wake.wait(None if pause is None else max(0.0, pause))
            self._wake.clear()
            with self._management:
                if self._poll_seconds and time.monotonic() >= next_poll and not self._closed:
                    try:
                        self._update(set())
                    except Exception:  # The server goes on; the next poll may succeed.
                        log.exception("cannot poll the models' folders")
                    next_poll = time.monotonic() + self._poll_seconds
                self._close_unused()

    def _update(self, gone: set[str]) -> None:
        """Loads and unloads versions to match the disk. New versions load before old ones go.

        A folder that cannot be listed changes nothing. A folder that does not exist has no
        versions.
        """
        for name, model in list(self._models.items()):
            try:
                on_disk = {} if name in gone else versions_on_disk(model.config.base_path)
                unreadable = ""
            except OSError as error:
                unreadable = f"{model.config.base_path} cannot be listed: {error.strerror or error}"
            if unreadable and unreadable != model.unreadable:
                log.error("%s; the versions of %s stay as they are", unreadable, name)
            model.unreadable = unreadable
            if not unreadable:
                self._warn_of_duplicates(name, model, on_disk)
                self._apply_policy(name, model, on_disk)
        self._close_unused()

    def _warn_of_duplicates(
        self, name: str, model: _ServedModel[Loaded], on_disk: Mapping[int, list[Path]]
    ) -> None:
        duplicates = "; ".join(
            f"{', '.join(map(str, paths))} are all version {number}, and {paths[0]} is served"
            for number, paths in sorted(on_disk.items())
            if len(paths) > 1
        )
        if duplicates and duplicates != model.duplicates:
            log.warning("model %s: %s; remove the other folders", name, duplicates)
        model.duplicates = duplicates

    def _apply_policy(
        self, name: str, model: _ServedModel[Loaded], on_disk: Mapping[int, list[Path]]
    ) -> None:
        chosen = model.config.policy.choose(on_disk)
        for number in sorted(chosen, reverse=True):
            if not self._closed:
                self._load_if_needed(name, model, number, on_disk[number][0])
        with self._lock:
            if chosen and not chosen & set(model.available()):
                return  # An old version is better than none.
            for number, version in list(model.versions.items()):
                if number not in chosen and version.state == "AVAILABLE":
                    self._retire(version)
            ended = [n for n in sorted(model.versions) if model.versions[n].state == "END"]
            for number in ended[:-ENDED_KEPT]:
                del model.versions[number]

    def _load_if_needed(
        self, name: str, model: _ServedModel[Loaded], number: int, path: Path
    ) -> None:
        """Loads a version, unless it is loaded, or has failed to load and has not changed since."""
        known = model.versions.get(number)
        if known is not None and (known.state == "UNLOADING" or known.serves(path)):
            return
        # The same number from another folder answers until the new one is loaded.
        replaced = known if known is not None and known.state == "AVAILABLE" else None
        last = replaced.successor if replaced is not None else known
        version: ModelVersion[Loaded] = ModelVersion(name, number, path)
        if last is not None and last.error is not None and last.is_unchanged(path):
            waited = time.monotonic() - last.tried >= self._retry_seconds
            if last.attempts > self._most_retries or not waited:
                return
            version.attempts = last.attempts
        if replaced is not None:
            replaced.successor = version
        else:
            with self._lock:
                model.versions[number] = version
        self._try_load(version)
        if replaced is not None and version.state == "AVAILABLE":
            with self._lock:
                model.versions[number] = version
                self._retire(replaced)

    def _retire(self, version: ModelVersion[Loaded]) -> None:
        log.info("unloading %s version %d", version.model_name, version.number)
        version.state, version.successor = "UNLOADING", None
        self._unloading.append(version)

    def _try_load(self, version: ModelVersion[Loaded]) -> None:
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
            unused = [version for version in self._unloading if not version.users]
            self._unloading = [version for version in self._unloading if version.users]
        for version in unused:
            self._end(version)

    def _end(self, version: ModelVersion[Loaded]) -> None:
        model, version.model = version.model, None
        if model is not None:
            model.close()
        version.state = "END"
        if version.number not in self.names().get(version.model_name, []):
            self._metrics.loaded.remove(version.model_name, str(version.number))

"""One version of a model, and the lease that keeps it loaded while a request uses it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from tf_sg2.serving.server.models.version_folders import stamp
from tf_sg2.serving.server.wire.errors import ServingError


class LoadedModel(Protocol):
    """A version in memory, for example a `SavedModel`."""

    def close(self) -> None:
        """Frees the memory."""


Loaded = TypeVar("Loaded", bound=LoadedModel)


@dataclass
class ModelVersion(Generic[Loaded]):
    """One version of a model.

    Attributes:
        model_name: name of the model.
        number: version number.
        path: folder of the version.
        state: a name of TensorFlow Serving's ModelVersionStatus.State.
        error: why the last attempt to load failed.
        model: the loaded model; None before and after.
        users: number of open leases.
        attempts: number of attempts to load.
        tried: time of the last attempt, on the monotonic clock.
        stamp: content of the folder at the last attempt.
        successor: the same number from another folder. It takes over when it is loaded.
    """

    model_name: str
    number: int
    path: Path
    state: str = "START"
    error: ServingError | None = None
    model: Loaded | None = None
    users: int = 0
    attempts: int = 0
    tried: float = 0.0
    stamp: Hashable = None
    successor: ModelVersion[Loaded] | None = None

    def serves(self, path: Path) -> bool:
        """Returns whether the version answers requests from this folder."""
        return self.state == "AVAILABLE" and self.path == path

    def is_unchanged(self, path: Path) -> bool:
        """Returns whether the folder and its content are those of the last attempt to load."""
        return self.path == path and self.stamp == stamp(path)


class Lease(Generic[Loaded]):
    """The right to use a version, which stays loaded until `release`.

    Attributes:
        name: name of the model.
        number: version number.
        model: the loaded model.
    """

    def __init__(
        self,
        version: ModelVersion[Loaded],
        model: Loaded,
        released: Callable[[ModelVersion[Loaded]], None],
    ):
        self.name, self.number, self.model = version.model_name, version.number, model
        self._version, self._released = version, released
        self._open = True
        self._lock = threading.Lock()

    def release(self) -> None:
        """Gives the version back; a second call does nothing."""
        with self._lock:
            was_open, self._open = self._open, False
        if was_open:
            self._released(self._version)

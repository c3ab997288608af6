"""Watches the configuration file that lists the served models."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from tf_sg2.errors import InputError
from tf_sg2.serving.server.wire.config_files import ModelConfig, read_models
from tf_sg2.serving.server.wire.errors import ServingError

log = logging.getLogger(__name__)


class ConfigWatcher:
    """Polls a `ModelServerConfig` file, and reloads the models when it has changed.

    A file that cannot be used changes nothing, and is reported once in the log. A label whose
    version is not loaded yet is tried again at each poll.

    Args:
        path: the file; None watches nothing.
        seconds: time between two polls; 0 watches nothing.
        reload: replaces the models, for example `ModelManager.reload`.
    """

    def __init__(
        self, path: Path | None, seconds: float, reload: Callable[[list[ModelConfig]], None]
    ):
        self._path, self._seconds, self._reload = path, seconds, reload
        self._closing = threading.Event()
        self._known: list[ModelConfig] | None = None
        self._said = ""
        self._thread = threading.Thread(target=self._poll, name="config", daemon=True)

    def start(self, known: list[ModelConfig]) -> None:
        """Starts the thread; `known` is the content of the file when the models were started."""
        if self._path is None or self._seconds <= 0:
            return
        self._known = known
        self._thread.start()

    def close(self) -> None:
        """Ends the thread, after a running reload."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _poll(self) -> None:
        assert self._path is not None  # `start` has checked it.
        while not self._closing.wait(self._seconds):
            try:
                configs = read_models(self._path)
                if configs != self._known:
                    self._reload(configs)
                    self._known = configs
                    log.info("models reloaded from %s", self._path)
                said = ""
            except InputError as error:
                said = str(error)
            except ServingError as error:
                said = f"{self._path}: {error.message}"
            except Exception as error:  # The server goes on.
                said = f"models could not be reloaded from {self._path}: {error!r}"
            if said and said != self._said:
                log.error("%s", said)
            self._said = said

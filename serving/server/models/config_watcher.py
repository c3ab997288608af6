"""Follows the file that says which models are served, while the server runs."""

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
    """Reads a `ModelServerConfig` file again and again, and hands on what has changed.

    What cannot be used is said in the log, once, and the models stay as they are. A label whose
    version is not there yet is tried again each time.

    Args:
        path: the file; None follows nothing.
        seconds: between two looks; 0 follows nothing.
        reload: takes the models, as `ModelManager.reload` does.
    """

    def __init__(
        self, path: Path | None, seconds: float, reload: Callable[[list[ModelConfig]], None]
    ):
        self._path, self._seconds, self._reload = path, seconds, reload
        self._closing = threading.Event()
        self._known: list[ModelConfig] | None = None
        self._said = ""
        self._thread = threading.Thread(target=self._follow, name="config", daemon=True)

    def start(self, known: list[ModelConfig]) -> None:
        """Begins; `known` is what the file said when the models were started."""
        if self._path is None or self._seconds <= 0:
            return
        self._known = known
        self._thread.start()

    def close(self) -> None:
        """Ends; waits for a reload under way."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _follow(self) -> None:
        while not self._closing.wait(self._seconds):
            try:
                configs = read_models(self._path)
                if configs != self._known:
                    self._reload(configs)
                    self._known = configs
                    log.info("models as %s says now", self._path)
                said = ""
            except InputError as error:
                said = str(error)
            except ServingError as error:
                said = f"{self._path}: {error.message}"
            except Exception as error:  # The server must not stop for it.
                said = f"{self._path} could not be followed: {error!r}"
            if said and said != self._said:
                log.error("%s", said)
            self._said = said

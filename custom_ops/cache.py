"""The user's cache folder: builds of the native ops and hashes of data sets are kept in it."""

from __future__ import annotations

import os
from pathlib import Path


def user_cache() -> Path | None:
    """Returns $TF_SG2_CACHE, else `tf_sg2` in the user's cache folder.

    It is None where the environment names neither a cache folder nor a home folder. The folder
    need not exist.
    """
    given = os.environ.get("TF_SG2_CACHE")
    if given:
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tf_sg2"
    except RuntimeError:  # There is no home folder.
        return None

"""The bearer token of the local server: one file, read by server and client."""

from __future__ import annotations

import hmac
from pathlib import Path

from tf_sg2.errors import InputError


def read_token(path: str | None) -> str | None:
    """Returns the token in the file of `--token_file`; None without a path.

    Raises:
        InputError: if the file cannot be read or is empty.
    """
    if not path:
        return None
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--token_file {path} cannot be read: {error}") from error
    if not token:
        raise InputError(f"--token_file {path} is empty; write a token into it")
    return token


def is_borne(token: str | None, authorization: bytes) -> bool:
    """Returns whether an `Authorization` header has the token; True if no token is needed."""
    return token is None or hmac.compare_digest(authorization, b"Bearer " + token.encode())

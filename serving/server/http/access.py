"""Who may ask over HTTP: who bears the token, or where none is set, who is no page of another site.

Every page that somebody visits can make the browser send requests to this machine. A page of
another site shows in `Origin`. With DNS rebinding the page's own name leads to this machine, so
`Origin` and `Host` agree; but then `Host` holds that name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tf_sg2.serving.token_file import is_borne


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused: HTTP status, sentence, and the reason that the metrics count."""

    status: int
    sentence: str
    reason: str


@dataclass(frozen=True)
class Access:
    """The rule of one server.

    Attributes:
        token: what requests must bear, if any.
        hosts: names by which the server may be asked without a token. IP addresses and
            "localhost" always may: no other site can have them.
    """

    token: str | None = None
    hosts: Collection[str] = ()

    def refusal(self, headers: Mapping[bytes, bytes]) -> Refusal | None:
        """Returns why a request with these headers is refused; None if it is not."""
        if self.token is not None:
            borne = is_borne(self.token, headers.get(b"authorization", b""))
            return None if borne else Refusal(401, "A valid token is needed", "token")
        host, origin = headers.get(b"host"), headers.get(b"origin")
        if origin is not None and origin.partition(b"://")[2] != host:
            sentence = "A page of another site may not ask without a token"
            return Refusal(403, sentence, "origin")
        name = _name(host.decode("latin-1")) if host is not None else "localhost"
        if name != "localhost" and name not in self.hosts and not _is_address(name):
            sentence = (
                f"The host {name!r} is unknown here; ask by the IP address, or start the server "
                "with --allowed_hosts or --token_file"
            )
            return Refusal(403, sentence, "host")
        return None


def _name(host: str) -> str:
    """A `Host` without its port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

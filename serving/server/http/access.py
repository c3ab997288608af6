"""Access over HTTP: requests with the token, or without a token, no cross-origin requests.

Any web page can make its visitor's browser send requests to this machine. `Origin` shows a page of
another site. DNS rebinding makes the page's own name resolve to this machine, so `Origin` and
`Host` agree. Then `Host` contains that name, which is not a known host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tf_sg2.serving.token_file import is_borne


@dataclass(frozen=True)
class Refusal:
    """The refusal of a request: HTTP status, error text, and the reason in the metrics."""

    status: int
    sentence: str
    reason: str


@dataclass(frozen=True)
class Access:
    """The access rule of one server.

    Attributes:
        token: bearer token that requests must have; None needs no token.
        hosts: values of `Host` that are accepted without a token. IP addresses and "localhost" are
            always accepted, because no other site can have them as its name.
    """

    token: str | None = None
    hosts: Collection[str] = ()

    def refusal(self, headers: Mapping[bytes, bytes]) -> Refusal | None:
        """Returns the refusal of a request with these headers; None if it is allowed."""
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
    """Returns a `Host` without its port."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True

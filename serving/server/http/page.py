"""The page at `/`: static files of this package, and the list of models that the page offers.

An ASGI application around the REST one, which gets every other path.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from importlib import resources

from tf_sg2.serving.server.http.access import Access
from tf_sg2.serving.server.http.answers import JSON_TYPE, TEXT_TYPE, error_body, send_answer

FOLDER = resources.files("tf_sg2.serving.server") / "page"
KINDS = {
    ".html": b"text/html; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".js": b"text/javascript; charset=utf-8",
    ".svg": b"image/svg+xml",
}
MODELS_PATH = "/page/models.json"
# Nothing from elsewhere, nothing inline, and in nobody's frame; pictures are made from bytes here.
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-cache"),
]


class Page:
    """The application.

    Args:
        app: answers whatever is not the page's.
        models: gives the models and the versions of each that answer.
        token: what the list of models asks for, if any. The files are for all: without them
            nobody could type the token in.
        hosts: see `Access`.
    """

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        models: Callable[[], Mapping[str, list[int]]],
        token: str | None = None,
        hosts: Collection[str] = (),
    ):
        self._app, self._models = app, models
        self._access = Access(token, hosts)
        self._files = {
            "/" if file.name == "index.html" else f"/page/{file.name}": (
                file.read_bytes(),
                KINDS["." + file.name.rpartition(".")[2]],
            )
            for file in FOLDER.iterdir()
        }

    async def __call__(
        self,
        scope: dict,
        receive: Callable[[], Awaitable[dict]],
        send: Callable[[dict], Awaitable[None]],
    ) -> None:
        path = scope.get("path")
        if scope["type"] != "http" or (path not in self._files and path != MODELS_PATH):
            await self._app(scope, receive, send)
            return
        await send_answer(send, scope["method"], self._answer(path, scope), HEADERS)

    def _answer(self, path: str, scope: dict) -> tuple[int, bytes, bytes]:
        if scope["method"] not in ("GET", "HEAD"):
            return 405, b"Method Not Allowed", TEXT_TYPE
        if path in self._files:
            return 200, *self._files[path]
        refusal = self._access.refusal(dict(scope["headers"]))
        if refusal is not None:
            return refusal.status, error_body(refusal.sentence), JSON_TYPE
        models = [
            {"name": name, "versions": versions}
            for name, versions in sorted(self._models().items())
        ]
        return 200, json.dumps({"models": models}).encode(), JSON_TYPE

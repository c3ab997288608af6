"""The HTTP application: Starlette's routes to the page, and the REST API for every other path.

Three things stay ours. REST paths follow TensorFlow Serving's grammar on the path as sent, because
a model's name may contain an encoded slash, which Starlette decodes before it matches a route. JSON
and metrics are written in TensorFlow Serving's formats, within the memory bounds of the server.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, Router
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Scope

from tf_sg2.serving.server.execution.predict import Predictor
from tf_sg2.serving.server.http.access import Access
from tf_sg2.serving.server.http.answers import error_answer
from tf_sg2.serving.server.http.rest import RestApi

PAGE_FOLDER = Path(__file__).parent / "page"
# The page loads files of this server only, has no inline code, and may not be framed. Its pictures
# are blobs, made from the bytes of answers.
PAGE_HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}


class PageFiles(StaticFiles):
    """The files of the page, with its security headers.

    They need no token, because the page is where a user types the token.
    """

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Returns a file of the page, or 404."""
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            response = PlainTextResponse(error.detail, error.status_code)
        response.headers.update(PAGE_HEADERS)
        return response


def application(
    predictor: Predictor,
    token: str | None,
    hosts: Collection[str],
    metrics_path: str | None,
    page: bool,
) -> ASGIApp:
    """Returns the HTTP application.

    Args:
        predictor: runs the requests, within its limits.
        token: bearer token that requests must have; None needs no token.
        hosts: see `Access`.
        metrics_path: path of the metrics; None does not publish them.
        page: whether `/` is the page.
    """
    access = Access(token, hosts)
    api = RestApi(predictor, access, metrics_path)
    if not page:
        return api
    files = PageFiles(directory=PAGE_FOLDER)

    async def index(request: Request) -> Response:
        return await files.get_response("index.html", request.scope)

    async def models(request: Request) -> Response:
        refusal = access.refusal(dict(request.scope["headers"]))
        if refusal is not None:
            return error_answer(refusal.status, refusal.sentence)
        available = sorted(predictor.models.names().items())
        found = [{"name": name, "versions": versions} for name, versions in available]
        return JSONResponse({"models": found}, headers=PAGE_HEADERS)

    routes = [
        Route("/", index),
        Route("/page/models.json", models),
        Mount("/page", files),
    ]
    return Router(routes, redirect_slashes=False, default=api)

"""The REST API: an ASGI application with TensorFlow Serving's paths, bodies and error texts.

It is no set of Starlette routes, see `app`. A request holds its memory until its answer is sent.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from tensorflow_serving.apis import get_model_metadata_pb2

from tf_sg2.serving.server.execution.memory import Hold
from tf_sg2.serving.server.execution.predict import (
    DEFAULT_SIGNATURE,
    Predictor,
    Signature,
    signature_of,
)
from tf_sg2.serving.server.http import bodies
from tf_sg2.serving.server.http.access import Access
from tf_sg2.serving.server.http.answers import TEXT_TYPE, Answer, error_answer
from tf_sg2.serving.server.models.version import Lease
from tf_sg2.serving.server.wire import json_answers, json_requests
from tf_sg2.serving.server.wire.errors import (
    ServingError,
    from_exception,
    invalid_argument,
    without_frames,
)
from tf_sg2.serving.server.wire.json_memory import document_bytes
from tf_sg2.serving.server.wire.tensors import held_bytes
from tf_sg2.serving.versions import version_number

CHOICE = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
GET = re.compile(rf"/v1/models/(?P<name>[^/:]+){CHOICE}(?P<rest>/metadata)?")
POST = re.compile(rf"/v1/models/(?P<name>[^/:]+){CHOICE}:(?P<rest>predict|classify|regress)")


@dataclass
class _Request:
    """A predict request; its body is freed after the conversion to arrays."""

    name: str
    version: int | None
    label: str | None
    method: str
    body: bytes
    is_gzip: bool


class RestApi:
    """The application.

    Args:
        predictor: runs the requests, within its limits.
        access: decides which requests are allowed.
        metrics_path: path of the metrics; None does not publish them.
    """

    def __init__(self, predictor: Predictor, access: Access, metrics_path: str | None):
        self._predictor, self._access = predictor, access
        self._metrics_path = metrics_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            return
        with self._predictor.budget.hold("UNAVAILABLE") as hold:  # Until the answer is sent.
            answer = await self._answer(scope, receive, hold)
            await answer(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, hold: Hold) -> Answer:
        headers = dict(scope["headers"])
        refusal = self._access.refusal(headers)
        if refusal is not None:
            self._predictor.metrics.refused.add(refusal.reason)
            return error_answer(refusal.status, refusal.sentence)
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        if scope["query_string"]:
            path += "?" + scope["query_string"].decode("latin-1")
        if path == self._metrics_path:
            return Answer(self._predictor.metrics.text().encode(), kind=TEXT_TYPE)
        if not path.startswith("/v1/"):
            return Answer(b"Not Found", 404, TEXT_TYPE)
        most_bytes = self._predictor.limits.body_bytes
        name = ""
        try:
            if scope["method"] == "GET":
                return Answer(self._information(path))
            name, version, label, method = _route(POST, scope["method"], path)
            body = await bodies.read(receive, headers, most_bytes, hold)
            request = _Request(name, version, label, method, body, bodies.is_gzip(headers))
            del body
            return Answer(await _unless_disconnected(self._post(request, hold), receive))
        except ClientDisconnect:
            return Answer(b"", 499, TEXT_TYPE)
        except bodies.BodyTooLargeError:
            self._predictor.metrics.refused.add("body_bytes")
            return error_answer(413, f"The body is over the limit of {most_bytes} bytes")
        except Exception as error:
            failure = from_exception(error)
            without_frames(error)
            if not failure.counted:
                self._predictor.count_refusal(name, failure)
            return error_answer(failure.http_status, failure.message)

    def _information(self, path: str) -> bytes:
        """Returns the status or the metadata of a model."""
        if path in ("/v1/models", "/v1/models/"):
            raise invalid_argument("Missing model name in request.")
        name, version, label, metadata = _route(GET, "GET", path)
        return self._metadata(name, version, label) if metadata else self._status(name, version)

    async def _post(self, request: _Request, hold: Hold) -> bytearray:
        limit, begun = self._predictor.limits.rest_seconds, time.monotonic()
        convert = self._predictor.convert
        # An inflated body may be a thousand times as long.
        size = len(request.body) << 10 if request.is_gzip else len(request.body)
        converted = convert(size, self._converted, request, hold)
        lease, wanted, signature, inputs, rows = await asyncio.wait_for(converted, limit)
        left = limit - (time.monotonic() - begun)
        outputs = await self._predictor.predict(
            lease, wanted, signature, inputs, left, "REST", hold
        )
        del inputs
        size = sum(array.nbytes for array in outputs.values())
        answer = await convert(size, json_answers.predictions, outputs, rows, hold)
        hold.resize(len(answer))
        return answer

    def _converted(
        self, request: _Request, hold: Hold
    ) -> tuple[Lease, str, Signature, dict[str, np.ndarray], bool]:
        """Converts a body to arrays, in one job.

        So at most as many documents are in memory as there are threads for conversion.
        """
        body: bytes | bytearray = request.body
        if request.is_gzip:
            body = bodies.inflated(body, self._predictor.limits.body_bytes, hold)
        hold.add(document_bytes(body))
        document = json_requests.parse(body)
        wanted = json_requests.signature_name(document) or DEFAULT_SIGNATURE
        lease = self._predictor.models.acquire(request.name, request.version, request.label)
        hold.at_release(lease.release)
        if request.method != "predict":
            raise ServingError("UNIMPLEMENTED", f"{request.method.capitalize()} is not served here")
        signature = signature_of(lease, wanted)
        if signature is None:
            raise invalid_argument(f'Serving signature name: "{wanted}" not found in signature def')
        types = {key: tf.dtypes.as_dtype(i.dtype) for key, i in signature.inputs.items()}
        batching = self._predictor.batching
        most_rows = batching.most_rows if batching else None
        inputs, rows = json_requests.tensors(document, types, hold, most_rows)
        request.body = b""
        hold.resize(held_bytes(inputs.values()))
        return lease, wanted, signature, inputs, rows

    def _metadata(self, name: str, version: int | None, label: str | None) -> bytes:
        lease = self._predictor.models.acquire(name, version, label)
        try:
            signatures = get_model_metadata_pb2.SignatureDefMap(
                signature_def=lease.model.signatures
            )
            # With defaults, as in TensorFlow Serving. Protobuf 4 and 5 have different names for
            # this argument, at the same position.
            inner = json_format.MessageToDict(signatures, True, preserving_proto_field_name=True)
            answer = {
                "model_spec": {
                    "name": name, "signature_name": "", "version": str(lease.number)
                },
                "metadata": {"signature_def": inner},
            }  # fmt: skip
        finally:
            lease.release()
        return json.dumps(answer, indent=1).encode()

    def _status(self, name: str, version: int | None) -> bytes:
        rows = [
            {
                "version": str(number),
                "state": state,
                "status": {
                    "error_code": error.code if error else "OK",
                    "error_message": error.message if error else "",
                },
            }
            for number, state, error in self._predictor.models.status(name, version)
        ]
        return json.dumps({"model_version_status": rows}, indent=1).encode()


def _route(pattern: re.Pattern, method: str, path: str) -> tuple[str, int | None, str | None, Any]:
    """Returns name, version, label and the rest of a path."""
    match = pattern.fullmatch(path) if method in ("GET", "POST") else None
    if match is None:
        raise invalid_argument(f"Malformed request: {method} {path}")
    name = unquote(match["name"])
    label = unquote(match["label"]) if match["label"] else None
    version = version_number(match["version"]) if match["version"] else None
    if version is None and match["version"]:
        raise invalid_argument(f"Failed to convert version: {match['version']} to numeric.")
    return name, version, label, match["rest"]


async def _unless_disconnected(work: Coroutine[Any, Any, bytearray], receive: Receive) -> bytearray:
    """Returns the result of the work; cancels it if the client disconnects first.

    Raises:
        ClientDisconnect: if the client disconnected.
    """

    async def disconnected() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(disconnected())
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        task.cancel()
        gone.cancel()
        # The work may raise an error of its own at the moment of the cancellation.
        await asyncio.gather(task, gone, return_exceptions=True)

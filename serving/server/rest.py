"""The REST half: an ASGI application with TensorFlow Serving's paths, bodies and sentences."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import unquote

import tensorflow as tf
from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2

from tf_sg2.serving.server import json_answers, json_requests
from tf_sg2.serving.server.configuration import PROMETHEUS_PATH
from tf_sg2.serving.server.predict import DEFAULT_SIGNATURE, Predictor, signature_of
from tf_sg2.serving.server.status import from_exception, invalid_argument

CHOICE = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
GET = re.compile(rf"/v1/models/(?P<name>[^/:]+){CHOICE}(?P<metadata>/metadata)?")
POST = re.compile(rf"/v1/models/(?P<name>[^/:]+){CHOICE}:predict")
MOST_BODY_BYTES = 64 << 20


class Rest:
    """The application.

    Args:
        predictor: answers.
        timeout: seconds a request may take.
        most_bytes: a longer body is refused with 413.
        token: what requests must bear, if any.
    """

    def __init__(
        self,
        predictor: Predictor,
        timeout: float = 30.0,
        most_bytes: int = MOST_BODY_BYTES,
        token: str | None = None,
    ):
        self._predictor, self._timeout, self._most_bytes = predictor, timeout, most_bytes
        self._token = f"Bearer {token}".encode() if token else None
        self._pool = ThreadPoolExecutor(32, "rest")

    async def __call__(
        self,
        scope: dict,
        receive: Callable[[], Awaitable[dict]],
        send: Callable[[dict], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            return
        status, body, kind = await self._answer(scope, receive)
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: dict, receive: Callable) -> tuple[int, bytes, bytes]:
        given = dict(scope["headers"]).get(b"authorization", b"")
        if self._token and not hmac.compare_digest(given, self._token):
            return 401, _error("A valid token is needed"), b"application/json"
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1")
        if scope["query_string"]:
            path += "?" + scope["query_string"].decode("latin-1")
        if path == PROMETHEUS_PATH:
            return 200, self._predictor.metrics.text().encode(), b"text/plain"
        if not path.startswith("/v1/"):
            return 404, b"Not Found", b"text/plain"
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return 499, b"", b"text/plain"
            body += message.get("body", b"")
            if len(body) > self._most_bytes:
                text = f"The body is over the limit of {self._most_bytes} bytes"
                return 413, _error(text), b"application/json"
            if not message.get("more_body"):
                break
        loop = asyncio.get_running_loop()
        try:
            work = loop.run_in_executor(
                self._pool, self._handle, scope["method"], path, bytes(body)
            )
            return 200, await work, b"application/json"
        except Exception as error:
            failure = from_exception(error)
            return failure.http_status, _error(failure.message), b"application/json"

    def _handle(self, method: str, path: str, body: bytes) -> bytes:
        if method == "GET" and path in ("/v1/models", "/v1/models/"):
            raise invalid_argument("Missing model name in request.")
        match = {"GET": GET, "POST": POST}.get(method, re.compile("(?!)")).fullmatch(path)
        if match is None:
            raise invalid_argument(f"Malformed request: {method} {path}")
        name = unquote(match["name"])
        label = unquote(match["label"]) if match["label"] else None
        version = int(match["version"][:30]) if match["version"] else None
        if version is not None and version >= 1 << 63:
            raise invalid_argument(f"Failed to convert version: {match['version']} to numeric.")
        if method == "POST":
            return self._predict(name, version, label, body)
        if match["metadata"]:
            return self._metadata(name, version, label)
        return self._status(name, version)

    def _predict(self, name: str, version: int | None, label: str | None, body: bytes) -> bytes:
        document = json_requests.parse(body)
        wanted = json_requests.signature_name(document) or DEFAULT_SIGNATURE
        lease = self._predictor.models.acquire(name, version, label)
        try:
            signature = signature_of(lease, wanted)
            if signature is None:
                raise invalid_argument(
                    f'Serving signature name: "{wanted}" not found in signature def'
                )
            types = {key: tf.dtypes.as_dtype(i.dtype) for key, i in signature.inputs.items()}
            inputs, rows = json_requests.tensors(document, types)
        except BaseException:
            lease.release()
            raise
        outputs = self._predictor.predict(lease, wanted, signature, inputs, self._timeout, "REST")
        return json_answers.predictions(outputs, rows)

    def _metadata(self, name: str, version: int | None, label: str | None) -> bytes:
        lease = self._predictor.models.acquire(name, version, label)
        try:
            signatures = get_model_metadata_pb2.SignatureDefMap(
                signature_def=lease.model.signatures
            )
            inner = json_format.MessageToDict(signatures, preserving_proto_field_name=True)
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


def _error(message: str) -> bytes:
    return json.dumps({"error": message}).encode()

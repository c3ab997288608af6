"""The REST transport of the client: TensorFlow Serving's JSON protocol on the standard library."""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.serving.client.client import ModelSpec, RequestError
from tf_sg2.serving.server.wire.errors import CODES

MODELS_PATH = "/page/models.json"  # Only the local server has it.
PIECE = 1 << 16
# If several codes share an HTTP status, the first is the most common one.
CODE_OF_STATUS = {status: code for code, (_, status) in reversed(CODES.items())} | {
    400: "INVALID_ARGUMENT",
    413: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
}


class RestTransport:
    """Sends requests over HTTP, one connection per request; see `Client` for the arguments."""

    def __init__(self, address: str, token: str | None, timeout: float):
        try:
            parts = urlsplit(address)
            self._secure, self._host = parts.scheme == "https", parts.hostname or ""
            self._port = parts.port
        except ValueError as error:
            raise InputError(
                f"{address!r} is not a server's address ({error}); give http://HOST:PORT"
            ) from error
        if not self._host or parts.query or parts.fragment or parts.username is not None:
            raise InputError(f"{address!r} is not a server's address; give http://HOST:PORT")
        self._address, self._prefix = address.rstrip("/"), parts.path.rstrip("/")
        self._timeout = timeout
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    def close(self) -> None:
        """Does nothing, because no connection is kept open."""

    def only_model(self) -> str:
        """Returns the name of the only model of a local server."""
        try:
            names = [model["name"] for model in self._ask("GET", MODELS_PATH)["models"]]
        except (RequestError, KeyError, TypeError) as error:
            if isinstance(error, RequestError) and error.code not in ("NOT_FOUND", "UNKNOWN"):
                raise
            raise InputError(
                f"{self._address} does not list its models; give the model's name (--model)"
            ) from error
        if len(names) != 1:
            raise InputError(
                f"{self._address} has the models {', '.join(names)}; choose one (--model)"
            )
        return names[0]

    def predict(
        self, model: ModelSpec, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Returns the outputs by name. A single output has no name in REST; it gets ""."""
        count = len(next(iter(inputs.values())))
        columns = {name: _plain(array) for name, array in inputs.items()}
        rows = [{name: column[i] for name, column in columns.items()} for i in range(count)]
        body = json.dumps({"signature_name": signature, "instances": rows}).encode()
        answer = self._ask("POST", _path(model) + ":predict", body)
        found = answer.get("predictions")
        if not isinstance(found, list) or len(found) != count:
            raise self._strange(f"no list of {count} predictions")
        if found and isinstance(found[0], dict) and "b64" not in found[0]:
            return {name: _array([row[name] for row in found]) for name in found[0]}
        return {"": _array(found)}

    def signatures(self, model: ModelSpec) -> dict[str, Any]:
        """See `Client.signatures`."""
        answer = self._ask("GET", _path(model) + "/metadata")
        try:
            return {
                name: {
                    part: {key: _declared(info) for key, info in signature.get(part, {}).items()}
                    for part in ("inputs", "outputs")
                }
                for name, signature in answer["metadata"]["signature_def"]["signature_def"].items()
                if not name.startswith("__")  # "__saved_model_init_op" is not a signature.
            }
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise self._strange("no signatures") from error

    def status(self, model: ModelSpec) -> list[dict[str, Any]]:
        """See `Client.status`."""
        answer = self._ask("GET", _path(model))
        try:
            return [
                {"version": int(row["version"]), "state": row["state"], **row["status"]}
                for row in answer["model_version_status"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise self._strange("no status") from error

    def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        deadline = time.monotonic() + self._timeout
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout)
        try:
            headers = {**self._headers, "Content-Type": "application/json"}
            connection.request(method, self._prefix + path, body, headers)
            response = connection.getresponse()
            content = bytearray()
            # The socket's timeout is per read: a server that sends slowly would never exceed it.
            while piece := response.read1(PIECE):
                content += piece
                if time.monotonic() > deadline:
                    raise TimeoutError
        except ssl.SSLError as error:
            raise RequestError(
                "UNAVAILABLE", f"{self._address} cannot be reached by TLS: {error.reason or error}"
            ) from error
        except TimeoutError as error:
            raise RequestError(
                "DEADLINE_EXCEEDED",
                f"{self._address} did not answer within {self._timeout:g} seconds",
            ) from error
        except OSError as error:
            raise RequestError(
                "UNAVAILABLE",
                f"{self._address} cannot be reached: {error.strerror or error}; is the server "
                "running?",
            ) from error
        except http.client.HTTPException as error:
            raise RequestError(
                "UNAVAILABLE",
                f"{self._address} does not answer by HTTP ({type(error).__name__}); is it the "
                "gRPC port?",
            ) from error
        finally:
            connection.close()
        return self._opened(response.status, bytes(content))

    def _opened(self, status: int, content: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(content)
        except ValueError:
            answer = None
        if status == 200 and isinstance(answer, dict):
            return answer
        if status == 200:
            raise self._strange("no JSON object")
        said = answer.get("error") if isinstance(answer, dict) else None
        hint = "; give its token" if status == 401 and not self._headers else ""
        raise RequestError(
            CODE_OF_STATUS.get(status, "UNKNOWN"),
            f"{self._address} answered {status}: {said or http.client.responses.get(status, '')}"
            f"{hint}",
        )

    def _strange(self, missing: str) -> RequestError:
        return RequestError(
            "UNKNOWN",
            f"{self._address} sent {missing}; is it a server of TensorFlow Serving's protocol?",
        )


def _path(model: ModelSpec) -> str:
    path = f"/v1/models/{quote(model.name, safe='')}"
    if model.version is not None:
        return f"{path}/versions/{model.version}"
    return path if model.label is None else f"{path}/labels/{quote(model.label, safe='')}"


def _plain(array: np.ndarray) -> Any:
    """Returns an array as JSON lists; floats have the fewest digits that give the same float."""
    if array.dtype == np.float32:
        # Via text: otherwise Python writes a float32 with the digits of a float64.
        numbers = [float(text) for text in array.reshape(-1).astype("U32")]
        return np.array(numbers, np.float64).reshape(array.shape).tolist()
    if array.dtype.kind in "SO":
        values = [{"b64": base64.b64encode(value).decode()} for value in array.reshape(-1)]
        return np.array(values, object).reshape(array.shape).tolist()
    return list(array.tolist())


def _array(rows: list[Any]) -> np.ndarray:
    """Returns a column of a response: integers as int64, floats as float32, bytes as objects."""
    if isinstance(rows[0], dict):
        return np.array([base64.b64decode(row["b64"]) for row in rows], object)
    array = np.array(rows)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def _declared(info: Mapping[str, Any]) -> tuple[str, tuple[int, ...]]:
    kind = info["dtype"].removeprefix("DT_").lower()
    kind = {"float": "float32", "double": "float64"}.get(kind, kind)
    shape = tuple(int(size["size"]) for size in info.get("tensor_shape", {}).get("dim", ()))
    return kind, shape

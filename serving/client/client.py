"""A client for any server of TensorFlow Serving's protocol, over REST or gRPC.

REST needs only NumPy and the standard library. gRPC needs the stubs of tensorflow-serving-api,
which import TensorFlow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.serving.versions import LARGEST_VERSION

if TYPE_CHECKING:
    from tf_sg2.serving.client.grpc import GrpcTransport
    from tf_sg2.serving.client.rest import RestTransport

DEFAULT_ADDRESS = "http://127.0.0.1:8501"
DEFAULT_TIMEOUT = 120.0  # Seconds; large pictures take long on a CPU.
DEFAULT_BATCH_SIZE = 8  # The `max_batch_size` of deploy/batching.config.
VERSION_LABEL = re.compile(r"[^/:]+")


class Client:
    """Requests pictures from a server; thread safe.

    Use it as a context manager, or call `close`.

    Args:
        address: `http://HOST:PORT` or `https://HOST:PORT` for REST, `HOST:PORT` for gRPC, or
            `grpcs://HOST:PORT` for gRPC over TLS.
        model: name of the model. None takes the only model of a local server that shows its
            page. Other servers do not list their models.
        version: version number; None takes the latest.
        label: label of a version, such as "canary", instead of its number.
        token: token that is sent as `Authorization: Bearer`; None sends none.
        timeout: seconds after which a request fails.
        batch_size: rows per request. Longer inputs are split into several requests.

    Example:
        with tf_sg2.serving.Client("http://127.0.0.1:8501", "cards") as client:
            pngs = client.generate(range(16), truncation_psi=0.7)

    Raises:
        InputError: for invalid arguments.
        RequestError: a kind of InputError, from the methods: a request failed. It holds the
            server's message if there is one.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        model: str | None = None,
        *,
        version: int | None = None,
        label: str | None = None,
        token: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        batch_size: int = DEFAULT_BATCH_SIZE,
    ):
        if version is not None and label is not None:
            raise InputError(f"give version {version} or label {label!r} of a model, not both")
        if version is not None and not 0 <= version <= LARGEST_VERSION:
            raise InputError(f"the version is {version}; it must be in 0...{LARGEST_VERSION}")
        if label is not None and not VERSION_LABEL.fullmatch(label):
            raise InputError(f"the label is {label!r}; it must not be empty or contain / or :")
        if not timeout > 0:
            raise InputError(f"the timeout is {timeout} seconds; it must be more than 0")
        if batch_size < 1:
            raise InputError(f"the batch size is {batch_size}; it must be at least 1")
        if token is not None and not (token and token.isascii() and token.isprintable()):
            raise InputError("the token must be printable ASCII characters")
        self.address, self.version, self.label = address, version, label
        self.batch_size = batch_size
        self._transport = _transport(address, token, timeout)
        try:
            self.model = model or self._transport.only_model()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    def generate(
        self,
        seeds: Sequence[int],
        truncation_psi: float | Sequence[float] = 0.7,
        labels: np.ndarray | None = None,
    ) -> list[bytes]:
        """Returns the picture of each seed as a PNG.

        Args:
            seeds: N integers, 0 or more.
            truncation_psi: from 1 for full variety to 0 for the mean picture; one value or N.
            labels: labels of a conditional model: float [label_dim] for all, or [N, label_dim].
        """
        inputs = {"seed": seeds, "truncation_psi": truncation_psi, "labels": labels}
        return self._only_output("generate", inputs).tolist()

    def style_mix(
        self,
        seed_a: int | Sequence[int],
        seed_b: int | Sequence[int],
        cutoff: int | Sequence[int],
        truncation_psi: float | Sequence[float] = 0.7,
        labels: np.ndarray | None = None,
    ) -> list[bytes]:
        """Returns PNGs of `seed_a` whose layers from `cutoff` (0: all) come from `seed_b`.

        Each argument is one value, or one value for each of N pictures.
        """
        inputs = {
            "seed_a": seed_a,
            "seed_b": seed_b,
            "cutoff": cutoff,
            "truncation_psi": truncation_psi,
            "labels": labels,
        }
        return self._only_output("style_mix", inputs).tolist()

    def map(
        self,
        z: np.ndarray,
        truncation_psi: float | Sequence[float] = 1.0,
        labels: np.ndarray | None = None,
    ) -> np.ndarray:
        """Returns w of each z [N, z_dim], truncated: float32 [N, num_ws, w_dim]."""
        inputs = {"z": z, "truncation_psi": truncation_psi, "labels": labels}
        return self._only_output("map", inputs).astype(np.float32, copy=False)

    def synthesize(self, w: np.ndarray) -> np.ndarray:
        """Returns the picture of each w [N, num_ws, w_dim]: uint8 [N, H, W, C]."""
        return self._only_output("synthesize", {"w": w}).astype(np.uint8, copy=False)

    def synthesize_png(self, w: np.ndarray) -> list[bytes]:
        """Returns the picture of each w [N, num_ws, w_dim] as a PNG."""
        return self._only_output("synthesize_png", {"w": w}).tolist()

    def predict(self, signature: str, inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Returns the outputs of any signature by name, [N, ...] each; bytes as object arrays.

        Args:
            signature: name of the signature.
            inputs: arrays of N rows by name. Python numbers become int64 or float32. NumPy arrays
                keep their type.
        """
        arrays = {name: _array(value) for name, value in inputs.items()}
        counts = {len(array) if array.ndim else -1 for array in arrays.values()}
        if len(counts) != 1 or min(counts) < 1:
            shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
            raise InputError(
                f"all inputs must have the same number of rows, at least 1, but are {shapes}"
            )
        parts = []
        for start in range(0, counts.pop(), self.batch_size):
            rows = {name: array[start : start + self.batch_size] for name, array in arrays.items()}
            parts.append(self._transport.predict(self._spec(), signature, rows))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def signatures(self) -> dict[str, dict[str, dict[str, tuple[str, tuple[int, ...]]]]]:
        """Returns the signatures of the model, from the server's metadata.

        The result maps signature -> "inputs" or "outputs" -> name -> (type such as "float32",
        shape). -1 in a shape means any size.
        """
        return self._transport.signatures(self._spec())

    def label_dim(self) -> int:
        """Returns the length of a label vector; 0 for models without labels."""
        inputs = self.signatures().get("generate", {"inputs": {}})["inputs"]
        return inputs["labels"][1][-1] if "labels" in inputs else 0

    def status(self) -> list[dict[str, Any]]:
        """Returns version, state, error_code and error_message of each version, newest first."""
        return self._transport.status(ModelSpec(self.model, self.version, None))

    def _spec(self) -> ModelSpec:
        return ModelSpec(self.model, self.version, self.label)

    def _only_output(self, signature: str, inputs: Mapping[str, Any]) -> np.ndarray:
        """Returns the only output of a signature of an export; inputs may be single values."""
        rows = {name: _typed(name, value) for name, value in inputs.items() if value is not None}
        count = max(
            (len(x) for name, x in rows.items() if x.ndim == ROW_RANKS[name] + 1), default=1
        )
        for name, x in rows.items():
            if x.ndim == ROW_RANKS[name]:
                rows[name] = np.repeat(x[None], count, axis=0)
        outputs = self.predict(signature, rows)
        if len(outputs) != 1:
            raise RequestError(
                "UNKNOWN",
                f"{self.address} answered {signature} with {', '.join(sorted(outputs))}; a model "
                "of tf-sg2 export has one output: use predict",
            )
        return next(iter(outputs.values()))


INPUT_TYPES = {
    "seed": np.int64,
    "seed_a": np.int64,
    "seed_b": np.int64,
    "cutoff": np.int32,
    "truncation_psi": np.float32,
    "labels": np.float32,
    "z": np.float32,
    "w": np.float32,
}
ROW_RANKS = {name: {"labels": 1, "z": 1, "w": 2}.get(name, 0) for name in INPUT_TYPES}


def _typed(name: str, value: Any) -> np.ndarray:
    """Returns an input in the type of the exported signatures."""
    wanted, rank = INPUT_TYPES[name], ROW_RANKS[name]
    value = list(value) if isinstance(value, range) else value
    try:
        given = np.asarray(value)
        kinds = "iu" if np.issubdtype(wanted, np.integer) else "iuf"
        if given.size and given.dtype.kind not in kinds:
            raise TypeError
        array = np.asarray(value, wanted)
        if array.dtype.kind == "i" and not _fits(given, wanted):  # NumPy wraps silently.
            raise OverflowError
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{name} must hold numbers that fit {np.dtype(wanted)}") from error
    if array.ndim not in (rank, rank + 1) or not array.size:
        raise InputError(
            f"{name} has shape {list(array.shape)}; it must have {rank} dimensions, or {rank + 1} "
            "for several rows, and not be empty"
        )
    return array


def _array(value: Any) -> np.ndarray:
    """Returns NumPy arrays unchanged, and Python numbers as int64 or float32."""
    array = np.asarray(value)
    plain = array.dtype == np.float64 and not isinstance(value, (np.ndarray, np.generic))
    return array.astype(np.float32) if plain else array


def _fits(array: np.ndarray, dtype: type) -> bool:
    """Returns whether an integer type can hold all values of an integer array."""
    limits = np.iinfo(dtype)
    return not array.size or (limits.min <= int(array.min()) and int(array.max()) <= limits.max)


class ModelSpec(NamedTuple):
    """What a request asks for: a model, and a version or the label of one (None: the latest)."""

    name: str
    version: int | None
    label: str | None


class RequestError(InputError):
    """A failed request; the message contains the server's message.

    Attributes:
        code: the canonical code, such as "NOT_FOUND", "UNAVAILABLE" or "DEADLINE_EXCEEDED". Over
            REST one status can mean several codes; this is the most common one.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code


def _transport(address: str, token: str | None, timeout: float) -> RestTransport | GrpcTransport:
    if re.match(r"https?://", address):
        from tf_sg2.serving.client.rest import RestTransport

        return RestTransport(address, token, timeout)
    form = re.fullmatch(r"(grpcs?://)?((?:[\w.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5})", address)
    if form is None:
        raise InputError(
            f"{address!r} is not a server's address; give http://HOST:PORT for REST or HOST:PORT "
            "for gRPC"
        )
    from tf_sg2.serving.client.grpc import GrpcTransport

    return GrpcTransport(form[2], token, timeout, secure=form[1] == "grpcs://")

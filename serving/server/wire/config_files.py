"""Reads TensorFlow Serving's configuration files: models, batching, monitoring."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from google.protobuf.message import Message
from tensorflow_serving.config import model_server_config_pb2

from tf_sg2.errors import InputError
from tf_sg2.serving.server.wire.errors import ServingError, invalid_argument

PROMETHEUS_PATH = "/monitoring/prometheus/metrics"


@dataclass(frozen=True)
class Policy:
    """The served versions: the `latest` ones by number, the `specific` ones, or all."""

    latest: int | None = 1
    specific: tuple[int, ...] = ()

    def choose(self, versions: Iterable[int]) -> set[int]:
        """Returns the versions to serve, out of the existing ones."""
        existing = set(versions)
        if self.specific:
            return existing & set(self.specific)
        return existing if self.latest is None else set(sorted(existing)[-self.latest :])


@dataclass(frozen=True)
class ModelConfig:
    """One model: its name, the folder of its versions, the version policy and version labels."""

    name: str
    base_path: Path
    policy: Policy = Policy()
    labels: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class BatchingParameters:
    """The parameters of batching; fields as in TensorFlow Serving's BatchingParameters.

    With this server's defaults a batch does not wait until it is full. It holds the requests that
    have arrived when a thread is free. There are two threads, because one leaves cores idle: while
    Python prepares the next batch, and in parts of the model that use few cores.
    """

    max_batch_size: int = 8
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 32
    num_batch_threads: int = 2
    allowed_batch_sizes: tuple[int, ...] = ()
    enable_large_batch_splitting: bool = True

    @property
    def most_rows(self) -> int:
        """Returns the most rows per request: a batch, or if requests are split, the queue."""
        splits = self.enable_large_batch_splitting
        return self.max_batch_size * (self.max_enqueued_batches if splits else 1)

    def padded(self, rows: int) -> int:
        """Returns the size of a batch of `rows` rows after padding."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def _message_classes(
    schema: Mapping[str, Mapping[str, tuple[int, str]]],
) -> dict[str, type[Message]]:
    """Returns message classes for schemas: message -> field -> (number, type)."""
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="tf_sg2/serving/configuration.proto", package="tf_sg2.serving", syntax="proto3"
    )
    file.dependency.append(wrappers_pb2.DESCRIPTOR.name)
    for name, fields in schema.items():
        message = file.message_type.add(name=name)
        for field_name, (number, kind) in fields.items():
            entry = message.field.add(name=field_name, number=number, label=kinds.LABEL_OPTIONAL)
            if kind.startswith("repeated "):
                entry.label, kind = kinds.LABEL_REPEATED, kind.removeprefix("repeated ")
            if kind.startswith("."):
                entry.type, entry.type_name = kinds.TYPE_MESSAGE, kind
            else:
                entry.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}"))
        for name in schema
    }


# tensorflow-serving-api has no classes for these. The field numbers are Serving's.
_MESSAGES = _message_classes(
    {
        "BatchingParameters": {
            "max_batch_size": (1, ".google.protobuf.Int64Value"),
            "batch_timeout_micros": (2, ".google.protobuf.Int64Value"),
            "max_enqueued_batches": (3, ".google.protobuf.Int64Value"),
            "num_batch_threads": (4, ".google.protobuf.Int64Value"),
            "thread_pool_name": (5, ".google.protobuf.StringValue"),
            "allowed_batch_sizes": (6, "repeated int64"),
            "pad_variable_length_inputs": (7, "bool"),
            "enable_large_batch_splitting": (8, ".google.protobuf.BoolValue"),
        },
        "PrometheusConfig": {"enable": (1, "bool"), "path": (2, "string")},
        "MonitoringConfig": {"prometheus_config": (1, ".tf_sg2.serving.PrometheusConfig")},
    }
)


def _read(path: str | os.PathLike[str], message: Message) -> Message:
    """Fills a message from a text file.

    Raises:
        InputError: if the file cannot be read, or is no such message.
    """
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), message)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is no {message.DESCRIPTOR.name} in text format: {error}"
        ) from error


def read_models(path: str | os.PathLike[str]) -> list[ModelConfig]:
    """Returns the models of a `ModelServerConfig` file; paths are relative to the working folder.

    Raises:
        InputError: if the file cannot be used.
    """
    try:
        return models(_read(path, model_server_config_pb2.ModelServerConfig()))
    except ServingError as error:
        raise InputError(f"{path}: {error.message}") from error


def models(config: model_server_config_pb2.ModelServerConfig) -> list[ModelConfig]:
    """Returns the models of a `ModelServerConfig`.

    Raises:
        ServingError: INVALID_ARGUMENT for an inconsistent or unsupported configuration.
    """
    if config.WhichOneof("config") != "model_config_list":
        raise invalid_argument("Invalid ServerModelConfig: a model_config_list is needed")
    found: dict[str, ModelConfig] = {}
    for model in config.model_config_list.config:
        if not model.name or not model.base_path:
            raise invalid_argument("Each model needs a name and a base_path")
        if model.name in found:
            raise invalid_argument(
                f"Illegal to list model {model.name} multiple times in config list"
            )
        if model.model_platform not in ("", "tensorflow"):
            raise invalid_argument(
                f"Model {model.name} is of the platform {model.model_platform!r}; only "
                "'tensorflow' is served"
            )
        try:
            base_path = Path(model.base_path).expanduser()
        except RuntimeError as error:
            raise invalid_argument(
                f"Model {model.name}: base_path {model.base_path}: there is no such user"
            ) from error
        found[model.name] = ModelConfig(
            model.name,
            base_path,
            _policy(model),
            dict(model.version_labels),
        )
    return list(found.values())


def _policy(model: model_server_config_pb2.ModelConfig) -> Policy:
    policy = model.model_version_policy
    kind = policy.WhichOneof("policy_choice")
    if kind == "all":
        return Policy(latest=None)
    if kind == "specific":
        if not policy.specific.versions:
            raise invalid_argument(f"Model {model.name}: a specific policy needs versions")
        return Policy(latest=None, specific=tuple(policy.specific.versions))
    return Policy(latest=policy.latest.num_versions or 1)


def read_batching(path: str | os.PathLike[str]) -> BatchingParameters:
    """Reads a `BatchingParameters` file.

    Missing fields get TensorFlow Serving's defaults, except that large requests are split only if
    the file enables it.

    Raises:
        InputError: if the file cannot be used.
    """
    message = _read(path, _MESSAGES["BatchingParameters"]())
    given = {
        name: getattr(message, name).value
        for name in (
            "max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads"
        )
        if message.HasField(name)
    }  # fmt: skip
    serving = {
        "max_batch_size": 1000,
        "max_enqueued_batches": 10,
        "num_batch_threads": os.cpu_count() or 1,
    }
    parameters = BatchingParameters(
        **{**serving, **given},
        allowed_batch_sizes=tuple(message.allowed_batch_sizes),
        enable_large_batch_splitting=message.enable_large_batch_splitting.value,
    )
    for name in ("max_batch_size", "max_enqueued_batches", "num_batch_threads"):
        if getattr(parameters, name) < 1:
            raise InputError(f"{path}: {name} must be at least 1, not {getattr(parameters, name)}")
    if parameters.batch_timeout_micros < 0:
        raise InputError(f"{path}: batch_timeout_micros must not be negative")
    sizes = parameters.allowed_batch_sizes
    if list(sizes) != sorted(set(sizes)) or (sizes and sizes[0] < 1):
        raise InputError(
            f"{path}: allowed_batch_sizes must be positive and increase, not {list(sizes)}"
        )
    if sizes and sizes[-1] != parameters.max_batch_size:
        raise InputError(
            f"{path}: the last of allowed_batch_sizes must be max_batch_size, "
            f"{parameters.max_batch_size}, not {sizes[-1]}"
        )
    if message.pad_variable_length_inputs:
        raise InputError(
            f"{path}: pad_variable_length_inputs is not supported; remove it. Requests of other "
            "shapes run in batches of their own"
        )
    return parameters


def read_monitoring(path: str | os.PathLike[str]) -> str | None:
    """Returns the path of the metrics from a `MonitoringConfig` file; None if they are off.

    Raises:
        InputError: if the file cannot be used.
    """
    prometheus = _read(path, _MESSAGES["MonitoringConfig"]()).prometheus_config
    if not prometheus.enable:
        return None
    metrics_path = prometheus.path or PROMETHEUS_PATH
    if not metrics_path.startswith("/"):
        raise InputError(f"{path}: the path {metrics_path!r} must start with /")
    return metrics_path

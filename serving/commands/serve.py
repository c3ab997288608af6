"""`tf-sg2 serve`: exported models over gRPC and REST."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from tf_sg2.commands import flags as command_line
from tf_sg2.errors import InputError
from tf_sg2.networks.precision import use_tf32
from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.log_lines import OneLineFormatter
from tf_sg2.serving.token_file import read_token

if TYPE_CHECKING:
    from tf_sg2.serving.server.settings import Settings

USAGE = """
tf-sg2 serve: serves exported models with TensorFlow Serving's protocol. Needs the extra [serve].

  tf-sg2 serve --model_dir=models/cards
  tf-sg2 serve --model_config_file=models.config --model_config_file_poll_wait_seconds=60

The first command serves the newest version in models/cards as the model `cards`, and loads newer
versions when they are exported. The second command reads TensorFlow Serving's file, with several
models, their version policies and version labels. Flags have the names of tensorflow_model_server
where it has them; --rest_api_port and --model_base_path work too.
"""


def _define_flags(values: flags.FlagValues) -> None:
    shared = {"flag_values": values}
    limits = Limits()
    flags.DEFINE_string("model_dir", None, "the model's folder, made by tf-sg2 export", **shared)
    flags.DEFINE_alias("model_base_path", "model_dir", flag_values=values)
    flags.DEFINE_string(
        "model_name", None, "name of the model; default: the name of its folder", **shared
    )
    flags.DEFINE_string(
        "model_config_file",
        None,
        "instead of --model_dir: a ModelServerConfig in text format",
        **shared,
    )
    flags.DEFINE_float(
        "model_config_file_poll_wait_seconds",
        0.0,
        "seconds between two reads of --model_config_file; 0 reads it only at the start",
        lower_bound=0.0,
        **shared,
    )
    flags.DEFINE_float(
        "file_system_poll_wait_seconds",
        1.0,
        "seconds between two searches for new versions; 0 searches only at the start",
        lower_bound=0.0,
        **shared,
    )
    flags.DEFINE_boolean(
        "allow_version_labels_for_unavailable_models",
        False,
        "allow labels for versions that are not loaded, also at the start",
        **shared,
    )
    flags.DEFINE_integer("port", 8500, "gRPC port; 0 takes a free one", 0, 65535, **shared)
    flags.DEFINE_integer("rest_port", 8501, "REST port; 0 takes a free one", 0, 65535, **shared)
    flags.DEFINE_alias("rest_api_port", "rest_port", flag_values=values)
    flags.DEFINE_string("host", "127.0.0.1", "address to listen on", **shared)
    flags.DEFINE_string(
        "token_file", None, "file with a bearer token that all requests must have", **shared
    )
    flags.DEFINE_list(
        "allowed_hosts",
        [],
        "values of the Host header, separated by commas, accepted without a token; --host, "
        "localhost and IP addresses always are; this protects against DNS rebinding",
        **shared,
    )
    flags.DEFINE_boolean(
        "page", True, "serve a page for trying the models, at / of the REST port", **shared
    )
    flags.DEFINE_boolean(
        "enable_batching", True, "run requests of many clients in one batch", **shared
    )
    flags.DEFINE_string(
        "batching_parameters_file", None, "a file with BatchingParameters in text format", **shared
    )
    flags.DEFINE_string(
        "monitoring_config_file",
        None,
        "a file with a MonitoringConfig in text format: the path of the metrics on the REST port",
        **shared,
    )
    flags.DEFINE_integer(
        "tensorflow_session_parallelism",
        0,
        "threads per model; 0: one per core",
        lower_bound=0,
        **shared,
    )
    flags.DEFINE_boolean(
        "enable_serialization_as_tensor_content",
        False,
        "send gRPC tensors as bytes; clients that read float_val or int_val do not find them",
        **shared,
    )
    _define_limits(limits, shared)


def _define_limits(limits: Limits, shared: dict) -> None:
    flags.DEFINE_integer(
        "rest_api_timeout_in_ms",
        int(1000 * limits.rest_seconds),
        "time limit of a REST request, in milliseconds",
        lower_bound=1,
        **shared,
    )
    flags.DEFINE_integer(
        "rest_max_body_bytes",
        limits.body_bytes,
        "largest REST body in bytes, after decompression",
        1,
        **shared,
    )
    flags.DEFINE_integer(
        "grpc_max_message_bytes", limits.message_bytes, "largest gRPC request in bytes", 1, **shared
    )
    flags.DEFINE_integer(
        "max_request_memory_bytes",
        limits.memory_bytes,
        "memory of all running requests; over it they are refused (503, RESOURCE_EXHAUSTED)",
        1,
        **shared,
    )
    flags.DEFINE_float(
        "request_arrival_seconds",
        limits.arrival_seconds,
        "time in which a request must arrive",
        lower_bound=0.1,
        **shared,
    )
    flags.DEFINE_integer(
        "rest_max_connections",
        limits.connections,
        "open REST connections, at most; over it, idle ones are closed",
        1,
        **shared,
    )
    flags.DEFINE_integer(
        "grpc_max_connections",
        limits.grpc_connections,
        "open gRPC connections, at most; over it, new ones are closed",
        1,
        **shared,
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 serve`."""
    values = command_line.parse("serve", arguments, _define_flags, USAGE)
    if bool(values.model_dir) == bool(values.model_config_file):
        raise InputError(
            "give either --model_dir, the model's folder made by tf-sg2 export, or "
            "--model_config_file, and not both"
        )
    if values.model_config_file and values.model_name:
        raise InputError(
            "--model_name needs --model_dir; --model_config_file contains the names of its models"
        )
    if values.batching_parameters_file and not values.enable_batching:
        raise InputError(
            "--batching_parameters_file has no effect with --noenable_batching; remove one of them"
        )
    token = read_token(values.token_file)
    try:
        from tf_sg2.serving.server.app import serve
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; run pip install 'tf-sg2[serve]'"
        ) from error
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(handlers=[handler])
    logging.getLogger("tf_sg2").setLevel(logging.INFO)
    use_tf32(False)
    serve(_settings(values, token))


def _settings(values: flags.FlagValues, token: str | None) -> Settings:
    from tf_sg2.serving.server.settings import Settings
    from tf_sg2.serving.server.wire import config_files

    models = []
    if values.model_dir:
        folder = Path(values.model_dir).resolve()
        models.append(config_files.ModelConfig(values.model_name or folder.name, folder))
    batching = config_files.BatchingParameters() if values.enable_batching else None
    if values.batching_parameters_file:
        batching = config_files.read_batching(values.batching_parameters_file)
    metrics_path: str | None = config_files.PROMETHEUS_PATH
    if values.monitoring_config_file:
        metrics_path = config_files.read_monitoring(values.monitoring_config_file)
    return Settings(
        models=models,
        model_config_file=values.model_config_file and Path(values.model_config_file),
        config_poll_seconds=values.model_config_file_poll_wait_seconds,
        poll_seconds=values.file_system_poll_wait_seconds,
        labels_need_no_version=values.allow_version_labels_for_unavailable_models,
        port=values.port,
        rest_port=values.rest_port,
        host=values.host,
        token=token,
        allowed_hosts=[name.strip() for name in values.allowed_hosts],
        batching=batching,
        metrics_path=metrics_path,
        threads=values.tensorflow_session_parallelism,
        as_content=values.enable_serialization_as_tensor_content,
        page=values.page,
        limits=Limits(
            body_bytes=values.rest_max_body_bytes,
            message_bytes=values.grpc_max_message_bytes,
            memory_bytes=values.max_request_memory_bytes,
            rest_seconds=values.rest_api_timeout_in_ms / 1000,
            arrival_seconds=values.request_arrival_seconds,
            connections=values.rest_max_connections,
            grpc_connections=values.grpc_max_connections,
        ),
    )

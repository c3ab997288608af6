"""The deployment files of serving: they fit protos and schemas, and each other."""

from __future__ import annotations

import copy
import itertools
import re
import subprocess
import sys

import pytest
import yaml
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
    text_format,
    wrappers_pb2,
)
from tensorflow_serving.config import model_server_config_pb2

from checkout import ROOT
from manifest_schemas import ManifestError, check, load
from tf_sg2.serving.export.signatures import MOST_PARTS_AT_ONCE

DEPLOY = ROOT / "serving" / "deploy"
MANIFESTS = load(DEPLOY / "kubernetes.yaml")
(COMPOSE,) = load(DEPLOY / "compose.yaml")
(ADAPTER,) = load(DEPLOY / "prometheus-adapter.yaml")
MODELS = ("models.config", "models.canary.config")

# tensorflow-serving-api ships no module for these two messages of TensorFlow Serving
# (servables/tensorflow/session_bundle_config.proto, config/monitoring_config.proto), and text
# format needs their fields alone: name -> type.
MISSING_MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": ".google.protobuf.Int64Value",
        "batch_timeout_micros": ".google.protobuf.Int64Value",
        "max_enqueued_batches": ".google.protobuf.Int64Value",
        "num_batch_threads": ".google.protobuf.Int64Value",
        "thread_pool_name": ".google.protobuf.StringValue",
        "allowed_batch_sizes": "repeated int64",
        "pad_variable_length_inputs": "bool",
    },
    "PrometheusConfig": {"enable": "bool", "path": "string"},
    "MonitoringConfig": {"prometheus_config": ".tf_sg2_test.PrometheusConfig"},
}

# Flags of tensorflow_model_server that these files may use.
SERVER_FLAGS = {
    "port",
    "rest_api_port",
    "rest_api_timeout_in_ms",
    "model_config_file",
    "model_config_file_poll_wait_seconds",
    "allow_version_labels_for_unavailable_models",
    "file_system_poll_wait_seconds",
    "enable_batching",
    "batching_parameters_file",
    "monitoring_config_file",
    "tensorflow_session_parallelism",
    "enable_serialization_as_tensor_content",
}


def message_types():
    file = descriptor_pb2.FileDescriptorProto(
        name="tf_sg2_test.proto", package="tf_sg2_test", syntax="proto3"
    )
    file.dependency.append("google/protobuf/wrappers.proto")
    field_type = descriptor_pb2.FieldDescriptorProto
    for name, fields in MISSING_MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, (key, kind) in enumerate(fields.items(), 1):
            repeated, plain = kind.startswith("repeated "), kind.removeprefix("repeated ")
            label = field_type.LABEL_REPEATED if repeated else field_type.LABEL_OPTIONAL
            field = message.field.add(name=key, number=number, label=label)
            if plain.startswith("."):
                field.type, field.type_name = field_type.TYPE_MESSAGE, plain
            else:
                field.type = getattr(field_type, f"TYPE_{plain.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"tf_sg2_test.{name}"))
        for name in MISSING_MESSAGES
    }


MESSAGES = message_types()


def parsed(name, message):
    return text_format.Parse((DEPLOY / name).read_text(encoding="utf-8"), message)


def models(name):
    return parsed(name, model_server_config_pb2.ModelServerConfig()).model_config_list.config


def find(kind):
    (document,) = (document for document in MANIFESTS if document["kind"] == kind)
    return document


def container():
    (found,) = find("Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def flags(arguments):
    pairs = (re.fullmatch(r"--(\w+)=(.+)", argument).groups() for argument in arguments)
    return dict(pairs)


@pytest.mark.parametrize("name", MODELS)
def test_models_are_a_model_server_config(name):
    (model,) = models(name)
    assert (model.name, model.base_path) == ("cards", "/models/cards")
    assert model.model_platform == "tensorflow"


def test_the_canary_labels_name_versions_that_are_served():
    (plain,), (model,) = (models(name) for name in MODELS)
    assert plain.model_version_policy.latest.num_versions == 2
    assert not plain.version_labels
    served = set(model.model_version_policy.specific.versions)
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) <= served
    assert model.version_labels["stable"] != model.version_labels["canary"]


def test_batching_parameters_agree_with_each_other_and_with_an_export():
    batching = parsed("batching.config", MESSAGES["BatchingParameters"]())
    assert batching.max_batch_size.value == MOST_PARTS_AT_ONCE
    assert 0 < batching.batch_timeout_micros.value <= 5000  # 5 ms at low load is the limit.
    assert batching.num_batch_threads.value >= 1
    assert batching.max_enqueued_batches.value >= 1
    assert not batching.pad_variable_length_inputs
    sizes = list(batching.allowed_batch_sizes)
    assert not sizes or (sizes == sorted(sizes) and sizes[-1] == batching.max_batch_size.value)


def test_a_misspelt_parameter_is_refused():
    with pytest.raises(text_format.ParseError):
        text_format.Parse("max_batch_sizes { value: 8 }", MESSAGES["BatchingParameters"]())


def test_every_number_of_batching_has_a_reason_above_it():
    lines = (DEPLOY / "batching.config").read_text(encoding="utf-8").splitlines()
    for before, line in itertools.pairwise(lines):
        if line and not line.startswith("#"):
            assert before.startswith("#"), line


def test_monitoring_is_where_the_annotations_point():
    monitoring = parsed("monitoring.config", MESSAGES["MonitoringConfig"]()).prometheus_config
    assert monitoring.enable
    annotations = find("Deployment")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == monitoring.path
    assert annotations["prometheus.io/port"] == flags(container()["args"])["rest_api_port"]


@pytest.mark.parametrize("document", MANIFESTS, ids=lambda document: document["kind"])
def test_manifests_keep_to_their_schemas(document):
    check(document)


def test_a_broken_manifest_is_refused():
    document = copy.deepcopy(find("HorizontalPodAutoscaler"))
    document["spec"]["maxReplica"] = document["spec"].pop("maxReplicas")
    with pytest.raises(ManifestError):
        check(document)


def check_compose(path):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    return subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=60)


def test_compose_keeps_to_its_schema(tmp_path):
    good = check_compose(DEPLOY / "compose.yaml")
    assert good.returncode == 0, good.stdout
    document = copy.deepcopy(COMPOSE)
    document["services"]["serving"]["port"] = document["services"]["serving"].pop("ports")
    broken = tmp_path / "compose.yaml"
    broken.write_text(yaml.safe_dump(document))
    assert check_compose(broken).returncode != 0


def test_both_ways_start_the_same_server():
    service = COMPOSE["services"]["serving"]
    assert flags(service["command"]) == flags(container()["args"])
    assert set(flags(service["command"])) <= SERVER_FLAGS
    assert service["entrypoint"] == container()["command"] == ["tensorflow_model_server"]
    version = re.search(r":-(.+)}", service["image"])[1]
    assert container()["image"] == f"tensorflow/serving:{version}"
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])


def test_flags_name_files_that_are_there_and_mounted():
    given = flags(container()["args"])
    for flag in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        folder, _, name = given[flag].rpartition("/")
        assert (DEPLOY / name).is_file()
        assert folder in {mount["mountPath"] for mount in container()["volumeMounts"]}
        assert f"--from-file=serving/deploy/{name}" in (DEPLOY / "README.md").read_text()
    (model,) = models("models.config")
    assert model.base_path.startswith("/models/")
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container()[probe]["httpGet"]["path"] == f"/v1/models/{model.name}"


def test_times_and_cores_agree():
    given, pod = flags(container()["args"]), find("Deployment")["spec"]["template"]["spec"]
    timeout = int(given["rest_api_timeout_in_ms"]) / 1000
    assert pod["terminationGracePeriodSeconds"] > timeout
    cores = given["tensorflow_session_parallelism"]
    assert container()["resources"]["requests"]["cpu"] == cores
    limits = COMPOSE["services"]["serving"]["deploy"]["resources"]["limits"]
    assert limits["cpus"] == cores


def test_files_are_looked_at_as_often_as_the_pages_say():
    for arguments in (container()["args"], COMPOSE["services"]["serving"]["command"]):
        given = flags(arguments)
        assert given["file_system_poll_wait_seconds"] == "10"
        assert given["model_config_file_poll_wait_seconds"] == "60"


def test_the_autoscaler_reads_the_metric_that_the_adapter_makes():
    scaler = find("HorizontalPodAutoscaler")["spec"]
    (metric,), (rule,) = scaler["metrics"], ADAPTER["rules"]["custom"]
    assert metric["pods"]["metric"]["name"] == rule["name"]["as"]
    assert '__name__=":tensorflow:serving:request_latency_sum"' in rule["seriesQuery"]
    assert scaler["scaleTargetRef"]["name"] == find("Deployment")["metadata"]["name"]
    assert "replicas" not in find("Deployment")["spec"]


def test_everything_selects_the_same_servers():
    labels = find("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert find("Service")["spec"]["selector"] == labels
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert find(kind)["spec"]["selector"]["matchLabels"] == labels
    ports = {port["name"] for port in container()["ports"]}
    assert {port["targetPort"] for port in find("Service")["spec"]["ports"]} == ports


def test_the_page_lists_every_file():
    page = (DEPLOY / "README.md").read_text(encoding="utf-8")
    for path in DEPLOY.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in page, path.name

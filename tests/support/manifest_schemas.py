"""Checks Kubernetes manifests against the schemas in PyPI packages, without any download.

`kubernetes-validate` contains Kubernetes' own JSON schemas. `kubeflow-training` contains the types
of the Training Operator as models, generated from its OpenAPI schema. This module walks their
tables of types and their checks of required fields. Kubernetes' schema checks the pod templates.
"""

from __future__ import annotations

import re
from typing import Any

import kubernetes_validate
import yaml
from kubeflow.training import models
from kubernetes.client import models as kubernetes_models

# The oldest release that the manifests need, and a later one.
KUBERNETES_VERSIONS = ("1.31", "1.33")
PLAIN = {"str": str, "bool": bool, "int": int, "datetime": str}


class ManifestError(Exception):
    """A manifest does not fit its schema."""


def load(path) -> list[dict[str, Any]]:
    """Returns the documents of a YAML file."""
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def check(document: dict[str, Any]) -> None:
    """Raises ManifestError for an unknown field, a value of the wrong type, or a missing field."""
    if document.get("apiVersion", "").startswith("kubeflow.org/"):
        _check_model(document, f"KubeflowOrgV1{document.get('kind')}", "")
        return
    for version in KUBERNETES_VERSIONS:
        try:
            kubernetes_validate.validate(document, version, strict=True)
        except (
            kubernetes_validate.ValidationError,
            kubernetes_validate.SchemaNotFoundError,
        ) as error:
            raise ManifestError(str(error)) from error


def _check_model(value: Any, kind: str, where: str) -> None:
    if kind in PLAIN:
        if not isinstance(value, PLAIN[kind]) or (kind == "int" and isinstance(value, bool)):
            raise ManifestError(f"{where} is {value!r}, not {kind}")
        return
    entries = re.fullmatch(r"dict\(str, (\w+)\)|list\[(\w+)\]", kind)
    if entries and entries[1]:
        _expect(value, dict, where)
        for key, entry in value.items():
            _check_model(entry, entries[1], f"{where}.{key}")
    elif entries:
        _expect(value, list, where)
        for index, entry in enumerate(value):
            _check_model(entry, entries[2], f"{where}[{index}]")
    elif kind == "V1PodTemplateSpec":
        _expect(value, dict, where)
        # Kubernetes checks a pod's whole schema; the operator names the pods.
        metadata = {"name": "pod", **value.get("metadata", {})}
        check({"apiVersion": "v1", "kind": "Pod", **value, "metadata": metadata})
    else:
        _check_fields(value, kind, where)


def _check_fields(value: Any, kind: str, where: str) -> None:
    model = getattr(models, kind, None) or getattr(kubernetes_models, kind, None)
    if model is None:
        raise ManifestError(f"there is no type {kind}")
    _expect(value, dict, where)
    names = {json_name: name for name, json_name in model.attribute_map.items()}
    for key, entry in value.items():
        if key not in names:
            raise ManifestError(f"{where}.{key} is no field of {kind}")
        _check_model(entry, model.openapi_types[names[key]], f"{where}.{key}")
    try:
        model(**{names[key]: entry for key, entry in value.items()})
    except ValueError as error:  # A required field is missing.
        raise ManifestError(f"{where}: {error}") from error


def _expect(value: Any, kind: type, where: str) -> None:
    if not isinstance(value, kind):
        raise ManifestError(f"{where} is {value!r}, not a {kind.__name__}")

"""The gRPC transport of the client, on TensorFlow Serving's stubs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tf_sg2.errors import InputError
from tf_sg2.serving.client.client import ModelSpec, RequestError
from tf_sg2.serving.server.wire.errors import NAMES

# Responses with pictures exceed gRPC's default limit of 4 MiB.
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


class GrpcTransport:
    """Sends requests over one channel; see `Client` for the arguments."""

    def __init__(self, address: str, token: str | None, timeout: float, secure: bool):
        self._address, self._timeout = address, timeout
        self._metadata = [("authorization", f"Bearer {token}")] if token else []
        if secure:
            credentials = grpc.ssl_channel_credentials()
            self._channel = grpc.secure_channel(address, credentials, OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, OPTIONS)
        self._predictions = prediction_service_pb2_grpc.PredictionServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)

    def close(self) -> None:
        """Closes the channel."""
        self._channel.close()

    def only_model(self) -> str:
        """Raises InputError, because the protocol cannot list models over gRPC."""
        raise InputError(
            f"{self._address} does not list its models; give the model's name (--model)"
        )

    def predict(
        self, model: ModelSpec, signature: str, inputs: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Returns the outputs by name."""
        spec = _spec(model)
        spec.signature_name = signature
        request = predict_pb2.PredictRequest(model_spec=spec)
        for name, array in inputs.items():
            request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
        answer = self._ask(self._predictions.Predict, request)
        return {name: tf.make_ndarray(tensor) for name, tensor in answer.outputs.items()}

    def signatures(self, model: ModelSpec) -> dict[str, Any]:
        """See `Client.signatures`."""
        request = get_model_metadata_pb2.GetModelMetadataRequest(
            model_spec=_spec(model), metadata_field=["signature_def"]
        )
        answer = self._ask(self._predictions.GetModelMetadata, request)
        found = get_model_metadata_pb2.SignatureDefMap()
        answer.metadata["signature_def"].Unpack(found)
        return {
            name: {
                "inputs": {key: _declared(info) for key, info in signature.inputs.items()},
                "outputs": {key: _declared(info) for key, info in signature.outputs.items()},
            }
            for name, signature in found.signature_def.items()
            if not name.startswith("__")  # "__saved_model_init_op" is no signature.
        }

    def status(self, model: ModelSpec) -> list[dict[str, Any]]:
        """See `Client.status`."""
        request = get_model_status_pb2.GetModelStatusRequest(model_spec=_spec(model))
        answer = self._ask(self._models.GetModelStatus, request)
        return [
            {
                "version": row.version,
                "state": get_model_status_pb2.ModelVersionStatus.State.Name(row.state),
                "error_code": NAMES.get(row.status.error_code, "OK"),
                "error_message": row.status.error_message,
            }
            for row in answer.model_version_status
        ]

    def _ask(self, method: Callable[..., Any], request: Any) -> Any:
        try:
            return method(request, timeout=self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            code, said = error.code().name, error.details()
        if code == "DEADLINE_EXCEEDED":
            sentence = f"{self._address} did not answer within {self._timeout:g} seconds"
        elif code == "UNAVAILABLE":
            sentence = f"{self._address} is not available: {said}"
        else:
            hint = "; give its token" if code == "UNAUTHENTICATED" and not self._metadata else ""
            sentence = f"{self._address} answered {code}: {said}{hint}"
        raise RequestError(code, " ".join(sentence.split()))


def _spec(model: ModelSpec) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=model.name)
    if model.version is not None:
        spec.version.value = model.version
    elif model.label is not None:
        spec.version_label = model.label
    return spec


def _declared(info: Any) -> tuple[str, tuple[int, ...]]:
    shape = tuple(dim.size for dim in info.tensor_shape.dim)
    return tf.dtypes.as_dtype(info.dtype).name, shape

"""The gRPC half: PredictionService, ModelService and health, with TensorFlow Serving's stubs."""

from __future__ import annotations

import hmac
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf.message import Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tf_sg2.serving.server import configuration
from tf_sg2.serving.server.models import Lease
from tf_sg2.serving.server.predict import DEFAULT_SIGNATURE, Predictor, Signature, signature_of
from tf_sg2.serving.server.status import ServingError, from_exception, invalid_argument
from tf_sg2.serving.server.tensors import to_array, to_proto

MOST_MESSAGE_BYTES = 64 << 20
LONGEST_SECONDS = 300.0  # For calls without a deadline.


def _lease(predictor: Predictor, request: Message) -> Lease:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")
    spec = request.model_spec
    choice = spec.WhichOneof("version_choice")
    number = spec.version.value if choice == "version" else None
    label = spec.version_label if choice == "version_label" else None
    return predictor.models.acquire(spec.name, number, label)


def _spec(lease: Lease, signature: str = "") -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=lease.name, signature_name=signature)
    spec.version.value = lease.number
    return spec


def _answered(context: grpc.ServicerContext, call: Callable[[], Message]) -> Message:
    try:
        return call()
    except Exception as error:
        failure = from_exception(error)
    context.abort(getattr(grpc.StatusCode, failure.code), failure.message)


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, predictor: Predictor):
        self._predictor = predictor

    def Predict(self, request, context):  # noqa: N802
        return _answered(context, lambda: self._predict(request, context))

    def GetModelMetadata(self, request, context):  # noqa: N802
        return _answered(context, lambda: self._metadata(request))

    def _predict(self, request: Message, context: grpc.ServicerContext) -> Message:
        lease = _lease(self._predictor, request)
        try:
            name = request.model_spec.signature_name or DEFAULT_SIGNATURE
            signature = signature_of(lease, name)
            if signature is None:
                raise ServingError(
                    "FAILED_PRECONDITION", f'Serving signature key "{name}" not found.'
                )
            inputs = _inputs(request, signature)
            aliases = _aliases(request, signature)
        except BaseException:
            lease.release()
            raise
        timeout = min(context.time_remaining() or math.inf, LONGEST_SECONDS)
        outputs = self._predictor.predict(lease, name, signature, inputs, timeout, "GRPC")
        answer = predict_pb2.PredictResponse(model_spec=_spec(lease, name))
        for alias in aliases:
            answer.outputs[alias].CopyFrom(to_proto(outputs[alias]))
        return answer

    def _metadata(self, request: Message) -> Message:
        if not request.metadata_field:
            raise invalid_argument("GetModelMetadataRequest must specify at least one field")
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid_argument(f"Metadata field {name} is not supported")
        lease = _lease(self._predictor, request)
        try:
            answer = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=_spec(lease))
            signatures = get_model_metadata_pb2.SignatureDefMap(
                signature_def=lease.model.signatures
            )
            answer.metadata["signature_def"].Pack(signatures)
            return answer
        finally:
            lease.release()


def _inputs(request: Message, signature: Signature) -> dict:
    sent, wanted = set(request.inputs), set(signature.inputs)
    if sent != wanted:
        lists = [",".join(sorted(names)) for names in (sent, wanted, sent - wanted, wanted - sent)]
        raise invalid_argument(
            f"input size does not match signature: {len(sent)}!={len(wanted)} len({{{lists[0]}}}) "
            f"!= len({{{lists[1]}}}). Sent extra: {{{lists[2]}}}. Missing but required: "
            f"{{{lists[3]}}}."
        )
    inputs = {}
    for name, proto in request.inputs.items():
        try:
            inputs[name] = to_array(proto, MOST_MESSAGE_BYTES)
        except (ValueError, TypeError) as error:
            raise invalid_argument(f"tensor parsing error: {name}") from error
    return inputs


def _aliases(request: Message, signature: Signature) -> list[str]:
    aliases = list(request.output_filter) or list(signature.outputs)
    for alias in aliases:
        if alias not in signature.outputs:
            raise invalid_argument(f"output tensor alias not found in signature: {alias}")
        if aliases.count(alias) > 1:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return aliases


class _Management(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, predictor: Predictor):
        self._models = predictor.models

    def GetModelStatus(self, request, context):  # noqa: N802
        return _answered(context, lambda: self._status(request))

    def HandleReloadConfigRequest(self, request, context):  # noqa: N802
        return _answered(context, lambda: self._reload(request))

    def _status(self, request: Message) -> Message:
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        spec = request.model_spec
        number = spec.version.value if spec.HasField("version") else None
        answer = get_model_status_pb2.GetModelStatusResponse()
        states = get_model_status_pb2.ModelVersionStatus.State
        for version, state, error in self._models.status(spec.name, number):
            row = answer.model_version_status.add(version=version, state=states.Value(state))
            if error is not None:
                row.status.error_code, row.status.error_message = error.number, error.message
        return answer

    def _reload(self, request: Message) -> Message:
        self._models.reload(configuration.models(request.config))
        return model_management_pb2.ReloadConfigResponse()


class _Token(grpc.ServerInterceptor):
    def __init__(self, token: str):
        self._wanted = f"Bearer {token}".encode()

        def refuse(request, context):
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "A valid token is needed")

        self._refusal = grpc.unary_unary_rpc_method_handler(refuse)

    def intercept_service(self, continuation, details):
        if details.method.startswith("/grpc.health."):  # Probes bear no token, and learn nothing.
            return continuation(details)
        given = dict(details.invocation_metadata).get("authorization", "")
        allowed = hmac.compare_digest(str(given).encode(), self._wanted)
        return continuation(details) if allowed else self._refusal


def start(
    predictor: Predictor, host: str, port: int, token: str | None = None
) -> tuple[grpc.Server, int]:
    """Starts the gRPC server; returns it and its port (another than `port` if that is 0)."""
    server = grpc.server(
        ThreadPoolExecutor(32, "rpc"),
        interceptors=[_Token(token)] if token else [],
        options=[
            ("grpc.max_receive_message_length", MOST_MESSAGE_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        _Prediction(predictor), server
    )
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Management(predictor), server)
    healthy = health.HealthServicer()
    healthy.set("", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(healthy, server)
    bound = server.add_insecure_port(f"{host}:{port}")
    server.start()
    return server, bound

"""The gRPC services PredictionService and ModelService, with TensorFlow Serving's stubs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import grpc
from google.protobuf.message import DecodeError, Message
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from tf_sg2.serving.server.execution.memory import Hold
from tf_sg2.serving.server.execution.predict import (
    DEFAULT_SIGNATURE,
    Predictor,
    Signature,
    signature_of,
)
from tf_sg2.serving.server.grpc.arrivals import Arrivals
from tf_sg2.serving.server.models.version import Lease
from tf_sg2.serving.server.wire import config_files
from tf_sg2.serving.server.wire.errors import (
    ServingError,
    from_exception,
    invalid_argument,
    without_frames,
)
from tf_sg2.serving.server.wire.tensors import held_bytes, to_array, to_proto
from tf_sg2.serving.token_file import is_borne

Context: TypeAlias = grpc.aio.ServicerContext
Answer = Callable[[Message, Context, Hold], Awaitable[Message | bytes]]


class Services:
    """The methods of both services. A request stays bytes until there is memory for it."""

    def __init__(self, predictor: Predictor, as_content: bool):
        self._predictor, self._models = predictor, predictor.models
        self._as_content = as_content

    async def predict(self, request: Message, context: Context, hold: Hold) -> bytes:
        """Answers Predict."""
        convert = self._predictor.convert
        lease = self._lease(request)
        hold.at_release(lease.release)
        name = request.model_spec.signature_name or DEFAULT_SIGNATURE
        signature = signature_of(lease, name)
        if signature is None:
            raise ServingError("FAILED_PRECONDITION", f'Serving signature key "{name}" not found.')
        most = self._predictor.limits.message_bytes
        inputs = await convert(request.ByteSize(), _inputs, request, signature, most, hold)
        aliases = _aliases(request, signature)
        limit = self._predictor.limits.grpc_seconds
        left = context.time_remaining()
        timeout = limit if left is None else min(left, limit)
        outputs = await self._predictor.predict(
            lease, name, signature, inputs, timeout, "GRPC", hold
        )
        del inputs
        size = sum(outputs[alias].nbytes for alias in aliases)

        def answer() -> bytes:
            hold.add(2 * size)  # The message and its bytes.
            made = predict_pb2.PredictResponse(model_spec=_spec(lease, name))
            for alias in aliases:
                made.outputs[alias].CopyFrom(to_proto(outputs[alias], self._as_content))
            return made.SerializeToString()

        made = await convert(size, answer)
        hold.resize(len(made))
        return made

    async def metadata(self, request: Message, *_: object) -> Message:
        """Answers GetModelMetadata."""
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid_argument(
                "GetModelMetadataRequest must specify at least one metadata_field"
            )
        for name in request.metadata_field:
            if name != "signature_def":
                raise invalid_argument(f"Metadata field {name} is not supported")
        lease = self._lease(request)
        try:
            answer = get_model_metadata_pb2.GetModelMetadataResponse(model_spec=_spec(lease))
            signatures = get_model_metadata_pb2.SignatureDefMap(
                signature_def=lease.model.signatures
            )
            answer.metadata["signature_def"].Pack(signatures)
            return answer
        finally:
            lease.release()

    async def unserved(self, request: Message, *_: object) -> Message:
        """Refuses Classify, Regress and MultiInference; no exported signature is of their kind."""
        if not isinstance(request, inference_pb2.MultiInferenceRequest):
            self._lease(request).release()
        what = type(request).__name__.removesuffix("Request")
        raise ServingError("UNIMPLEMENTED", f"{what} is not served here")

    async def status(self, request: Message, *_: object) -> Message:
        """Answers GetModelStatus."""
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

    async def reload(self, request: Message, *_: object) -> Message:
        """Answers HandleReloadConfigRequest."""
        if request.config.WhichOneof("config") != "model_config_list":
            raise invalid_argument(
                "ServerModelConfig type not supported by HandleReloadConfigRequest. "
                "Only ModelConfigList is currently supported"
            )
        configs = config_files.models(request.config)
        await asyncio.get_running_loop().run_in_executor(None, self._models.reload, configs)
        return model_management_pb2.ReloadConfigResponse()

    def _lease(self, request: Message) -> Lease:
        if not request.HasField("model_spec"):
            raise invalid_argument("Missing ModelSpec")
        spec = request.model_spec
        choice = spec.WhichOneof("version_choice")
        number = spec.version.value if choice == "version" else None
        label = spec.version_label if choice == "version_label" else None
        return self._models.acquire(spec.name, number, label)

    def handlers(self, token: str | None) -> list[grpc.GenericRpcHandler]:
        """Returns the services as gRPC's server takes them."""
        services: dict[str, dict[str, tuple[type[Message], Answer]]] = {
            "tensorflow.serving.PredictionService": {
                "Predict": (predict_pb2.PredictRequest, self.predict),
                "GetModelMetadata": (get_model_metadata_pb2.GetModelMetadataRequest, self.metadata),
                "Classify": (classification_pb2.ClassificationRequest, self.unserved),
                "Regress": (regression_pb2.RegressionRequest, self.unserved),
                "MultiInference": (inference_pb2.MultiInferenceRequest, self.unserved),
            },
            "tensorflow.serving.ModelService": {
                "GetModelStatus": (get_model_status_pb2.GetModelStatusRequest, self.status),
                "HandleReloadConfigRequest": (
                    model_management_pb2.ReloadConfigRequest,
                    self.reload,
                ),
            },
        }
        arrivals = Arrivals(self._predictor.limits)
        return [
            grpc.method_handlers_generic_handler(
                service,
                {
                    name: _handler(self._predictor, arrivals, token, kind, answer)
                    for name, (kind, answer) in methods.items()
                },
            )
            for service, methods in services.items()
        ]


def _handler(
    predictor: Predictor,
    arrivals: Arrivals,
    token: str | None,
    kind: type[Message],
    answer: Answer,
) -> grpc.RpcMethodHandler:
    """Returns the handler of a call with one request and one answer.

    It is registered with a stream of requests, which is the same to clients. So the server can
    check the token before it receives the message, and has a time limit for the message.
    """

    async def answered(context: Context) -> bytes | ServingError:
        name = ""
        try:
            given = dict(context.invocation_metadata() or ()).get("authorization", "")
            if not is_borne(token, str(given).encode()):
                raise ServingError("UNAUTHENTICATED", "A valid token is needed")
            raw = await arrivals.read(context.read)
            if not isinstance(raw, bytes):
                raise invalid_argument("The call holds no request")
            hold = predictor.budget.hold("RESOURCE_EXHAUSTED")
            context.add_done_callback(lambda _: hold.release())  # After the answer is sent.
            hold.add(2 * len(raw))  # The bytes and the message.
            try:
                request = await predictor.convert(len(raw), kind.FromString, raw)
            except DecodeError as error:
                raise invalid_argument(f"The request is no {kind.__name__}") from error
            hold.add(-len(raw))
            del raw
            name = request.model_spec.name if hasattr(request, "model_spec") else ""
            made = await answer(request, context, hold)
            return made if isinstance(made, bytes) else made.SerializeToString()
        except Exception as error:
            failure = from_exception(error)
            without_frames(error)
            if not failure.counted:
                predictor.count_refusal(name, failure)
            return failure

    async def call(_: object, context: Context) -> bytes:
        made = await answered(context)
        if isinstance(made, bytes):
            return made
        # gRPC keeps this frame in a reference cycle, so it must not refer to the request.
        await context.abort(getattr(grpc.StatusCode, made.code), made.message)
        return b""  # Not reached, because abort raises.

    return grpc.stream_unary_rpc_method_handler(call)


def _spec(lease: Lease, signature: str = "") -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=lease.name, signature_name=signature)
    spec.version.value = lease.number
    return spec


def _inputs(request: Message, signature: Signature, most_bytes: int, hold: Hold) -> dict:
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
        copies = 2 * proto.ByteSize()
        hold.add(copies)
        try:
            inputs[name] = to_array(proto, most_bytes)
        except (ValueError, TypeError, OverflowError) as error:
            raise invalid_argument(f"tensor parsing error: {name}") from error
        hold.add(held_bytes([inputs[name]]) - copies)
    return inputs


def _aliases(request: Message, signature: Signature) -> list[str]:
    aliases = list(request.output_filter) or list(signature.outputs)
    for alias in aliases:
        if alias not in signature.outputs:
            raise invalid_argument(f"output tensor alias not found in signature: {alias}")
        if aliases.count(alias) > 1:
            raise invalid_argument(f"duplicate output tensor alias: {alias}")
    return aliases

"""Random bodies, paths, messages and tensors get a clear error, and the server goes on.

By default 200 of each are tried, always the same. TF_SG2_FUZZ=5000 tries 5000 random ones.
"""

from __future__ import annotations

import http.client
import json
import os

import grpc
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow_serving.apis import predict_pb2

from local_server import PREDICT, request, serving, write_stub
from tf_sg2.serving.server.limits import Limits

pytestmark = pytest.mark.slow

EXAMPLES = int(os.environ.get("TF_SG2_FUZZ", "0"))
fuzz = settings(
    max_examples=EXAMPLES or 200,
    derandomize=not EXAMPLES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
SIGNATURES = ("serving_default", "echo", "both")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    model = write_stub(tmp_path_factory.mktemp("models"))
    limits = Limits(body_bytes=1 << 20, message_bytes=1 << 20)
    with serving(model, limits=limits) as local:
        local.http = http.client.HTTPConnection("127.0.0.1", local.port, timeout=20)
        yield local
        local.http.close()


def sent(local, body, path=PREDICT, method="POST", headers=None):
    local.http.request(method, path, body, headers or {})
    answer = local.http.getresponse()
    content = answer.read()
    return answer.status, content


def check(local, *arguments, **named):
    status, content = sent(local, *arguments, **named)
    assert status in (200, 400, 404, 413, 501, 503), content
    if status != 200 and named.get("path", PREDICT).startswith("/v1/"):
        assert set(json.loads(content)) == {"error"}
    good = sent(local, b'{"instances": [[1, 2]]}')
    assert good[0] == 200
    assert json.loads(good[1]) == {"predictions": [[1, 2]]}


numbers = st.one_of(
    st.integers(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from([-1, 0, 1, 1e39, -0.0, 2**63, -(2**63)]),
)
leaves = st.one_of(
    st.none(), st.booleans(), numbers, st.text(max_size=8), st.just({"b64": "aGk="}),
    st.builds(lambda text: {"b64": text}, st.text(max_size=8)),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.dictionaries(st.sampled_from(["z", "text", "seed", "flag", "b64", "x"]), inner),
    ),
    max_leaves=20,
)
rows = st.lists(st.lists(numbers, min_size=2, max_size=2), max_size=20)
bodies = st.dictionaries(
    st.sampled_from(["instances", "inputs", "signature_name", "x"]),
    st.one_of(values, rows, st.sampled_from(SIGNATURES)),
    max_size=3,
)
named = st.builds(
    lambda name, key, value: {"signature_name": name, key: value},
    st.sampled_from(SIGNATURES),
    st.sampled_from(["instances", "inputs"]),
    st.one_of(
        values, rows, st.fixed_dictionaries({"seed": values, "flag": values}),
        st.lists(st.fixed_dictionaries({"seed": numbers, "flag": leaves}), max_size=4),
    ),
)  # fmt: skip


@fuzz
@example(body={"signature_name": "both", "instances": [{"b64": "aGk="}]})
@given(body=st.one_of(bodies, named, values))
def test_any_json_is_answered(local, body):
    check(local, json.dumps(body).encode("utf-8", "surrogatepass"))


GOOD = json.dumps({"signature_name": "echo", "instances": [{"b64": "aGk="}, "x\u00e9", "\\n"]})


@fuzz
@given(
    body=st.one_of(
        st.binary(max_size=200),
        st.builds(
            lambda at, cut, new: GOOD.encode()[:at] + new + GOOD.encode()[at + cut :],
            st.integers(0, len(GOOD)),
            st.integers(0, 4),
            st.binary(max_size=4),
        ),
    ),
    encoding=st.sampled_from(["", "gzip", "br"]),
)
def test_any_bytes_are_answered(local, body, encoding):
    check(local, body, headers={"Content-Encoding": encoding} if encoding else {})


pieces = [
    "/v1",
    "/models",
    "/stub",
    "/versions",
    "/labels",
    "/1",
    "/99999999999999999999",
    ":predict",
]
pieces += ["/metadata", ":classify", "?x=1", "%2e", "%", "//", "\\", "/\u00e9".encode().hex(), "/x"]


@fuzz
@given(
    path=st.lists(st.sampled_from(pieces), max_size=7).map(lambda found: "/v1" + "".join(found)),
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]),
)
def test_any_path_is_answered(local, path, method):
    check(local, b'{"instances": [[1, 2]]}', path=path, method=method)


def check_rpc(local, call):
    code = details = ""
    try:
        call()
    except grpc.RpcError as error:
        code, details = error.code().name, error.details()
    assert code not in ("INTERNAL", "UNKNOWN"), details
    answer = local.predict.Predict(request(), timeout=10)
    assert tf.make_ndarray(answer.outputs["scaled"]).tolist() == [[1, 2]]


sizes = st.one_of(st.integers(0, 4), st.integers(-(2**63), 2**63 - 1))


def filled(dtype, shape, rank, content, fields):
    proto = TensorProto(dtype=dtype, tensor_content=content)
    proto.tensor_shape.unknown_rank = rank
    for size in shape:
        proto.tensor_shape.dim.add(size=size)
    for name, given_values in fields.items():
        getattr(proto, name).extend(given_values)
    return proto


tensors = st.builds(
    filled,
    st.one_of(st.sampled_from([1, 7, 9, 10]), st.integers(0, 130)),
    st.one_of(st.just([1, 2]), st.lists(sizes, max_size=4)),
    st.integers(0, 9).map(lambda number: number == 9),
    st.one_of(st.just(b""), st.just(bytes(8)), st.binary(max_size=40)),
    st.fixed_dictionaries(
        {},
        optional={
            "float_val": st.lists(st.floats(width=32), max_size=4),
            "double_val": st.lists(st.floats(), max_size=2),
            "int_val": st.lists(st.integers(-(2**31), 2**31 - 1), max_size=3),
            "int64_val": st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3),
            "string_val": st.lists(st.binary(max_size=5), max_size=3),
            "half_val": st.lists(st.integers(0, 2**31 - 1), max_size=2),
            "bool_val": st.lists(st.booleans(), max_size=3),
        },
    ),
)


@fuzz
@given(
    inputs=st.dictionaries(st.sampled_from(["z", "text", "seed", "flag"]), tensors, max_size=3),
    signature=st.sampled_from(["", *SIGNATURES, "nope", "__saved_model_init_op"]),
    outputs=st.lists(st.sampled_from(["scaled", "seed", "x"]), max_size=2),
    version=st.one_of(st.none(), st.sampled_from([0, 1, -1, 2**63 - 1])),
)
def test_any_tensors_are_answered(local, inputs, signature, outputs, version):
    made = predict_pb2.PredictRequest(output_filter=outputs)
    made.model_spec.name, made.model_spec.signature_name = "stub", signature
    if version is not None:
        made.model_spec.version.value = version
    for name, proto in inputs.items():
        made.inputs[name].CopyFrom(proto)
    check_rpc(local, lambda: local.predict.Predict(made, timeout=10))


@fuzz
@example(proto=filled(19, [1, 2], False, b"", {"half_val": [1 << 16]}))
@given(proto=tensors)
def test_any_tensor_for_a_float_input_is_answered(local, proto):
    made = predict_pb2.PredictRequest()
    made.model_spec.name = "stub"
    made.inputs["z"].CopyFrom(proto)
    check_rpc(local, lambda: local.predict.Predict(made, timeout=10))


METHODS = {
    "PredictionService": ("Predict", "Classify", "Regress", "MultiInference", "GetModelMetadata"),
    "ModelService": ("GetModelStatus",),
}
CALLS = [
    f"/tensorflow.serving.{service}/{name}" for service, names in METHODS.items() for name in names
]


@fuzz
@given(call=st.sampled_from([*CALLS, "/x/y"]), message=st.binary(max_size=60))
def test_any_message_is_answered(local, call, message):
    raw = local.channel.unary_unary(call)
    check_rpc(local, lambda: raw(message, timeout=10))

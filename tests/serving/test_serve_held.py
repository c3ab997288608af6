"""A running server frees the memory of a request when its client leaves or does not read."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import socket
import threading
import time
import tracemalloc
import weakref

import grpc
import numpy as np
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tensorflow_serving.apis import predict_pb2

from local_server import PREDICT, ROW, ask, request, serving, wait_for, write_stub
from tf_sg2.serving.server.grpc import health, services
from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.wire import json_requests

MIB = 1 << 20


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_stub(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def local(model):
    limits = Limits(arrival_seconds=2, answer_seconds=1, rest_seconds=2)
    with serving(model, limits=limits, batching=None) as local:
        yield local
        wait_for(lambda: is_empty(local))


def is_empty(local):
    """Whether nothing of any request is held, and the model is not in use."""
    budget = local.predictor.budget
    (entry,) = local.predictor.models._models.values()
    return budget.left == budget.most_bytes and not entry.versions[1].users


def post(port, body, headers=""):
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # Else it takes megabytes.
    client.settimeout(20)
    client.connect(("127.0.0.1", port))
    headers += f"Host: localhost\r\nContent-Length: {len(body)}\r\n"
    head = f"POST {PREDICT} HTTP/1.1\r\n{headers}\r\n"
    client.sendall(head.encode() + body)
    return client


ECHO = json.dumps({"signature_name": "echo", "instances": ["x" * (6 * MIB)]}).encode()
LARGE_ROWS = {"instances": [[0.5, 1.5]] * 20_000}


def test_a_body_that_is_small_only_as_gzip_is_refused_before_it_is_parsed(local):
    body = gzip.compress(b'{"instances": [' + b"[]," * (8 * MIB // 3 - 10) + b"[]]}")
    assert len(body) < 12_000
    answers = []

    def send():
        answers.append(ask(local.port, "POST", PREDICT, body, {"Content-Encoding": "gzip"}))

    threads = [threading.Thread(target=send) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {status for status, _ in answers} <= {503, 504}
    assert any("set aside" in answer["error"] for _, answer in answers)
    wait_for(lambda: is_empty(local))


@pytest.fixture
def slow_parsing(monkeypatch):
    """Parsing that waits until it is released: `.entered` and `.go_on` are events."""
    parse, gate = json_requests.parse, threading.Event()
    gate.entered = threading.Event()

    def slow(body):
        if len(body) > 1 << 15:
            gate.entered.set()
            assert gate.wait(20)
        return parse(body)

    monkeypatch.setattr(json_requests, "parse", slow)
    yield gate
    gate.set()


def test_the_deadline_covers_the_conversion(local, slow_parsing):
    begin = time.monotonic()
    answer = ask(local.port, "POST", PREDICT, LARGE_ROWS)
    assert answer == (504, {"error": "Timed out"})
    assert time.monotonic() - begin < 5
    slow_parsing.set()
    wait_for(lambda: is_empty(local))


def test_nothing_is_held_for_a_client_that_leaves_during_the_conversion(local, slow_parsing):
    with post(local.port, json.dumps(LARGE_ROWS).encode()):
        assert slow_parsing.entered.wait(10)
    budget = local.predictor.budget
    wait_for(lambda: budget.left == budget.most_bytes)
    slow_parsing.set()
    wait_for(lambda: is_empty(local))
    assert ask(local.port, "POST", PREDICT, ROW)[0] == 200


def test_an_answer_is_counted_until_it_is_fetched(local):
    budget = local.predictor.budget
    with post(local.port, ECHO, "Connection: close\r\n") as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        time.sleep(0.3)
        assert budget.most_bytes - budget.left > 7 * MIB
        while client.recv(1 << 20):
            pass
    wait_for(lambda: is_empty(local))


def test_an_answer_that_is_not_fetched_is_dropped(local):
    with post(local.port, ECHO) as client:
        assert client.recv(1000).startswith(b"HTTP/1.1 200")
        wait_for(lambda: is_empty(local), 8)
        assert local.predictor.metrics.refused.value("slow")


def large_request(count):
    made = request()
    made.inputs["z"].CopyFrom(tf.make_tensor_proto(np.ones([count // 8, 2], np.float32)))
    return made


def test_a_message_of_megabytes_arrives_by_default(local):
    assert Limits().message_bytes == 64 * MIB
    answer = local.channel.unary_unary(
        "/tensorflow.serving.PredictionService/Predict",
        predict_pb2.PredictRequest.SerializeToString,
    )
    with pytest.raises(grpc.RpcError) as caught:  # Only this client's limit is in the way.
        answer(large_request(24 * MIB), timeout=20)
    assert "Received message larger than max" in caught.value.details()
    wait_for(lambda: is_empty(local))


def test_a_grpc_answer_is_counted_until_it_is_fetched(local):
    options = [("grpc.max_receive_message_length", -1), ("grpc.http2.bdp_probe", 0)]
    budget = local.predictor.budget
    with grpc.insecure_channel(f"127.0.0.1:{local.rpc_port}", options) as channel:
        call = channel.unary_stream(
            "/tensorflow.serving.PredictionService/Predict",
            predict_pb2.PredictRequest.SerializeToString,
        )
        answers = call(large_request(8 * MIB), timeout=30)
        wait_for(lambda: local.predictor.metrics.request_count.value("stub", "OK"))
        time.sleep(0.5)
        assert budget.most_bytes - budget.left >= 8 * MIB
        assert len(next(answers)) > 8 * MIB
        wait_for(lambda: is_empty(local))
        unread = call(large_request(8 * MIB), timeout=30)
        wait_for(lambda: budget.most_bytes - budget.left >= 8 * MIB)
        unread.cancel()
        wait_for(lambda: is_empty(local))


def never(event):
    event.wait(20)
    yield request()


def open_calls(channel, name, count, event):
    call = channel.stream_unary(name, predict_pb2.PredictRequest.SerializeToString, lambda raw: raw)
    return [call.future(never(event), timeout=20) for _ in range(count)]


def test_health_calls_take_only_a_part_of_the_calls(model):
    limits = Limits(calls=64, arrival_seconds=2)
    release = threading.Event()
    with serving(model, limits=limits) as local:
        stub = health_pb2_grpc.HealthStub(local.channel)
        watches = []
        for _ in range(4):
            watches.append(stub.Watch(health_pb2.HealthCheckRequest()))
            assert next(watches[-1]).status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            next(stub.Watch(health_pb2.HealthCheckRequest()))
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        channels = [
            grpc.insecure_channel(
                f"127.0.0.1:{local.rpc_port}", [("grpc.use_local_subchannel_pool", 1)]
            )
            for _ in range(4)
        ]
        try:
            for channel in channels:  # Sixteen streams at a time are allowed for one.
                open_calls(channel, "/grpc.health.v1.Health/Check", 16, release)
            time.sleep(0.5)
            assert local.predict.Predict(request(), timeout=10)
            wait_for(lambda: stub.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1)
        finally:
            release.set()
            for channel in channels:
                channel.close()
        watches[0].cancel()

        def may_watch():
            try:
                return next(stub.Watch(health_pb2.HealthCheckRequest())).status == 1
            except grpc.RpcError:
                return False

        wait_for(may_watch)


class Watcher:
    """The context of a health call, of a client that reads only if `reads`."""

    def __init__(self, reads):
        self.reads, self.statuses = reads, []

    async def read(self):
        return health_pb2.HealthCheckRequest()

    async def write(self, response):
        if not self.reads:
            await asyncio.Event().wait()
        self.statuses.append(response.status)


def test_watchers_that_leave_or_do_not_read_do_not_keep_others_from_the_last_status():
    async def watch():
        service = health.Health(Limits())
        watchers = [Watcher(reads) for reads in (False, True, True)]
        stuck, leaving, good = (
            asyncio.ensure_future(service.watch(None, watcher)) for watcher in watchers
        )
        await asyncio.sleep(0.05)
        leaving.cancel()
        await asyncio.wait({leaving}, timeout=10)
        stop = asyncio.ensure_future(service.stop())
        await asyncio.wait_for(good, 10)  # It ends after the last status.
        stuck.cancel()  # As the end of the grace period does.
        await asyncio.wait_for(stop, 10)
        return watchers[2].statuses

    response = health_pb2.HealthCheckResponse
    assert asyncio.run(watch()) == [response.SERVING, response.NOT_SERVING]


def test_slow_messages_make_room_for_others(model):
    limits = Limits(arrival_seconds=15, memory_bytes=4 * MIB, message_bytes=2 * MIB)
    release = threading.Event()
    with serving(model, limits=limits) as local:
        slow = open_calls(
            local.channel, "/tensorflow.serving.PredictionService/Predict", 4, release
        )
        begin = time.monotonic()
        assert local.predict.Predict(request(), timeout=14)
        assert time.monotonic() - begin < 8
        release.set()
        assert any(call.exception(20) is None for call in slow)


def test_grpc_connections_are_bounded(model):
    hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"
    with serving(model, limits=Limits(grpc_connections=3)) as local:
        clients = []
        try:
            for _ in range(8):
                client = socket.create_connection(("127.0.0.1", local.rpc_port), timeout=10)
                clients.append(client)
                client.sendall(hello)
            answered = []
            for client in clients:
                try:
                    answered.append(bool(client.recv(100)))
                except ConnectionError:
                    answered.append(False)
            assert answered.count(True) == 3
        finally:
            for client in clients:
                client.close()
        assert ask(local.port, "POST", PREDICT, ROW)[0] == 200
        assert local.predict.Predict(request(), timeout=10, wait_for_ready=True)


class Document(dict):
    """A document that can be watched."""


@pytest.fixture
def made(monkeypatch):
    """Weak references to the documents and arrays of requests, without a garbage collector."""
    made = []

    def watched(module, name, wrap):
        function = getattr(module, name)

        def call(*arguments):
            value = wrap(function(*arguments))
            made.append(weakref.ref(value))
            return value

        monkeypatch.setattr(module, name, call)

    watched(json_requests, "parse", Document)
    watched(services, "to_array", np.array)
    gc.collect()
    gc.disable()
    yield made
    gc.enable()


@pytest.mark.parametrize(
    "body",
    [
        {"signature_name": "nope", "instances": [[1, 2]]},
        {"instances": [["x", 2]]},
        {"instances": [[-1, 2]]},
        {"instances": [[1, 2], [3]]},
    ],
)
def test_a_refused_rest_request_is_freed_without_the_collector(local, made, body):
    assert ask(local.port, "POST", PREDICT, body)[0] == 400
    wait_for(lambda: [reference() is None for reference in made] == [True], 5)


@pytest.mark.parametrize("wrong", ["alias", "row"])
def test_a_refused_grpc_request_is_freed_without_the_collector(local, made, wrong):
    message = request([[-1, 2]] if wrong == "row" else [[1, 2]])
    if wrong == "alias":
        message.output_filter.append("nope")
    with pytest.raises(grpc.RpcError):
        local.predict.Predict(message, timeout=10)
    wait_for(lambda: [reference() is None for reference in made] == [True], 5)


def test_messages_without_room_are_freed_without_the_collector(model):
    message = large_request(8 * MIB)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        with serving(model, limits=Limits(memory_bytes=4 * MIB)) as local:
            for _ in range(4):
                with pytest.raises(grpc.RpcError) as caught:
                    local.predict.Predict(message, timeout=10)
                assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
                assert "set aside for all requests" in caught.value.details()
            wait_for(lambda: tracemalloc.get_traced_memory()[0] < 12 * MIB, 5)
    finally:
        tracemalloc.stop()
        gc.enable()

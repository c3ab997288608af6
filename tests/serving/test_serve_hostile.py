"""Full queues, deadlines, limits, bad rows and hostile clients: a clear error, others unharmed."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import re
import resource
import select
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import grpc
import pytest
import tensorflow as tf
from grpc_health.v1 import health_pb2, health_pb2_grpc
from starlette.requests import ClientDisconnect
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    predict_pb2,
    regression_pb2,
)

from local_server import PREDICT, ROW, ask, request, serving, shut_gate, wait_for, write_stub
from tf_sg2.serving.server.app import _warn_if_public
from tf_sg2.serving.server.http.rest import _unless_disconnected
from tf_sg2.serving.server.limits import Limits
from tf_sg2.serving.server.settings import Settings
from tf_sg2.serving.server.wire.config_files import BatchingParameters
from tf_sg2.serving.server.wire.errors import ServingError

pytestmark = pytest.mark.slow

MIB = 1 << 20


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_stub(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def local(model):
    limits = Limits(body_bytes=4 * MIB, message_bytes=4 * MIB, arrival_seconds=4)
    with serving(model, limits=limits) as local:
        yield local


def refused(call, *arguments, **named):
    with pytest.raises(grpc.RpcError) as caught:
        call(*arguments, **{"timeout": 10, **named})
    return caught.value.code().name


def result(future):
    try:
        answer = future.result(20)
    except grpc.RpcError as error:
        return error.code().name
    return tf.make_ndarray(answer.outputs["scaled"]).tolist()


def test_a_request_that_is_late_in_the_queue_is_never_run(model, monkeypatch):
    limits = Limits(rest_seconds=0.3)
    with shut_gate(monkeypatch) as gate, serving(model, limits=limits) as local:
        first = local.predict.Predict.future(request([[1, 1]]), timeout=20)
        assert gate.entered.acquire(timeout=10)
        assert refused(local.predict.Predict, request([[2, 2]]), timeout=0.3) == "DEADLINE_EXCEEDED"
        status, answer = ask(local.port, "POST", PREDICT, {"instances": [[3, 3]]})
        assert (status, answer) == (504, {"error": "Timed out"})
        cancelled = local.predict.Predict.future(request([[4, 4]]), timeout=20)
        queued = local.predictor.metrics.queued
        wait_for(lambda: queued.value("stub") == 3)
        cancelled.cancel()
        time.sleep(1)
        gate.opened.set()
        assert result(first) == [[1, 1]]
        assert result(local.predict.Predict.future(request([[5, 5]]), timeout=20)) == [[5, 5]]
        ran = [next(iter(feeds.values())).tolist() for feeds in gate.ran]
        assert ran == [[[1, 1]], [[5, 5]]]


def test_a_request_is_dropped_when_its_rest_client_disconnects(model, monkeypatch):
    with shut_gate(monkeypatch) as gate, serving(model) as local:
        first = local.predict.Predict.future(request([[1, 1]]), timeout=20)
        assert gate.entered.acquire(timeout=10)
        with socket.create_connection(("127.0.0.1", local.port)) as client:
            body = json.dumps(ROW).encode()
            head = f"POST {PREDICT} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            head += f"Content-Length: {len(body)}\r\n\r\n"
            client.sendall(head.encode() + body)
            wait_for(lambda: local.predictor.metrics.queued.value("stub") == 1)
        count = local.predictor.metrics.request_count
        wait_for(lambda: count.value("stub", "CANCELLED") == 1)
        gate.opened.set()
        assert result(first) == [[1, 1]]
    assert len(gate.ran) == 1


def exchange(port, *pieces, meanwhile=lambda: None):
    """What the server sends to a client that sends the pieces, then only listens."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        for piece in pieces:
            client.sendall(piece)
        client.shutdown(socket.SHUT_WR)
        meanwhile()
        answer = bytearray()
        while piece := client.recv(1 << 16):
            answer += piece
    return bytes(answer)


def raw_request(*headers, version="1.1"):
    body = json.dumps(ROW)
    lines = [f"POST {PREDICT} HTTP/{version}", "Host: 127.0.0.1", *headers]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_clients_that_half_close_get_their_answers(local, version):
    answer = exchange(local.port, raw_request(version=version))
    assert b" 200 OK\r\n" in answer
    assert b'"predictions"' in answer
    answer = exchange(local.port, raw_request() * 3)
    assert answer.count(b" 200 OK\r\n") == 3


def test_a_client_that_half_closes_may_wait_long(model, monkeypatch):
    with shut_gate(monkeypatch) as gate, serving(model) as local:

        def meanwhile():
            assert gate.entered.acquire(timeout=10)
            time.sleep(1.2)  # The server asks twice whether anybody is there.
            gate.opened.set()

        answer = exchange(local.port, raw_request(), meanwhile=meanwhile)
        interim, _, rest = answer.partition(b"HTTP/1.1 200 OK")
        assert interim
        assert not interim.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b"")
        assert b'"predictions"' in rest


def test_half_a_request_gets_no_answer(local):
    assert exchange(local.port, raw_request()[:-1]) == b""


def test_a_request_with_both_lengths_is_the_last_of_its_connection(local):
    """Two servers in a row may disagree where it ends: what follows could be smuggled in."""
    chunked = raw_request("Transfer-Encoding: chunked")
    head, _, body = chunked.partition(b"\r\n\r\n")
    chunked = head + b"\r\n\r\n%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n"
    answer = exchange(local.port, chunked, raw_request())
    assert answer.count(b"HTTP/1.1 200 OK") == 1
    assert exchange(local.port, raw_request(), raw_request()).count(b"HTTP/1.1 200 OK") == 2


def test_the_error_of_work_whose_client_left_is_not_reported():
    """Work may end with its own error in the moment in which it is cancelled."""
    said = []

    async def work():
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError as error:
            raise ServingError("INVALID_ARGUMENT", "a bad row") from error

    async def receive():
        await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
        with pytest.raises(ClientDisconnect):
            await _unless_disconnected(work(), receive)

    asyncio.run(main())
    gc.collect()
    assert said == []


def test_a_full_queue_says_unavailable_and_the_rest_is_answered(model, monkeypatch):
    batching = BatchingParameters(2, max_enqueued_batches=2, num_batch_threads=1)
    with shut_gate(monkeypatch) as gate, serving(model, batching=batching) as local:
        first = local.predict.Predict.future(request(), timeout=20)
        assert gate.entered.acquire(timeout=10)
        rows = [[[row, row]] for row in range(4)]
        queued = [local.predict.Predict.future(request(row), timeout=20) for row in rows]
        wait_for(lambda: local.predictor.metrics.queued.value("stub") == 4)
        assert refused(local.predict.Predict, request()) == "UNAVAILABLE"
        assert ask(local.port, "POST", PREDICT, ROW)[0] == 503
        gate.opened.set()
        assert result(first) == [[1, 2]]
        assert [result(future) for future in queued] == rows


def test_a_bad_row_fails_only_its_own_request(model, monkeypatch):
    with shut_gate(monkeypatch) as gate, serving(model) as local:
        first = local.predict.Predict.future(request(), timeout=20)
        assert gate.entered.acquire(timeout=10)
        rows = [[[2, 2]], [[-1, 0]], [[3, 3]]]
        queued = [local.predict.Predict.future(request(row), timeout=20) for row in rows]
        wait_for(lambda: local.predictor.metrics.queued.value("stub") == 3)
        gate.opened.set()
        assert result(first) == [[1, 2]]
        assert [result(future) for future in queued] == [[[2, 2]], "INVALID_ARGUMENT", [[3, 3]]]
    assert [len(next(iter(feeds.values()))) for feeds in gate.ran] == [1, 3, 1, 1, 1]


def test_stop_answers_requests_in_flight_and_notifies_watchers(model, monkeypatch):
    with shut_gate(monkeypatch) as gate, serving(model) as local:
        watch = health_pb2_grpc.HealthStub(local.channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        first = local.predict.Predict.future(request(), timeout=20)
        rest = []
        thread = threading.Thread(
            target=lambda: rest.append(ask(local.port, "POST", PREDICT, {"instances": [[7, 7]]}))
        )
        assert gate.entered.acquire(timeout=10)
        thread.start()
        wait_for(lambda: local.predictor.metrics.queued.value("stub") == 1)
        ended = local.server.stop(10)
        local.web.should_exit = True
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert not ended.wait(0.2)
        gate.opened.set()
        assert result(first) == [[1, 2]]
        assert ended.wait(5)
        thread.join(10)
        assert rest == [(200, {"predictions": [[7, 7]]})]


def test_messages_over_the_limits_are_refused(local):
    large = predict_pb2.PredictRequest()
    large.model_spec.name = "stub"
    large.inputs["z"].tensor_content = bytes(5 * MIB)
    assert refused(local.predict.Predict, large) == "RESOURCE_EXHAUSTED"
    promised = request()
    promised.inputs["z"].CopyFrom(tf.make_tensor_proto([[1.0, 1.0]], tf.float32))
    promised.inputs["z"].ClearField("tensor_content")
    promised.inputs["z"].float_val.append(1)
    promised.inputs["z"].tensor_shape.dim[0].size = 1 << 40
    assert refused(local.predict.Predict, promised) == "INVALID_ARGUMENT"
    # A body that is declared too long is refused before it is sent.
    with socket.create_connection(("127.0.0.1", local.port), timeout=10) as client:
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {1 << 33}\r\n\r\n"
        client.sendall(head.encode())
        assert b" 413 " in client.recv(1000)
    assert ask(local.port, "POST", PREDICT, ROW)[0] == 200


def test_requests_in_work_share_a_bound_on_memory(model, monkeypatch):
    limits = Limits(memory_bytes=MIB)
    with shut_gate(monkeypatch) as gate, serving(model, limits=limits) as local:
        first = local.predict.Predict.future(request(), timeout=20)
        assert gate.entered.acquire(timeout=10)
        text = "x" * (160 << 10)  # Four times as much while it is converted.
        body = {"signature_name": "echo", "instances": [text]}
        statuses = []
        threads = [
            threading.Thread(
                target=lambda: statuses.append(ask(local.port, "POST", PREDICT, body)[0])
            )
            for _ in range(6)
        ]
        queued = local.predictor.metrics.queued
        for count, thread in enumerate(threads):
            thread.start()
            wait_for(lambda count=count: queued.value("stub") + len(statuses) == count + 1)
        large = request([[0, 0]] * 50_000)
        assert refused(local.predict.Predict, large) == "RESOURCE_EXHAUSTED"
        gate.opened.set()
        for thread in threads:
            thread.join()
        assert result(first) == [[1, 2]]
        assert sorted(statuses) == [200] * 3 + [503] * 3
        assert ask(local.port, "POST", PREDICT, body)[0] == 200  # All of it has been given back.


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (gzip.compress(json.dumps(ROW).encode()), 200, None),
        (gzip.compress(b'{"instances": ') + gzip.compress(b"[[1, 2]]}"), 200, None),
        (gzip.compress(bytes(64 * MIB)), 413, "over the limit"),
        (gzip.compress(json.dumps(ROW).encode())[:-9], 400, "ends within its gzip stream"),
        (b"plain", 400, "not gzip"),
        (b"", 400, "The document is empty"),
    ],
    ids=["good", "members", "bomb", "cut", "plain", "empty"],
)
def test_gzip_bodies_are_inflated_within_the_limit(local, body, status, words):
    got, answer = ask(local.port, "POST", PREDICT, body, {"Content-Encoding": "gzip"})
    assert got == status
    assert words is None or words in answer["error"]


HOSTILE = {
    "deep lists": "[" * 500_000,
    "deep lists inside": '{"instances": ' + "[" * 900 + "]" * 900 + "}",
    "deep objects": '{"a":' * 200_000,
    "a deep list alone": "[" * 900 + "]" * 900,
    "huge batch": '{"instances": [' + "[1,2]," * 500_000 + "[1,2]]}",
    "wrong type": '{"instances": [{"z": "x"}]}',
    "long integer": '{"instances": [[' + "9" * 100_000 + ", 1]]}",
    "bad utf-8": b'{"instances": [["\xff"]]}',
    "lone surrogate": '{"instances": [["\\ud800", 1]]}',
    "null": "null",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies_get_a_clear_error_while_others_are_served(local, name):
    assert ask(local.port, "POST", PREDICT, HOSTILE[name])[0] in (400, 503)
    assert ask(local.port, "POST", PREDICT, ROW) == (200, {"predictions": [[1, 2]]})


def slow_clients(port, count):
    """Connections that send one byte of a request, or a body that never ends."""
    clients = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(count)]
    for index, client in enumerate(clients):
        head = f"POST {PREDICT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n"
        client.sendall(b"P" if index % 2 else head.encode() + b"{")
    return clients


def test_slow_clients_are_ended_and_do_not_slow_others(local):
    clients = slow_clients(local.port, 40)
    try:
        for _ in range(20):
            assert ask(local.port, "POST", PREDICT, ROW)[0] == 200
        assert not select.select(clients, [], [], 0)[0]  # They are all still waited for.
        for index, client in enumerate(clients):
            answer = client.recv(1000)
            assert answer.startswith(b"HTTP/1.1 408 ") or (index % 2 and b" 400 " in answer)
    finally:
        for client in clients:
            client.close()


def test_a_call_without_a_request_ends(local):
    never = threading.Event()

    def nothing():
        never.wait(20)
        yield request()

    call = local.channel.stream_unary(
        "/tensorflow.serving.PredictionService/Predict",
        predict_pb2.PredictRequest.SerializeToString,
        predict_pb2.PredictResponse.FromString,
    )
    begin = time.monotonic()
    assert refused(call, nothing(), timeout=19) == "DEADLINE_EXCEEDED"
    assert time.monotonic() - begin < 15
    never.set()
    assert refused(call, iter(())) == "INVALID_ARGUMENT"


def test_over_the_limit_the_connection_that_waited_longest_is_closed(model):
    with serving(model, limits=Limits(connections=50)) as local:
        clients = slow_clients(local.port, 120)
        try:
            for _ in range(10):
                assert ask(local.port, "POST", PREDICT, ROW)[0] == 200
            connections = local.predictor.metrics.connections
            wait_for(lambda: connections.value() <= 50)
            assert local.predictor.metrics.refused.value("connections") >= 70
        finally:
            for client in clients:
                client.close()


def test_health_checks_need_no_token_and_reveal_no_models(model):
    with serving(model, token="secret") as guarded:
        assert ask(guarded.port, "POST", PREDICT, ROW)[0] == 401
        assert refused(guarded.predict.Predict, request()) == "UNAUTHENTICATED"
        health = health_pb2_grpc.HealthStub(guarded.channel)
        assert health.Check(health_pb2.HealthCheckRequest(), timeout=10).status == 1
        named = health_pb2.HealthCheckRequest(service="stub")
        assert refused(health.Check, named) == "NOT_FOUND"


def test_kinds_of_inference_that_are_not_served_say_so(local):
    for kind, call in (
        (classification_pb2.ClassificationRequest(), local.predict.Classify),
        (regression_pb2.RegressionRequest(), local.predict.Regress),
    ):
        kind.model_spec.name = "stub"
        assert refused(call, kind) == "UNIMPLEMENTED"
        kind.model_spec.name = "x"
        assert refused(call, kind) == "NOT_FOUND"
    several = inference_pb2.MultiInferenceRequest()
    assert refused(local.predict.MultiInference, several) == "UNIMPLEMENTED"
    for method in ("classify", "regress"):
        status, answer = ask(local.port, "POST", f"/v1/models/stub:{method}", {"examples": []})
        assert (status, answer) == (501, {"error": f"{method.capitalize()} is not served here"})


def test_refused_requests_are_counted_but_not_by_invented_names(local):
    count = local.predictor.metrics.request_count
    before = count.value("stub", "INVALID_ARGUMENT")
    ask(local.port, "POST", PREDICT, "x")
    ask(local.port, "POST", "/v1/models/invented:predict", ROW)
    assert count.value("stub", "INVALID_ARGUMENT") == before + 1
    assert "invented" not in local.predictor.metrics.text()


def test_without_batching_a_request_may_have_inputs_of_different_lengths(model):
    body = {"signature_name": "both", "inputs": {"seed": [1, 2], "flag": [True]}}
    with serving(model, batching=None) as local:
        status, answer = ask(local.port, "POST", PREDICT, body)
        assert (status, answer) == (200, {"outputs": {"seed": [1, 2], "flag": [True]}})
        threads = [
            threading.Thread(target=ask, args=(local.port, "POST", PREDICT, ROW)) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert local.predictor.metrics.request_count.value("stub", "OK") == 9


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [
        ("127.0.0.1", None, False),
        ("::1", None, False),
        ("localhost", None, False),
        ("0.0.0.0", None, True),
        ("0.0.0.0", "secret", False),
    ],
)
def test_listening_to_others_without_a_token_is_warned_of(caplog, host, token, warned):
    _warn_if_public(host, token)
    assert ("WITHOUT A TOKEN" in caplog.text) == warned
    assert Settings().host == "127.0.0.1"


def test_thousands_of_connections_and_large_bodies_leave_others_unharmed(model):
    """Ten thousand idle connections, where the system lets a process have as many, and bodies of
    megabytes all the while: a good client still gets every answer, and soon."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count = min(10_000, most - 1000)
    command = [
        sys.executable,
        "-m",
        "tf_sg2.commands.main",
        "serve",
        f"--model_dir={model.base_path}",
    ]
    command += ["--port=0", "--rest_port=0", "--request_arrival_seconds=60"]
    clients, stop = [], threading.Event()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            port = int(re.search(r"http://127.0.0.1:(\d+)", process.stdout.readline())[1])
            assert ask(port, "POST", PREDICT, ROW)[0] == 200
            before = resident_mib(process.pid)
            for index in range(count):
                client = socket.create_connection(("127.0.0.1", port), timeout=20)
                client.sendall(b"POST / HTTP/1.1\r\n" if index % 2 else b"P")
                clients.append(client)
            body = '{"instances": [' + "[1,2]," * 600_000 + "[1,2]]}"

            def attack():
                while not stop.is_set():
                    assert ask(port, "POST", PREDICT, body)[0] in (400, 503)

            attacker = threading.Thread(target=attack)
            attacker.start()
            times = []
            for _ in range(30):
                begin = time.monotonic()
                assert ask(port, "POST", PREDICT, ROW)[0] == 200
                times.append(time.monotonic() - begin)
            stop.set()
            attacker.join()
            grown = resident_mib(process.pid) - before
            print(f"{count} connections, {grown:.0f} MiB, {sorted(times)[15]:.3f} s median")
            assert sorted(times)[15] < 1
            assert max(times) < 15
            assert grown < 1500
        finally:
            stop.set()
            for client in clients:
                client.close()
            process.kill()


def resident_mib(pid):
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB

"""What requests hold is counted: bodies, documents, arrays and answers, until they are sent."""

from __future__ import annotations

import gzip
import json
import re
import time
import tracemalloc

import numpy as np
import pytest

from tf_sg2.serving.server.execution.memory import Budget
from tf_sg2.serving.server.http import bodies
from tf_sg2.serving.server.wire import json_answers, json_memory, json_requests
from tf_sg2.serving.server.wire.errors import ServingError

MIB = 1 << 20


@pytest.fixture
def budget():
    budget = Budget(64 * MIB)
    yield budget
    assert budget.left == budget.most_bytes


def test_a_released_share_cannot_grow(budget):
    hold = budget.hold("UNAVAILABLE")
    hold.add(10)
    hold.release()
    with pytest.raises(ServingError) as caught:
        hold.add(1)
    assert caught.value.code == "CANCELLED"


def test_a_share_calls_at_its_release_once_and_at_once_afterwards(budget):
    calls = []
    hold = budget.hold("UNAVAILABLE")
    hold.add(10)
    hold.at_release(lambda: calls.append("first"))
    other = hold.hand_over(10)
    hold.release()
    assert not calls
    assert budget.left == budget.most_bytes - 10
    other.release()
    other.release()
    hold.at_release(lambda: calls.append("late"))
    assert calls == ["first", "late"]


def test_a_request_over_the_whole_budget_gets_an_error_that_says_so(budget):
    with budget.hold("UNAVAILABLE") as hold, pytest.raises(ServingError, match="a smaller one"):
        hold.add(65 * MIB)
    with budget.hold("UNAVAILABLE") as first, budget.hold("UNAVAILABLE") as second:
        first.add(40 * MIB)
        with pytest.raises(ServingError, match="try again"):
            second.add(40 * MIB)


def test_members_and_zeros_of_a_gzip_body_are_joined(budget):
    parts = [b"a" * 200_000, b"", b"bc", bytes(100_000)]
    body = b"".join(gzip.compress(part) + bytes(3) for part in parts)
    with budget.hold("UNAVAILABLE") as hold:
        assert bodies.inflated(body, MIB, hold) == b"".join(parts)


@pytest.mark.parametrize(
    ("piece", "words"),
    [(gzip.compress(b"", mtime=0), "more than 1000 gzip members"), (b"\0", "not gzip")],
)
def test_a_body_of_many_gzip_members_is_refused_at_once(budget, piece, words):
    body = gzip.compress(b"x") + piece * (3 * MIB // len(piece)) + b"xyz"
    begin = time.monotonic()
    with budget.hold("UNAVAILABLE") as hold, pytest.raises(ServingError, match=words):
        bodies.inflated(body, 8 * MIB, hold)
    assert time.monotonic() - begin < 2


def test_inflating_stops_when_the_client_is_gone(budget):
    hold = budget.hold("UNAVAILABLE")
    add, pieces = hold.add, []

    def add_and_leave(size):
        add(size)
        pieces.append(size)
        if len(pieces) == 3:
            hold.release()

    hold.add = add_and_leave
    with pytest.raises(ServingError, match="given up"):
        bodies.inflated(gzip.compress(bytes(8 * MIB)), 8 * MIB, hold)
    assert len(pieces) == 3


def filled(start: str, piece: str, end: str, size: int = 300_000) -> bytes:
    return (start + ",".join([piece] * (size // (len(piece) + 1))) + end).encode()


DOCUMENTS = {
    "empty lists": filled('{"instances": [', "[]", "]}"),
    "lists of one": filled('{"instances": [', "[1]", "]}"),
    "rows": filled('{"instances": [', "[0.5,1.5]", "]}"),
    "long rows": filled('{"instances": [[', "0.25", "]]}"),
    "large integers": filled('{"instances": [[', "123456789", "]]}"),
    "huge integers": filled('{"instances": [[', "9" * 4000, "]]}"),
    "small integers": filled('{"instances": [[', "1", "]]}"),
    "empty objects": filled('{"instances": [', "{}", "]}"),
    "objects of one": filled('{"instances": [', '{"z":1}', "]}"),
    "objects of lists": filled('{"instances": [', '{"z":[1,2],"p":0.5}', "]}"),
    "base64": filled('{"instances": [', '{"b64":"aGk="}', "]}"),
    "distinct members": filled("{", "%", "}").replace(b"%", b'"%d":1').replace(b"%d", b"%05d"),
    "empty strings": filled('{"inputs": [', '""', "]}"),
    "short strings": filled('{"inputs": [', '"ab"', "]}"),
    "long strings": filled('{"inputs": [', '"' + "x" * 5000 + '"', "]}"),
    "one string": b'{"inputs": ["' + b"x" * 300_000 + b'"]}',
    "a wide string": b'{"inputs": ["\\ud83d\\ude00' + b"x" * 300_000 + b'"]}',
    "wide strings": filled('{"inputs": [', '"\U0001f600"', "]}"),
    "deep": b'{"inputs": ' + b"[" * 900 + b"]" * 900 + b"}",
    "null and true": filled('{"inputs": [', "null,true", "]}"),
}
count = iter(range(1 << 20))
DOCUMENTS["distinct members"] = re.sub(
    rb"%05d", lambda _: b"%05d" % next(count), DOCUMENTS["distinct members"]
)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_bound_of_a_document_holds(name):
    body = DOCUMENTS[name]
    json_requests.parse(b'{"warm": 1}')
    tracemalloc.start()
    try:
        document = json_requests.parse(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert document
    assert peak <= json_memory.document_bytes(body)


def test_the_bound_of_rows_of_numbers_is_not_far_off():
    """Eight MiB of common requests fit into the default memory, several times."""
    for name in ("long rows", "one string"):
        assert json_memory.document_bytes(DOCUMENTS[name]) < 16 * len(DOCUMENTS[name])
    rows = b'{"instances": [' + b",".join([b"[" + b"0.123456," * 511 + b"0.5]"] * 64) + b"]}"
    assert json_memory.document_bytes(rows) < 10 * len(rows)


def text_of(outputs, row_format):
    with Budget(256 * MIB).hold("UNAVAILABLE") as hold:
        return bytes(json_answers.predictions(outputs, row_format, hold))


@pytest.mark.slow
def test_large_answers_made_of_pieces_say_what_json_says():
    random = np.random.default_rng(0)
    floats = random.standard_normal((2, 3, 40_000))
    floats[0, 0, 0], floats[1, 2, 7] = np.nan, -np.inf
    long = random.integers(0, 9, (30_000, 1))
    words = np.array([[b"x" * 300_000, b"\xe9"], [b"", b'"']], object)
    for outputs, plain in (
        ({"a": floats}, floats.tolist()),
        ({"a": long}, long.tolist()),
        ({"a": np.zeros((0, 3))}, []),
        ({"a": np.zeros((2, 0))}, [[], []]),
        ({"a": words}, [["x" * 300_000, "\ufffd"], ["", '"']]),
    ):
        for row_format, key in ((True, "predictions"), (False, "outputs")):
            got = json.loads(text_of(outputs, row_format))
            assert list(got) == [key]
            np.testing.assert_equal(got[key], plain)
    both = {"b": floats[:, 0], "a": floats[:, 1, 0]}
    got = json.loads(text_of(both, True))["predictions"]
    assert [list(row) for row in got] == [["a", "b"]] * 2
    np.testing.assert_equal(got[1]["b"], floats[1, 0].tolist())
    got = json.loads(text_of(both, False))["outputs"]
    np.testing.assert_equal(got["a"], floats[:, 1, 0].tolist())
    with pytest.raises(ServingError, match="tensor type: half"):
        text_of({"a": np.zeros(2, np.float16)}, True)


@pytest.mark.slow
@pytest.mark.parametrize("row_format", [True, False])
def test_the_text_of_a_large_answer_takes_little_more_than_itself(row_format):
    outputs = {"a": np.random.default_rng(0).standard_normal((4, 100_000)).astype(np.float32)}
    text_of({"a": np.zeros(1)}, True)
    tracemalloc.start()
    try:
        size = len(text_of(outputs, row_format))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * size + 4 * MIB  # One is the copy of this test's.


def test_a_text_without_room_is_refused(budget):
    with budget.hold("UNAVAILABLE") as hold:
        hold.add(63 * MIB)
        with pytest.raises(ServingError, match=r"fill the memory|a smaller one"):
            json_answers.predictions({"a": np.zeros(400_000)}, False, hold)

"""The client and its command: both protocols agree, and every failure is one sentence."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image

from checkout import ROOT
from tf_sg2.commands import main as cli
from tf_sg2.errors import InputError
from tf_sg2.latent.seeds import latents
from tf_sg2.serving import Client
from tf_sg2.serving.client.client import RequestError
from tiny_exports import LABELS

pytestmark = pytest.mark.slow


@pytest.fixture(params=["rest", "grpc"])
def address(request, server):
    return getattr(server, request.param)


@pytest.fixture
def client(address):
    with Client(address, "tiny", timeout=30) as client:
        yield client


def pixels(pngs):
    return np.stack([np.asarray(Image.open(io.BytesIO(png))) for png in pngs]).astype(int)


def test_both_protocols_give_the_same_bytes(server):
    answers = []
    for address in (server.rest, server.grpc):
        with Client(address, "tiny") as client:
            answers.append(client.generate([0, 1, 2**62], truncation_psi=[0.5, 1, 0.7]))
    assert answers[0] == answers[1]
    assert len(set(answers[0])) == 3
    assert all(png.startswith(b"\x89PNG") for png in answers[0])


def test_many_seeds_become_several_requests(address):
    with Client(address, "tiny", batch_size=3) as some, Client(address, "tiny") as whole:
        assert some.generate(range(7)) == whole.generate(range(7))


def test_every_signature_agrees_with_the_others(client):
    z = latents([4, 5], 8).numpy()
    w = client.map(z, truncation_psi=0.7)
    assert w.dtype == np.float32
    assert w.shape[::2] == (2, 8)
    seeds = pixels(client.generate([4, 5], 0.7))
    images = client.synthesize(w)
    assert images.dtype == np.uint8
    assert images.shape == seeds.shape
    assert np.abs(images.astype(int) - seeds).max() <= 1
    assert np.abs(pixels(client.synthesize_png(w)) - seeds).max() <= 1
    mixed = client.style_mix(4, 5, [0, w.shape[1]], 0.7)
    assert np.abs(pixels(mixed) - seeds[::-1]).max() <= 1
    outputs = client.predict("serving_default", {"z": z})
    assert next(iter(outputs.values())).shape == seeds.shape


def test_plain_numbers_of_predict_are_int64_and_float32(client):
    outputs = client.predict("map", {"z": [[0.5] * 8], "truncation_psi": [0.7]})
    expected = client.map(np.full([1, 8], 0.5), truncation_psi=0.7)
    np.testing.assert_array_equal(next(iter(outputs.values())), expected)
    outputs = client.predict("generate", {"seed": [3], "truncation_psi": [1.0]})
    assert next(iter(outputs.values())).tolist() == client.generate([3], 1.0)


def test_conditional_models_take_labels(address):
    with Client(address, "classes") as client:
        assert client.label_dim() == LABELS
        one, two = (client.generate([1], labels=row)[0] for row in np.eye(LABELS)[:2])
        both = client.generate([1, 1], labels=np.eye(LABELS)[:2])
        assert both == [one, two]
        assert one != two
        with pytest.raises(RequestError, match="label") as caught:
            client.generate([1])
        assert caught.value.code == "INVALID_ARGUMENT"


def test_signatures_and_status_equal_over_both_protocols(server):
    clients = [Client(address, "tiny") for address in (server.rest, server.grpc)]
    signatures, status = (
        [getattr(c, name)() for c in clients] for name in ("signatures", "status")
    )
    assert signatures[0] == signatures[1]
    assert status[0] == status[1]
    generate = signatures[0]["generate"]
    assert generate["inputs"] == {"seed": ("int64", (-1,)), "truncation_psi": ("float32", (-1,))}
    assert generate["outputs"]["image_bytes"][0] == "string"
    assert status[0] == [
        {"version": 1, "state": "AVAILABLE", "error_code": "OK", "error_message": ""}
    ]
    for client in clients:
        client.close()


def test_versions_and_labels_are_asked_for(address):
    with Client(address, "tiny") as latest, Client(address, "tiny", version=1) as first:
        assert latest.generate([3]) == first.generate([3])
    with Client(address, "tiny", label="canary") as canary, Client(address, "tiny") as latest:
        assert canary.generate([3]) == latest.generate([3])
        assert canary.label_dim() == 0


def test_the_only_model_needs_no_name(guarded, server):
    with Client(guarded.rest, token="secret") as client:
        assert client.model == "tiny"
    with pytest.raises(InputError, match="has the models classes, tiny; choose one"):
        Client(server.rest)
    with pytest.raises(InputError, match="does not list its models"):
        Client(server.grpc)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        ({"model": "x"}, "NOT_FOUND", "Servable not found for request: Latest(x)"),
        ({"version": 9}, "NOT_FOUND", "Servable not found for request: Specific(tiny, 9)"),
        ({"label": "stable"}, "INVALID_ARGUMENT", "Unrecognized servable version label: stable"),
    ],
)
def test_the_servers_sentence_is_passed_on(address, arguments, code, sentence):
    with (
        Client(address, **{"model": "tiny", **arguments}) as client,
        pytest.raises(RequestError) as caught,
    ):
        client.generate([0])
    assert sentence in str(caught.value)
    assert caught.value.code == code
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["rest", "grpc"])
@pytest.mark.parametrize("token", [None, "wrong"])
def test_a_missing_or_wrong_token_is_said(guarded, kind, token):
    with (
        Client(getattr(guarded, kind), "tiny", token=token) as client,
        pytest.raises(RequestError, match="valid token is needed") as caught,
    ):
        client.generate([0])
    assert caught.value.code == "UNAUTHENTICATED"


@pytest.mark.parametrize("form", ["http://127.0.0.1:{}", "127.0.0.1:{}"])
def test_errors_distinguish_no_server_from_no_answer(form):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        with (
            Client(form.format(port), "tiny", timeout=5) as client,
            pytest.raises(RequestError) as caught,
        ):
            client.status()
        assert caught.value.code == "UNAVAILABLE"
        assert str(port) in str(caught.value)
        if form.startswith("http"):  # gRPC waits for a greeting, and names no deadline of ours.
            listener.listen()
            with (
                Client(form.format(port), "tiny", timeout=0.3) as client,
                pytest.raises(RequestError, match=r"within 0\.3 seconds") as caught,
            ):
                client.status()
            assert caught.value.code == "DEADLINE_EXCEEDED"


def test_a_deadline_is_said(address):
    with Client(address, "tiny", timeout=1e-4) as client, pytest.raises(RequestError) as caught:
        client.generate(range(8))
    assert caught.value.code == "DEADLINE_EXCEEDED"
    assert "within 0.0001 seconds" in str(caught.value)


def test_a_server_that_sends_a_byte_now_and_then_is_left():
    stop = threading.Event()

    def trickle(listener):
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not stop.wait(0.1):
                with contextlib.suppress(OSError):
                    connection.sendall(b" ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=trickle, args=[listener])
        thread.start()
        try:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with (
                Client(address, "tiny", timeout=0.6) as client,
                pytest.raises(RequestError, match=r"did not answer within 0\.6 seconds"),
            ):
                client.status()
        finally:
            stop.set()
            thread.join()


def test_protocols_on_each_others_port_are_said(server):
    with (
        Client(server.grpc.join(["http://", ""]), "tiny", timeout=5) as client,
        pytest.raises(RequestError, match="is it the gRPC port"),
    ):
        client.status()
    with (
        Client(server.rest.removeprefix("http://"), "tiny", timeout=5) as client,
        pytest.raises(RequestError) as caught,
    ):
        client.status()
    assert caught.value.code == "UNAVAILABLE"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda c: c.generate(["x"]), "seed must hold numbers that fit int64"),
        (lambda c: c.generate([0.5]), "seed must hold numbers that fit int64"),
        (lambda c: c.generate([2**63]), "seed must hold numbers that fit int64"),
        (
            lambda c: c.generate(np.array([2**63], np.uint64)),
            "seed must hold numbers that fit int64",
        ),
        (lambda c: c.style_mix(1, 2, np.array([2**32 + 1])), "cutoff must hold .* fit int32"),
        (lambda c: c.style_mix(1, 2, [-(2**31) - 1]), "cutoff must hold .* fit int32"),
        (lambda c: c.generate([0], 3e38), "beyond 1,000,000"),
        (lambda c: c.generate([]), "seed has shape"),
        (lambda c: c.generate([1, 2], [0.1, 0.2, 0.3]), "the same number of rows"),
        (lambda c: c.generate([-1]), "negative"),
        (lambda c: c.map(np.zeros([2, 3, 4])), "z has shape"),
        (lambda c: c.map(np.full([1, 8], np.nan)), "NaN"),
        (lambda c: c.predict("generate", {}), "the same number of rows"),
    ],
)
def test_unusable_input_is_said(client, call, sentence):
    with pytest.raises(InputError, match=sentence):
        call(client)


@pytest.mark.parametrize(
    "arguments",
    [
        {"address": "localhost"},
        {"address": "ftp://127.0.0.1:1"},
        {"address": "http://127.0.0.1:x"},
        {"address": "http://"},
        {"version": 1, "label": "canary"},
        {"version": -1},
        {"label": "a/b"},
        {"timeout": 0},
        {"batch_size": 0},
        {"token": "two\nlines"},
    ],
)
def test_unusable_arguments_are_refused(arguments):
    with pytest.raises(InputError):
        Client(**{"address": "http://127.0.0.1:1", "model": "tiny", **arguments})


def test_rest_needs_no_tensorflow(server):
    code = f"""
import sys
from tf_sg2.serving import Client
with Client({server.rest!r}, "tiny") as client:
    assert client.generate([0])[0][1:4] == b"PNG" and client.signatures()
assert not {{"tensorflow", "grpc", "google"}} & set(sys.modules), "imported"
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_public_example_of_tensorflow_serving_works_unchanged(server, tmp_path):
    script = ROOT / "tests" / "support" / "public_client.py"
    assert "tf_sg2" not in script.read_text()
    command = [sys.executable, script, server.grpc, "tiny", "7", tmp_path / "7.png"]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "PYTHONPATH": ""})
    with Client(server.rest, "tiny") as client:
        assert (tmp_path / "7.png").read_bytes() == client.generate([7])[0]


def test_the_command_writes_a_sheet_over_either_protocol(server, tmp_path, capsys):
    sheets = []
    for name in ("rest", "grpc"):
        out = tmp_path / f"{name}.png"
        arguments = [f"--server={getattr(server, name)}", "--model=tiny", f"--out={out}"]
        assert cli.main(["client", "generate", "--seeds=0-5", "--psi=0.5", *arguments]) == 0
        assert f"6 pictures of tiny: {out}" in capsys.readouterr().out
        with Image.open(out) as sheet:
            assert sheet.size == (3 * 20, 2 * 16)
            assert sheet.text["seeds"] == "0,1,2,3,4,5"
            assert sheet.text["psi"] == "0.5"
            sheets.append(np.asarray(sheet))
    np.testing.assert_array_equal(*sheets)
    with Client(server.rest, "tiny") as client:
        np.testing.assert_array_equal(sheets[0][:16, :20], pixels(client.generate([0], 0.5))[0])


def test_the_command_accepts_a_token_and_a_class(guarded, server, tmp_path, capsys):
    (tmp_path / "token").write_text("secret\n")
    shared = ["client", "generate", "--seeds=7", f"--out={tmp_path / 'one.png'}"]
    guard = [f"--server={guarded.rest}", f"--token_file={tmp_path / 'token'}"]
    assert cli.main([*shared, *guard]) == 0
    arguments = [f"--server={server.rest}", "--model=classes"]
    assert cli.main([*shared, *arguments, "--labels=2"]) == 0
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.text["labels"] == "0,0,1"
    capsys.readouterr()
    assert cli.main([*shared, *arguments]) == 2
    assert "this model is conditional" in capsys.readouterr().err


def test_the_command_waits_for_a_server_that_starts(folders, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tf_sg2.commands.main"]
    serve = ["serve", f"--model_dir={folders[0]}", "--port=0", f"--rest_port={port}"]
    with subprocess.Popen([*command, *serve], stdout=subprocess.DEVNULL) as process:
        try:
            address = f"--server=http://127.0.0.1:{port}"
            shared = ["client", "generate", "--seeds=0", f"--out={tmp_path / 'a.png'}", address]
            assert cli.main([*shared, "--wait=60"]) == 0
        finally:
            process.kill()
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seeds=0", "--out=a.png"], "the client needs a verb"),
        (["generate", "--out=a.png"], "--seeds is needed"),
        (["generate", "--seeds=0"], "--out is needed"),
        (["generate", "--seeds=0", "--out=folder"], "is not a .png file"),
        (["generate", "--seeds=x", "--out=a.png"], "--seeds"),
        (["generate", "--seeds=0", "--out=a.png", "--token_file=/nowhere"], "--token_file"),
        (
            ["generate", "--seeds=0", "--out=a.png", "--server=http://127.0.0.1:1"],
            "cannot be reached",
        ),
    ],
)
def test_the_command_says_what_is_wrong_in_one_line(arguments, sentence, capsys):
    assert cli.main(["client", *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1

"""Pickles made to exhaust a reader: each ends at once, with one sentence and little memory."""

import io
import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest

import torch_writer
from pickle_fuzz import nothing_executed
from tf_sg2 import InputError, weights
from tf_sg2.weights.pickles import read_state_dict
from tf_sg2.weights.pickles.errors import UnreadableError
from tf_sg2.weights.pickles.instructions import Reader
from tf_sg2.weights.pickles.machine import Machine


def laughs() -> bytes:
    """A tuple of 2^60 leaves, as a key."""
    body = b"".join(b"h\x00h\x00\x86q\x00" for _ in range(60))
    return b"\x80\x02)q\x00}" + body + b"K\x01s."


def equal_hashes() -> bytes:
    """A dictionary whose keys have one hash, so that each entry visits all before it."""
    modulus = (1 << 61) - 1
    keys = [(i * modulus).to_bytes(12, "little", signed=True) for i in range(1, 20_000)]
    return b"}(" + b"".join(b"\x8a\x0c" + key + b"N" for key in keys) + b"u."


def bomb() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(1 << 26))
    return file.getvalue()


def encrypted() -> bytes:
    """An archive whose member says that it needs a password."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", b"}.")
    data = bytearray(file.getvalue())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[6] |= 1
    return bytes(data)


def deep_header() -> bytes:
    """A header of safetensors in which lists are nested deeply."""
    text = b'{"__metadata__":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    return len(text).to_bytes(8, "little") + text


def many_views() -> bytes:
    """One storage of 400 kB, and 2000 tensors that each are all of it."""
    file = io.BytesIO()
    storage = torch_writer.Storage("0", np.zeros(100_000, np.float32))
    tensors = {f"t{i}": torch_writer.Tensor(storage, 0, (100_000,), (1,)) for i in range(2000)}
    torch_writer.save_zip(file, {"g_ema": tensors})
    return file.getvalue()


def nested_dictionaries() -> bytes:
    """Dictionaries of two entries each, 60 levels deep, in which both entries are the same."""
    levels = b"".join(
        b"}q" + bytes([i]) + b"(K\x00h" + bytes([i - 1]) + b"K\x01h" + bytes([i - 1]) + b"u0"
        for i in range(1, 60)
    )
    state = b"\x80\x02}q\x000" + levels + b"}(X\x05\x00\x00\x00g_emah\x3bu."
    parts = [pickle.dumps(value, protocol=2) for value in (torch_writer.MAGIC, 1001)]
    parts += [pickle.dumps({"little_endian": True}, protocol=2), state]
    return b"".join(parts) + pickle.dumps([], protocol=2)


BOMBS = {
    "a key of many leaves": laughs,
    "keys of one hash": equal_hashes,
    "a compressed archive": bomb,
    "an encrypted archive": encrypted,
    "a deep header": deep_header,
    "many views of one storage": many_views,
    "a dictionary of many paths": nested_dictionaries,
    "many open lists": lambda: b"(" * 100_000 + b"l" * 100_000 + b".",
    "a deep tuple": lambda: b"N" + b"\x85" * 100_000 + b".",
    "a text number of many digits": lambda: b"I" + b"9" * 1_000_000 + b"\n.",
    "a length of many bytes": lambda: b"\x8e" + struct.pack("<Q", 1 << 62) + b"abc.",
    "a high place in the memo": lambda: b"Np99999999999999999999\n.",
    "a list that holds itself": lambda: b"]q\x00h\x00a.",
    "marks without end": lambda: b"(" * 100,
    "an empty stack": lambda: b"0.",
    "a state for a text": lambda: b"U\x01aNb.",
    "a tuple as a name": lambda: b"U\x02osU\x06system\x86)R.",
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_one_sentence(name, tmp_path):
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[name]())
    size = path.stat().st_size
    tracemalloc.start()
    start = time.perf_counter()
    try:
        with pytest.raises(InputError) as caught, nothing_executed():
            weights.read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert str(caught.value).startswith(f"{path} is ")
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - start < 10
    assert peak < 200 * size + (4 << 20)


PLAIN = [
    {"a": [1, -5, 2**40, None, True, False, 2.5, "text", b"bytes"], "b": {"c": (1, (2, 3), ())}},
    [[], {}, (), "ä" * 300, b"x" * 300, tuple(range(10))],
    [2**61, -(2**61), 70_000, 300, -1],
]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", PLAIN, ids=["mixed", "containers", "numbers"])
def test_plain_values_are_what_python_reads(value, protocol):
    data = pickle.dumps(value, protocol)
    if b"_codecs" in data:  # Protocol 2 has no bytes.
        with pytest.raises(UnreadableError, match=r"it names '_codecs\.encode'"):
            Machine({}).run(Reader(data))
        return
    assert Machine({}).run(Reader(data)) == pickle.loads(data)


def test_shared_parts_stay_shared():
    shared = [1]
    found = Machine({}).run(Reader(pickle.dumps([shared, shared, {"a": shared}])))
    assert found[0] is found[1] is found[2]["a"]


def test_names_are_compared_exactly():
    for module, name in (("collections", "OrderedDict.fromkeys"), ("collections ", "OrderedDict")):
        data = b"\x80\x04\x8c" + bytes([len(module)]) + module.encode()
        data += b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93)R."
        with pytest.raises(UnreadableError, match="it names"):
            Machine({}).run(Reader(data))


def test_state_dictionaries_refuse_names_of_networks(tmp_path):
    """The reader of the eyes' weight files has the shorter list."""
    path = tmp_path / "a.pt"
    path.write_bytes(
        b"".join(pickle.dumps(v, 2) for v in (torch_writer.MAGIC, 1001, {"little_endian": True}))
        + b"\x80\x02cargparse\nNamespace\n)\x81."
    )
    with pytest.raises(InputError, match=r"it names 'argparse\.Namespace'"):
        read_state_dict(path)

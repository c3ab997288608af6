"""Weight files: each format read, hashes compared, nothing executed, damage named."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections import OrderedDict

import h5py
import numpy as np
import pytest

import torch_writer
from tf_sg2.errors import InputError
from tf_sg2.metrics import features
from tf_sg2.weights.pickles import read_state_dict

rng = np.random.default_rng(2)
ARRAYS = {
    "conv.weight": rng.normal(size=(4, 3, 2, 2)).astype(np.float32),
    "conv.bias": rng.normal(size=4).astype(np.float32),
    "scalar": np.float32(3.5),
}


def state():
    tensors = {
        name: torch_writer.tensor(array, str(i)) for i, (name, array) in enumerate(ARRAYS.items())
    }
    return OrderedDict(tensors)


def assert_same(found, expected=ARRAYS):
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("save", [torch_writer.save_zip, torch_writer.save_legacy])
def test_torch_files_are_read(tmp_path, save):
    save(tmp_path / "a.pth", state())
    assert_same(features.read_weights(tmp_path / "a.pth").arrays)


@pytest.mark.parametrize("save", [torch_writer.save_zip, torch_writer.save_legacy])
def test_dictionaries_within_are_joined_by_dots(tmp_path, save):
    save(tmp_path / "a.pt", {"epoch": 3, "state_dict": state()})
    expected = {f"state_dict.{name}": array for name, array in ARRAYS.items()}
    assert_same(read_state_dict(tmp_path / "a.pt"), expected)


def test_views_and_strides_of_a_storage_are_kept(tmp_path):
    values = np.arange(24, dtype=np.float32)
    storage = torch_writer.Storage("0", values)
    tensors = {
        "transposed": torch_writer.Tensor(storage, 0, (4, 6), (1, 4)),
        "part": torch_writer.Tensor(storage, 5, (3,), (2,)),
        "empty": torch_writer.Tensor(storage, 0, (0, 3), (3, 1)),
    }
    torch_writer.save_zip(tmp_path / "a.pt", tensors)
    expected = {
        "transposed": values.reshape(6, 4).T,
        "part": values[[5, 7, 9]],
        "empty": np.zeros((0, 3)),
    }
    assert_same(read_state_dict(tmp_path / "a.pt"), expected)


@pytest.mark.parametrize(
    ("shape", "strides"), [((5, 6), (6, 1)), ((2,), (-1,)), ((25,), (1,)), ((9999, 9999), (0, 0))]
)
def test_a_tensor_past_its_storage_is_refused(tmp_path, shape, strides):
    storage = torch_writer.Storage("0", np.zeros(24, np.float32))
    tensors = {"a": torch_writer.Tensor(storage, 0, shape, strides)}
    torch_writer.save_zip(tmp_path / "a.pt", tensors)
    with pytest.raises(InputError, match="without executing it: a tensor"):
        read_state_dict(tmp_path / "a.pt")


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("save", [torch_writer.save_zip, torch_writer.save_legacy])
def test_a_pickle_that_would_run_code_is_refused(tmp_path, save):
    fired = tmp_path / "fired"
    save(tmp_path / "a.pt", {"a": torch_writer.tensor([1], "0"), "b": {"c": Evil(fired)}})
    with pytest.raises(InputError, match=r"it names '_?io.open'"):
        read_state_dict(tmp_path / "a.pt")
    assert not fired.exists()


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "damaged"),
        (b"PK\x03\x04 and no archive", "damaged"),
        (b"not a pickle", "damaged"),
        (pickle.dumps({"a": 1}), "a plain pickle"),
        (pickle.dumps(torch_writer.MAGIC, 2), "damaged"),
        (b"(i__builtin__\nexec\n.", "pickle instruction INST"),
        (b"\x80\x04\x8c\x13torch.serialization\x8c\tos.system\x93.", "torch.serialization.os.sys"),
    ],
)
def test_files_that_are_no_state_dictionary_are_refused(tmp_path, raw, message):
    path = tmp_path / "a.pt"
    path.write_bytes(raw)
    with pytest.raises(InputError, match=message):
        read_state_dict(path)


def test_damaged_archives_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    torch_writer.save_zip(path, state(), missing=["1"])
    with pytest.raises(InputError, match="damaged"):
        read_state_dict(path)
    torch_writer.save_zip(path, state(), byteorder=b"big")
    with pytest.raises(InputError, match="big-endian"):
        read_state_dict(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("something", b"")
    with pytest.raises(InputError, match=r"holds no data.pkl"):
        read_state_dict(path)
    torch_writer.save_zip(path, {"epoch": 3})
    with pytest.raises(InputError, match="holds no tensor"):
        read_state_dict(path)
    torch_writer.save_legacy(path, state())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="shorter or longer"):
        read_state_dict(path)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_state_dict(tmp_path / "none.pt")


def safetensors(entries, data):
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + data


def test_safetensors_are_read(tmp_path):
    entries, data = {"__metadata__": {"format": "pt"}}, b""
    for name, array in ARRAYS.items():
        raw = array.tobytes()
        offsets = [len(data), len(data) + len(raw)]
        entries[name] = {"dtype": "F32", "shape": list(np.shape(array)), "data_offsets": offsets}
        data += raw
    halves = np.array([1.5, -2], np.float32)
    raw = (halves.view(np.uint32) >> 16).astype("<u2").tobytes()
    offsets = [len(data), len(data) + len(raw)]
    entries["half"] = {"dtype": "BF16", "shape": [2], "data_offsets": offsets}
    path = tmp_path / "a.safetensors"
    path.write_bytes(safetensors(entries, data + raw))
    assert_same(features.read_weights(path).arrays, ARRAYS | {"half": halves})


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff" * 30,
        safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, b"1234"),
        safetensors({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, b"12345678"),
        safetensors({"a": {"dtype": "X", "shape": [1], "data_offsets": [0, 4]}}, b"1234"),
        safetensors(["a"], b""),
    ],
)
def test_damaged_safetensors_are_refused(tmp_path, raw):
    path = tmp_path / "a.safetensors"
    path.write_bytes(raw)
    with pytest.raises(InputError, match="damaged, or no safetensors file"):
        features.read_weights(path)


def test_npz_archives_are_read_without_pickles(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **ARRAYS)
    assert_same(features.read_weights(path).arrays)
    np.savez(path, a=np.array([Evil(tmp_path / "fired")], object))
    with pytest.raises(InputError, match=r"no .npz archive of plain arrays"):
        features.read_weights(path)
    assert not (tmp_path / "fired").exists()


def test_h5_files_are_read_in_torch_and_in_keras_order(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name, array in ARRAYS.items():
            file[name] = array
    assert_same(features.read_weights(path).arrays)
    kernel = ARRAYS["conv.weight"].transpose(2, 3, 1, 0)
    with h5py.File(path, "w") as file:
        file["block.conv/block.conv/kernel:0"] = kernel
        file["block.conv/block.conv/bias:0"] = ARRAYS["conv.bias"]
        file["block.bn/block.bn/moving_variance:0"] = ARRAYS["conv.bias"]
        file["fc/fc/kernel:0"] = np.zeros((5, 2))
    found = features.read_weights(path).arrays
    expected = {
        "block.conv.weight": ARRAYS["conv.weight"],
        "block.conv.bias": ARRAYS["conv.bias"],
        "block.bn.running_var": ARRAYS["conv.bias"],
        "fc.weight": np.zeros((2, 5)),
    }
    assert_same(found, expected)
    path.write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="no HDF5 file"):
        features.read_weights(path)


def test_hashes_are_compared(tmp_path):
    path = tmp_path / "vgg16-397923af.pth"
    torch_writer.save_zip(path, state())
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert features.read_weights(path).sha256 == sha256
    assert features.read_weights(path, "vgg16", sha256=sha256[:8].upper()).sha256 == sha256
    with pytest.raises(InputError, match=f"has SHA-256 {sha256}, not 397923af.*vgg16-397923af.pth"):
        features.read_weights(path, "vgg16")
    with pytest.raises(InputError, match="'123' is no SHA-256"):
        features.read_weights(path, sha256="123")


def test_a_conversion_has_no_published_hash(tmp_path):
    np.savez(tmp_path / "a.npz", **ARRAYS)
    assert_same(features.read_weights(tmp_path / "a.npz", "vgg16").arrays)


def test_unknown_endings_and_missing_files_are_named(tmp_path):
    with pytest.raises(InputError, match=r"ending '.bin'; weight files end in .pth, .pt"):
        features.read_weights(tmp_path / "a.bin")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        features.read_weights(tmp_path / "a.npz")


def test_sources_name_their_hash_in_the_file():
    for source in features.SOURCES.values():
        assert len(source.sha256) == 64
        assert f"-{source.sha256[:8]}." in source.file
        assert source.url.endswith(source.file)
        assert source.url in source.command

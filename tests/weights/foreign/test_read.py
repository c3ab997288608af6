"""Foreign files: every array bit for bit, everything unsafe or damaged refused in one sentence."""

import numpy as np
import pytest

from foreign_files import MALICIOUS, array_digests, contents, digest, unpack
from pickle_fuzz import fuzz, nothing_executed
from tf_sg2 import InputError, weights

TORCH = ("ada_uncond", "ada_cond", "ada_uncond_nhwc", "ada_cond_orig", "sg3_uncond")
TENSORFLOW = ("tf_sg2", "tf_sg2_e_orig_skip", "tf_ada_cond", "tf_sg2_cond", "tf_sg2_config_d")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return unpack(tmp_path_factory.mktemp("files"))


@pytest.mark.parametrize("name", TORCH)
def test_every_array_of_a_torch_pickle_is_the_official_one(files, name):
    state = weights.read(files / f"{name}.pkl")
    found = {f"{key}/{k}": a for key in ("G_ema", "D") for k, a in state[key].items()}
    expected = array_digests()[name]
    assert found.keys() == expected.keys()
    for key, array in found.items():
        assert [list(array.shape), str(array.dtype), digest(array, True)] == expected[key], key
    assert state["G"].keys() == state["G_ema"].keys()
    assert any((state["G"][k] != state["G_ema"][k]).any() for k in state["G"])


@pytest.mark.parametrize("name", TENSORFLOW)
def test_every_variable_of_a_tensorflow_pickle_arrives(files, name):
    """Layouts differ, so values are compared as sets; the images prove the layouts."""
    state = weights.read(files / f"{name}.pkl")
    for key, ours in (("Gs", "G_ema"), ("D", "D")):
        expected = {
            theirs: digest_
            for theirs, (_, _, digest_) in array_digests()[name].items()
            if theirs.startswith(f"{key}/") and not theirs.endswith(("lod", "mod_bias"))
        }
        found = [a for k, a in state[ours].items() if not k.endswith("affine.bias")]
        assert all(a.dtype == np.float32 for a in found)
        assert sorted(digest(a, False) for a in found) == sorted(expected.values())


@pytest.mark.parametrize("name", ["rosi_converted", "rosi_training", "rosi_legacy"])
def test_every_array_of_rosinality_arrives(files, name):
    state = weights.read(files / f"{name}.pt")
    expected = array_digests()["rosi"]
    for key, ours in (("g_ema", "G_ema"), ("d", "D")):
        if name == "rosi_legacy" and key == "d":
            assert state["D"] == {}
            continue
        theirs = {
            digest_
            for k, (_, _, digest_) in expected.items()
            if k.startswith(f"{key}/") and not k.endswith("kernel")
        }
        found = {digest(a, False) for k, a in state[ours].items() if k != "mapping.w_avg"}
        assert found == theirs
    assert ("mapping.w_avg" in state["G_ema"]) == (name != "rosi_training")


MESSAGES = {
    "evil_dotted_name.pkl": "it names 'torch.serialization.os.system'",
    "evil_in_dict_proto4.pkl": "it names 'builtins.exec'",
    "evil_in_tf_tuple.pkl": "it names 'posix.system'",
    "evil_inst_opcode.pkl": "it holds the pickle instruction STRING",
    "evil_nested_load_from_bytes.pkl": "its entry G_ema is no network",
    "evil_numpy_object.npz": "the archive holds no data.pkl",
    "evil_os_system_proto0.pkl": "it names 'os.system'",
    "evil_torch_legacy.pt": "it names '__builtin__.exec'",
    "evil_torch_zip.pt": "it names 'posix.system'",
}


@pytest.mark.parametrize("path", sorted(MALICIOUS.iterdir()), ids=lambda path: path.name)
def test_a_malicious_file_is_one_sentence(path):
    with pytest.raises(InputError) as caught, nothing_executed():
        weights.read(path)
    if path.name in MESSAGES:
        assert str(caught.value) == (
            f"{path} is no file of a StyleGAN2 network that can be read without executing it: "
            f"{MESSAGES[path.name]}"
        )
    else:
        assert str(caught.value).startswith(f"{path} is damaged, or no file of a StyleGAN2 network")


@pytest.mark.parametrize("name", sorted(contents()))
def test_every_truncation_is_one_sentence(name, tmp_path):
    data = contents()[name]
    rng = np.random.default_rng(1)
    lengths = {*range(40), *rng.integers(len(data), size=25), len(data) - 1, len(data) - 2}
    path = tmp_path / name
    for length in sorted(lengths):
        path.write_bytes(data[:length])
        with pytest.raises(InputError) as caught:
            weights.read(path)
        assert str(caught.value).startswith(f"{path} is ")
        assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_mutated_files_execute_nothing(tmp_path):
    counts = fuzz(1000, tmp_path)
    assert counts["read"] + counts["refused"] == 1000
    assert min(counts.values()) > 50  # Both outcomes were tried.


def test_a_missing_file_and_a_folder_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match=r"none\.pkl cannot be read: No such file"):
        weights.read(tmp_path / "none.pkl")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        weights.read(tmp_path)

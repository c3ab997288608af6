"""`tf-sg2 convert`: foreign files become runs, runs become files, and both ways lose nothing."""

import hashlib
import io
import json
import pickle
import types
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow import keras

import tf_sg2
from foreign_files import FOLDER, outputs, unpack
from tf_sg2.commands import main as cli
from tf_sg2.commands.convert import convert
from tf_sg2.config import override, presets
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.runs.imported import LICENSE_NOTE
from tf_sg2.training.run.checkpoint import initialize_from
from tf_sg2.training.state import create_state
from tf_sg2.weights.foreign.write import official_arrays
from tiny_run import make_tiny_run

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return unpack(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_tiny_run(tmp_path_factory.mktemp("runs") / "tiny").path


def nchw(images):
    return np.asarray(images).transpose(0, 3, 1, 2)


def test_a_foreign_file_becomes_a_run(files, tmp_path, capsys):
    source, dest = files / "ada_cond.pkl", tmp_path / "run"
    assert cli.main(["convert", f"--source={source}", f"--dest={dest}"]) == 0
    assert capsys.readouterr().out == f"wrote {dest}\n"
    loaded, numbers = tf_sg2.load_run(dest), outputs("ada_cond")
    labels = tf.constant(numbers["labels"])
    image = loaded.generator(tf.constant(numbers["z"]), labels, noise_mode="const")
    np.testing.assert_allclose(nchw(image), numbers["image"], rtol=0, atol=1e-4)
    origin = json.loads((dest / "origin.json").read_text())
    assert origin == {
        "file": "ada_cond.pkl",
        "kind": "official PyTorch pickle",
        "sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "license": LICENSE_NOTE,
        "notes": [],
    }
    card = (dest / "README.md").read_text()
    assert origin["sha256"] in card
    assert LICENSE_NOTE in card
    pictures = tmp_path / "pictures"
    command = [f"--run={dest}", f"--out={pictures}", "--seeds=0-1", "--labels=1"]
    assert cli.main(["generate", *command]) == 0
    assert len(list(pictures.iterdir())) == 2


def test_a_run_without_a_discriminator_says_so(files, tmp_path):
    dest = tmp_path / "run"
    sentence = convert(str(files / "rosi_legacy.pt"), str(dest))
    assert "The file holds no discriminator; the one in this folder is untrained." in sentence
    assert "no discriminator" in (dest / "README.md").read_text()


def test_training_starts_from_an_imported_run(files, tmp_path):
    dest = tmp_path / "run"
    convert(str(files / "ada_uncond.pkl"), str(dest))
    config = RunDirectory(dest).read_config()
    whole = override(
        presets.get("cards", (16, 16)),
        {
            f"{part}.{name}": getattr(getattr(config, part), name)
            for part, names in (
                ("generator", "z_dim w_dim mapping_layers channel_base channel_max"),
                ("discriminator", "channel_base channel_max"),
            )
            for name in names.split()
        },
    )
    state = create_state(whole, tf.distribute.get_strategy())
    assert initialize_from(state, dest).fresh == []


def test_safetensors_hold_every_official_array(files, tmp_path):
    """Names, types and values of the official pickle, buffers included; read again the same."""
    for name in ("ada_cond", "ada_cond_orig"):
        dest = tmp_path / f"{name}.safetensors"
        convert(str(files / f"{name}.pkl"), str(dest))
        first, second = tf_sg2.weights.read(files / f"{name}.pkl"), tf_sg2.weights.read(dest)
        assert second["config"] == first["config"]
        for key in ("G", "D", "G_ema"):
            assert second[key].keys() == first[key].keys()
            for array, expected in first[key].items():
                np.testing.assert_array_equal(second[key][array], expected)
    raw = dest.read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    entry = header["G_ema.mapping.w_avg"]
    assert (entry["dtype"], entry["shape"]) == ("F32", [20])
    for length in (0, 7, 9, 200, len(raw) - 1):
        dest.write_bytes(raw[:length])
        with pytest.raises(tf_sg2.InputError, match=r" is damaged, or no file| is no file"):
            tf_sg2.weights.read(dest)


def test_npz_and_keras_hold_a_runs_networks(run, tmp_path):
    convert(str(run), str(tmp_path / "a.npz"))
    loaded = tf_sg2.load_run(run)
    with np.load(tmp_path / "a.npz") as archive:
        assert json.loads(str(archive["config"])) == json.loads((run / "config.json").read_text())
        for name, array in official_arrays(loaded.generator).items():
            np.testing.assert_array_equal(archive[f"G_ema.{name}"], array)
        assert any(
            (archive[k] != archive[f"G_ema{k[1:]}"]).any()
            for k in archive.files
            if k.startswith("G.")
        )
    convert(str(run), str(tmp_path / "a.keras"))
    copy = keras.models.load_model(tmp_path / "a.keras")
    z = tf.random.stateless_normal([2, 8], [1, 2])
    expected = loaded.generator(z, noise_mode="const")
    np.testing.assert_array_equal(copy(z, noise_mode="const"), expected)


def read_by_python(path):
    """Reads an archive of `torch.save` with Python's own unpickler and stand-ins for PyTorch."""
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]

        class Unpickler(pickle.Unpickler):
            def find_class(self, module, name):
                if (module, name) == ("collections", "OrderedDict"):
                    return OrderedDict
                if (module, name) == ("torch", "FloatStorage"):
                    return "float32"
                assert (module, name) == ("torch._utils", "_rebuild_tensor_v2")
                return self.tensor

            def persistent_load(self, identity):
                kind, dtype, key, device, count = identity
                assert (kind, device) == ("storage", "cpu")
                values = np.frombuffer(archive.read(f"{root}/data/{key}"), dtype)
                assert len(values) == count
                return values

            @staticmethod
            def tensor(storage, offset, shape, strides, requires_grad, hooks):
                assert (requires_grad, hooks) == (False, {})
                steps = [4 * stride for stride in strides]
                return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps)

        return types.SimpleNamespace(
            state=Unpickler(io.BytesIO(archive.read(f"{root}/data.pkl"))).load(),
            version=archive.read(f"{root}/version"),
        )


def test_rosinality_archive_is_the_original_again(files, tmp_path):
    """A checkpoint that goes in and out has its names, shapes, values and buffers."""
    dest = tmp_path / "a.pt"
    convert(str(files / "rosi_converted.pt"), str(dest))
    ours, theirs = read_by_python(dest), read_by_python(files / "rosi_converted.pt")
    assert ours.version == theirs.version
    assert ours.state.keys() == theirs.state.keys()
    for key in ("g", "g_ema", "d"):
        assert ours.state[key].keys() == theirs.state[key].keys()
        for name, array in theirs.state[key].items():
            found = ours.state[key][name]
            assert found.shape == array.shape, name
            np.testing.assert_array_equal(found, array, err_msg=name)
    np.testing.assert_array_equal(ours.state["latent_avg"], theirs.state["latent_avg"])


def test_refusals_are_one_sentence(files, run, tmp_path, capsys):
    for arguments, sentence in (
        (
            (f"--source={run}", f"--dest={tmp_path}/a.pkl"),
            f"--dest={tmp_path}/a.pkl has the ending .pkl; use .safetensors, .npz, .pt, .keras, or "
            "none for a run directory",
        ),
        (
            (f"--source={run}", f"--dest={tmp_path}/b"),
            f"--source={run} is a run directory already; name a file with one of the endings "
            ".safetensors, .npz, .pt, .keras as --dest",
        ),
        (
            (f"--source={files}/ada_cond.pkl", f"--dest={tmp_path}/a.pt"),
            "generator.label_dim is 2, but rosinality's networks have 0; write a .safetensors or "
            ".npz file instead",
        ),
        (
            (f"--source={files}/ada_cond.pkl", f"--dest={tmp_path}/a", "--checkpoint=3"),
            "--checkpoint is for run directories; leave it out for a file",
        ),
        (
            (f"--source={files}/ada_cond.pkl", f"--dest={run}"),
            f"{run} exists already; remove it, or name another",
        ),
    ):
        assert cli.main(["convert", *arguments]) == 2
        assert capsys.readouterr().err == f"error: {sentence}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ada_uncond", "ada_cond"])
def test_numpy_seeds_give_the_official_scripts_pictures(files, tmp_path, name):
    convert(str(files / f"{name}.pkl"), str(tmp_path / "run"))
    with np.load(FOLDER / "seeds.npz") as archive:
        expected = {k: archive[k] for k in archive.files if k.startswith(f"{name}/")}
    assert len(expected) == {"ada_uncond": 3, "ada_cond": 6}[name]
    for label in ["0", "1"] if name == "ada_cond" else [""]:
        out = tmp_path / f"class{label}"
        command = [f"--run={tmp_path / 'run'}", f"--out={out}", "--seeds=0-2", "--batch_size=1"]
        command += ["--seeds_as=numpy", *([f"--labels={label}"] if label else [])]
        assert cli.main(["generate", *command]) == 0
        for seed in range(3):
            pixels = expected.pop(f"{name}/seed{seed}{'_class' if label else ''}{label}/uint8")
            with Image.open(out / f"seed000{seed}.png") as picture:
                np.testing.assert_array_equal(np.asarray(picture), pixels)
                assert picture.text["seeds_as"] == "numpy"
    assert not expected


def test_a_seed_that_numpy_does_not_take_is_refused(run, tmp_path, capsys):
    command = [f"--run={run}", f"--out={tmp_path}/a.png", "--seeds=4294967296"]
    assert cli.main(["generate", *command, "--seeds_as=numpy"]) == 2
    assert capsys.readouterr().err == (
        "error: seed 4294967296 is larger than 4294967295, the largest of --seeds_as=numpy\n"
    )

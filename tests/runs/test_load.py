"""Loading a run: every weight is restored, and damaged or foreign checkpoints are refused."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import tf_sg2
from tf_sg2.errors import InputError
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.runs.load import load_run
from tf_sg2.weights.names import discriminator_entries, generator_entries
from tiny_config import tiny_config
from tiny_run import IMAGES_SEEN, ITERATION, make_tiny_run, save_state, tiny_state

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_tiny_run(tmp_path_factory.mktemp("runs") / "tiny", label_dim=3)


def values(network) -> list[np.ndarray]:
    return [np.asarray(tf.convert_to_tensor(weight)) for weight in network.weights]


def assert_same(ours, theirs) -> None:
    ours, theirs = values(ours), values(theirs)
    assert len(ours) == len(theirs) > 10
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(("label_dim", "architecture"), [(0, "skip"), (3, "resnet"), (0, "orig")])
def test_every_weight_is_restored(tmp_path, label_dim, architecture):
    config = tf_sg2.config.override(
        tiny_config(label_dim),
        {"generator.architecture": architecture, "discriminator.architecture": architecture},
    )
    directory = RunDirectory(tmp_path)
    directory.write_config(config)
    state = tiny_state(config)
    save_state(directory, state)
    run = tf_sg2.load_run(tmp_path)
    assert_same(run.generator, state["generator_ema"])
    assert_same(run.discriminator, state["discriminator"])
    assert run.config == config
    assert run.directory == directory
    assert run.images_seen == IMAGES_SEEN
    assert type(run.images_seen) is int
    assert run.checkpoint == directory.checkpoints / f"checkpoint-{ITERATION}"

    z, labels = tf.random.normal([2, 8]), tf.eye(3)[:2] if label_dim else None
    ours = run.generator(z, labels, noise_mode="const")
    theirs = state["generator_ema"](z, labels, noise_mode="const")
    np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_names_every_weight_the_same_way_on_every_keras(run):
    stored = dict(tf.train.list_variables(str(run.checkpoints / f"checkpoint-{ITERATION}")))
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    for name in ("generator", "generator_ema", "discriminator"):
        network = tiny_state(run.read_config())[name]
        entries = (discriminator_entries if name == "discriminator" else generator_entries)(network)
        expected = {f"{name}/{e.name.replace('.', '..')}{suffix}": e.variable for e in entries}
        assert len(expected) == len(network.weights)
        assert {key for key in stored if key.startswith(f"{name}/")} == set(expected)
        assert all(stored[key] == list(variable.shape) for key, variable in expected.items())


def test_the_generator_is_the_ema_one(run):
    state = tiny_state(run.read_config())
    plain, ema = (values(state[key])[0] for key in ("generator", "generator_ema"))
    restored = values(load_run(run.path).generator)[0]
    assert not np.array_equal(plain, ema)
    np.testing.assert_array_equal(restored, ema)


def test_checkpoints_are_found_by_number_name_and_path(tmp_path):
    run = make_tiny_run(tmp_path / "run")
    later = tiny_state(run.read_config(), seed=1)
    later["images_seen"].assign(160)
    save_state(run, later, 20)
    assert run.checkpoint_numbers() == [6, 20]
    assert load_run(run.path).images_seen == 160
    assert load_run(run.path).checkpoint.name == "checkpoint-20"
    path = run.checkpoints / "checkpoint-6"
    for name in (6, "6", "checkpoint-6", path, f"{path}.index"):
        assert load_run(run.path, name).checkpoint == path
    assert load_run(run.path, 6).images_seen == IMAGES_SEEN
    with pytest.raises(InputError, match="has no checkpoint '7'; it has 6, 20"):
        load_run(run.path, 7)


def test_a_run_that_moved_is_found(tmp_path):
    run = make_tiny_run(tmp_path / "old")
    run.path.rename(tmp_path / "new")
    assert load_run(tmp_path / "new").checkpoint.parent == tmp_path / "new" / "checkpoints"


def test_a_moved_run_whose_index_names_the_old_place_is_found(tmp_path):
    run = make_tiny_run(tmp_path / "old")
    index = run.checkpoints / "checkpoint"
    absolute = f'"{run.checkpoints / "checkpoint-6"}"'
    index.write_text(f"model_checkpoint_path: {absolute}\nall_model_checkpoint_paths: {absolute}\n")
    run.path.rename(tmp_path / "new")
    assert load_run(tmp_path / "new").checkpoint == tmp_path / "new/checkpoints/checkpoint-6"


def test_a_run_without_the_index_of_its_checkpoints_is_found(tmp_path):
    run = make_tiny_run(tmp_path / "run")
    (run.checkpoints / "checkpoint").unlink()
    assert load_run(run.path).checkpoint.name == "checkpoint-6"


@pytest.mark.parametrize("path", ["x" * 300, "a\0b"])
def test_a_path_that_no_file_system_takes_is_refused(tmp_path, path):
    with pytest.raises(InputError, match="does not exist"):
        load_run(tmp_path / path)


def test_folders_that_are_no_run_are_refused(tmp_path):
    with pytest.raises(InputError, match="missing does not exist"):
        load_run(tmp_path / "missing")
    with pytest.raises(InputError, match=r"is no run directory: it has no config\.json"):
        load_run(tmp_path)
    RunDirectory(tmp_path).write_config(tiny_config())
    with pytest.raises(InputError, match="has no checkpoint yet"):
        load_run(tmp_path)
    with pytest.raises(InputError, match="has no checkpoint '6'; it has none yet"):
        load_run(tmp_path, 6)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json is not JSON"):
        load_run(tmp_path)


@pytest.mark.parametrize(
    "damage", ["data cut", "data gone", "data flipped", "index cut", "index 0"]
)
def test_a_damaged_checkpoint_is_named(tmp_path, damage):
    run = make_tiny_run(tmp_path / "run")
    data = run.checkpoints / "checkpoint-6.data-00000-of-00001"
    index = run.checkpoints / "checkpoint-6.index"
    content = bytearray(data.read_bytes())
    if damage == "data cut":
        data.write_bytes(content[: len(content) // 2])
    elif damage == "data gone":
        data.unlink()
    elif damage == "data flipped":
        data.write_bytes(bytes(byte ^ 0xFF for byte in content))
    elif damage == "index cut":
        index.write_bytes(index.read_bytes()[:-30])
    else:
        index.write_bytes(b"")
    with pytest.raises(InputError, match=r"checkpoint-6 is damaged.*choose another one"):
        load_run(run.path)


def test_a_checkpoint_of_other_networks_is_refused(tmp_path):
    run = make_tiny_run(tmp_path / "run")
    for name, value in (("generator.w_dim", 12), ("generator.mapping_layers", 3)):
        run.write_config(tf_sg2.config.override(tiny_config(), {name: value}))
        with pytest.raises(InputError, match="of another configuration than"):
            load_run(run.path)

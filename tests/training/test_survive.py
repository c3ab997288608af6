"""Signals, second processes on a run, damaged checkpoints, full disks."""

import errno
import fcntl
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from processes import checkpoint_values, start
from tf_sg2 import InputError, config
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.training.loop import train
from tf_sg2.training.run import checkpoint
from tf_sg2.training.run.lock import locked
from tf_sg2.training.run.signals import INTERRUPTED_STATUS, stop_on_signals
from tf_sg2.training.state import create_state
from tiny_config import tiny_config

pytestmark = pytest.mark.slow


def test_sigterm_ends_with_a_checkpoint_and_a_status_of_its_own(tmp_path, capfd):
    run = RunDirectory(tmp_path / "run")
    endless = tiny_config(training__total_kimg=1000, training__checkpoint_kimg=1000)
    (tmp_path / "config.json").write_text(config.to_json(endless))
    command = [
        sys.executable,
        "-m",
        "tf_sg2.commands.main",
        "train",
        f"--config={tmp_path / 'config.json'}",
    ]
    process = subprocess.Popen(
        [*command, f"--run={run.path}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        deadline = time.monotonic() + 200
        while not (run.log_path.exists() and "loss/r1" in run.log_path.read_text()):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
        holder = f"process {process.pid} on {socket.gethostname()}"
        with pytest.raises(InputError, match=f"is being trained by {re.escape(holder)}; wait"):
            train(endless, run.path, progress=False)
        assert not run.checkpoint_numbers()
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == INTERRUPTED_STATUS == 75
    (number,) = run.checkpoint_numbers()
    assert f"SIGTERM: stopped after iteration {number}; the checkpoint is written" in said
    # The lock ended with its process, and the run resumes from its checkpoint.
    longer = config.override(endless, {"training.total_kimg": str((number + 1) * 8 / 1000)})
    state = train(longer, run.path, progress=False)
    assert int(state.iteration) == number + 1
    assert f"resuming {run.path}" in capfd.readouterr().err


def test_a_second_signal_ends_at_once():
    program = (
        "import os, signal\n"
        "from tf_sg2.training.run.signals import stop_on_signals\n"
        "with stop_on_signals() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    print(stop.signal_name, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('not reached', flush=True)\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (-signal.SIGTERM, "SIGINT\n")


def test_signal_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert stop.signal_name is None
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_stay_untouched_in_another_thread():
    before = signal.getsignal(signal.SIGTERM)
    found = []

    def work():
        with stop_on_signals():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_run_directory_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match="file/run cannot be made: Not a directory; name another"),
        locked(tmp_path / "file" / "run"),
    ):
        pass


def test_a_run_directory_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "train.lock").mkdir()
    with (
        pytest.raises(InputError, match=r"train.lock cannot be written: Is a directory"),
        locked(tmp_path),
    ):
        pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_locks_is_refused(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(InputError, match=r"cannot be locked .*; mount its file system with locks"),
        locked(tmp_path),
    ):
        pass


@pytest.fixture(scope="module")
def state():
    return create_state(tiny_config(), tf.distribute.get_strategy())


def save_three(state, run):
    manager = checkpoint.checkpoint_manager(state, tiny_config(), run)
    for number in (1, 2, 3):
        state.iteration.assign(number)
        checkpoint.save(manager, state)
    return run


def shard_of(run, number):
    return next(run.checkpoints.glob(f"checkpoint-{number}.data-*"))


def truncate(run, number):
    path = shard_of(run, number)
    os.truncate(path, path.stat().st_size // 2)


def flip(run, number):
    flip_byte(shard_of(run, number))


def flip_index(run, number):
    flip_byte(run.checkpoints / f"checkpoint-{number}.index")


def flip_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def remove_shard(run, number):
    shard_of(run, number).unlink()


@pytest.mark.parametrize("damage", [truncate, flip, flip_index, remove_shard])
def test_a_damaged_checkpoint_is_set_aside_for_the_one_before(state, tmp_path, damage):
    run = save_three(state, RunDirectory(tmp_path))
    damage(run, 3)
    said = []
    checkpoint.set_damaged_aside(run, said.append)
    (line,) = said
    assert "checkpoint-3 is damaged (" in line
    assert "set aside as damaged-checkpoint-3" in line
    assert (run.checkpoints / "damaged-checkpoint-3.index").exists()
    manager = checkpoint.checkpoint_manager(state, tiny_config(), run)
    assert checkpoint.restore(manager, state)
    assert int(state.iteration) == 2
    # The manager still knows the checkpoints that are kept, so it removes them later.
    kept = [os.path.basename(path) for path in manager.checkpoints]
    assert kept == ["checkpoint-1", "checkpoint-2"][-tiny_config().training.checkpoints_kept :]


def test_a_checkpoint_without_its_index_is_named(state, tmp_path):
    run = save_three(state, RunDirectory(tmp_path))
    (run.checkpoints / "checkpoint-3.index").unlink()
    said = []
    checkpoint.set_damaged_aside(run, said.append)
    assert "checkpoint-3 is incomplete" in said[0]
    assert run.find_checkpoint().name == "checkpoint-2"


def test_a_checkpoint_that_the_folder_does_not_name_yet_is_found(state, tmp_path):
    run = save_three(state, RunDirectory(tmp_path))
    (run.checkpoints / "checkpoint").unlink()
    checkpoint.set_damaged_aside(run, pytest.fail)
    assert run.find_checkpoint().name == "checkpoint-3"


def test_a_resumed_run_can_be_moved(state, tmp_path):
    run = save_three(state, RunDirectory(tmp_path / "old"))
    checkpoint.set_damaged_aside(run, pytest.fail)
    moved = RunDirectory(run.path.rename(tmp_path / "new"))
    assert str(tmp_path) not in (moved.checkpoints / "checkpoint").read_text()
    manager = checkpoint.checkpoint_manager(state, tiny_config(), moved)
    state.iteration.assign(0)
    assert checkpoint.restore(manager, state)
    assert int(state.iteration) == 3
    for number in range(4, 8):  # The manager finds the old ones and deletes them.
        state.iteration.assign(number)
        checkpoint.save(manager, state)
    assert moved.checkpoint_numbers() == list(range(3, 8))


def test_a_run_without_a_sound_checkpoint_is_refused_rather_than_begun_again(state, tmp_path):
    run = save_three(state, RunDirectory(tmp_path))
    for number in run.checkpoint_numbers():
        flip(run, number)
    for _ in range(2):  # The second time, all are already set aside.
        with pytest.raises(InputError, match=r"no checkpoint in .* is sound, so .* another run"):
            checkpoint.set_damaged_aside(run, lambda line: None)


def test_a_new_run_has_nothing_to_set_aside(tmp_path):
    checkpoint.set_damaged_aside(RunDirectory(tmp_path), pytest.fail)


def test_a_full_disk_leaves_what_was_written(state, tmp_path):
    run = save_three(state, RunDirectory(tmp_path))
    before = {path: path.read_bytes() for path in run.checkpoints.glob("checkpoint-*")}
    manager = checkpoint.checkpoint_manager(state, tiny_config(), run)
    state.iteration.assign(4)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # The largest size of a file.
    try:
        with pytest.raises(InputError, match=r"no checkpoint can be written to .* make room.*-3"):
            checkpoint.save(manager, state)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in before} == before
    checkpoint.set_damaged_aside(run, lambda line: None)
    assert run.find_checkpoint().name == "checkpoint-3"
    checkpoint.save(manager, state)
    assert run.find_checkpoint().name == "checkpoint-4"


def test_a_run_with_a_damaged_checkpoint_ends_as_if_nothing_had_been(tmp_path):
    whole = train(tiny_config(), tmp_path / "whole", progress=False)
    run = RunDirectory(tmp_path / "hurt")
    train(tiny_config(), run.path, progress=False)
    flip(run, run.checkpoint_numbers()[-1])
    hurt = train(tiny_config(), run.path, progress=False)
    for name, value in whole.variables().items():
        np.testing.assert_array_equal(value, hurt.variables()[name], err_msg=name)


def test_runs_killed_at_random_instants_end_as_an_undisturbed_one(tmp_path):
    """Two kills; TF_SG2_FAULT_KILLS=20 makes them twenty."""
    kills = int(os.environ.get("TF_SG2_FAULT_KILLS", "2"))
    rng = np.random.default_rng(7)
    iterations = 20 + 12 * kills
    # One checkpoint per iteration, so that kills also happen while one is written.
    often = tiny_config(
        training__total_kimg=iterations * 8 / 1000,
        training__checkpoint_kimg=0.008,
        training__sample_kimg=1000,
        training__tick_kimg=0.08,
    )
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    reference = start(whole, often, tmp_path)
    for _ in range(kills):
        before = max(RunDirectory(killed).checkpoint_numbers(), default=0)
        process = start(killed, often, tmp_path)
        deadline = time.monotonic() + 240
        while max(RunDirectory(killed).checkpoint_numbers(), default=0) == before:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        process.wait()
    left = list((killed / "checkpoints").iterdir())
    assert start(killed, often, tmp_path).wait(timeout=300) == 0
    assert reference.wait(timeout=300) == 0
    ours, theirs = (checkpoint_values(run, iterations) for run in (killed, whole))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if "save_counter" not in name:  # It differs, because there were several processes.
            np.testing.assert_array_equal(value, theirs[name], err_msg=f"{name} {left}")

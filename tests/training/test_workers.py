"""Several workers: they give the result of one device, end together, and never wait for ever."""

import contextlib
import json
import math
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from processes import (
    checkpoint_values,
    environment,
    start_workers,
    tasks,
    words_of,
)
from tf_sg2 import InputError
from tf_sg2.config import to_json
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.training.cluster.failures import LOST_STATUS
from tf_sg2.training.cluster.tf_config import SINGLE_WORKER, read_cluster
from tf_sg2.training.loop import train
from tf_sg2.training.run.signals import INTERRUPTED_STATUS
from tiny_config import tiny_config

pytestmark = pytest.mark.workers

ITERATIONS = 20


def settings(**overrides):
    """Every lazy term, Adam, and 20 iterations.

    Adam divides by the gradient's size. So it enlarges the rounding error of a gradient near zero
    to a full step. A large epsilon prevents that, and its slots can be compared too.
    """
    return tiny_config(
        **{
            "training__total_kimg": ITERATIONS * 8 / 1000,
            "training__checkpoint_kimg": 2 * 8 / 1000,
            "training__sample_kimg": 1000,
            "training__checkpoints_kept": 2,
            "generator_optimizer__epsilon": 0.01,
            "discriminator_optimizer__epsilon": 0.01,
            **overrides,
        }
    )


def assert_alike(ours, theirs):
    """The whole states agree to the rounding of float32 sums."""
    ours, theirs = checkpoint_values(ours, ITERATIONS), checkpoint_values(theirs, ITERATIONS)
    assert ours.keys() == theirs.keys()
    kinds = ("generator/", "discriminator/", "generator_ema/", "generator_optimizer/")
    kinds += ("discriminator_optimizer/", "path_length_mean", "images_seen", "iteration")
    assert all(any(name.startswith(kind) for name in ours) for kind in kinds)
    for name, value in ours.items():
        if "save_counter" in name:  # It counts the checkpoints of one process.
            continue
        if value.dtype.kind == "f" and value.size:
            error = np.abs(value - theirs[name]).max() / max(np.abs(value).max(), 0.01)
            assert error <= 1e-5, (name, error)
        else:
            np.testing.assert_array_equal(value, theirs[name], err_msg=name)


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    run = tmp_path_factory.mktemp("alone") / "run"
    train(settings(), run, progress=False)
    return run


def test_two_devices_end_as_one(one_device, tmp_path):
    train(settings(), tmp_path / "run", devices="cpu:2", progress=False)
    assert_alike(one_device, tmp_path / "run")


def wait_for_checkpoint(run, number, processes):
    deadline = time.monotonic() + 240
    while max(RunDirectory(run).checkpoint_numbers(), default=0) < number:
        assert all(process.poll() is None for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_workers_that_are_killed_and_stopped_end_as_one_device(one_device, tmp_path):
    run = tmp_path / "run"
    workers = start_workers(run, settings(), tmp_path)
    try:
        wait_for_checkpoint(run, 4, workers)
        workers[1].kill()
        killed = time.monotonic()
        workers[1].wait()
        assert workers[0].wait(60) == LOST_STATUS == 69
        # TensorFlow's heartbeat notices it within ten seconds; then the process ends.
        assert time.monotonic() - killed < 30
        said = words_of(run, tmp_path).read_text()
        assert "error: worker 1 (127.0.0.1:" in said
        assert "is gone: it died" in said
        assert "start every worker again with the same command" in said

        before = max(RunDirectory(run).checkpoint_numbers())
        assert before < ITERATIONS - 4
        workers = start_workers(run, settings(), tmp_path)
        wait_for_checkpoint(run, before + 2, workers)
        workers[1].send_signal(signal.SIGTERM)
        assert [worker.wait(60) for worker in workers] == [INTERRUPTED_STATUS] * 2
        said = [words_of(run, tmp_path, index).read_text() for index in (0, 1)]
        (stopped,) = RunDirectory(run).checkpoint_numbers()[-1:]
        assert f"another worker was told to stop: stopped after iteration {stopped};" in said[0]
        assert f"SIGTERM: stopped after iteration {stopped};" in said[1]

        workers = start_workers(run, settings(), tmp_path)
        assert [worker.wait(240) for worker in workers] == [0, 0]
    finally:
        for worker in workers:
            worker.kill()
    assert "worker 0 (127.0.0.1:" in words_of(run, tmp_path).read_text()
    assert_alike(one_device, run)


# argv: what worker 1 does. Worker 0 joins, meets worker 1 three times, and waits for a fourth.
MEETING = """
import os, sys, time
from tf_sg2.errors import InputError
from tf_sg2.training.run.devices import choose_strategy
from tf_sg2.training.cluster.collectives import Workers
from tf_sg2.training.cluster.failures import LostWorkerError, worker_failures
from tf_sg2.training.cluster.tf_config import read_cluster
from tf_sg2.training.cluster.watchdog import Watchdog
cluster = read_cluster()
mode = sys.argv[1] if cluster.index == 1 else ""
if mode == "absent":
    time.sleep(20)
    os._exit(0)
try:
    strategy = choose_strategy("auto", cluster, 6.0 if sys.argv[1] == "absent" else 60.0)
    patience = 6.0 if sys.argv[1] in ("hang", "stick") else 60.0
    with Watchdog(cluster, patience) as watchdog, worker_failures(cluster):
        workers = Workers(strategy, cluster, watchdog)
        answers = []
        for step in range(4):
            if step == 3 and mode == "hang":
                time.sleep(30)
            if step == 3 and mode == "fail":
                raise InputError("the file 7.png is gone")
            watchdog.reached(f"step {step}")
            if step == 3 and mode == "stick":
                time.sleep(30)
            answers.append(workers.any_in_previous_call((step == 1 and cluster.index == 1, False)))
            rows = workers.gather((step, 10.0 * cluster.index))
        workers.check_same("colour", "red" if mode == "differ" else "blue")
        print(rows.tolist(), answers, flush=True)
except (LostWorkerError, InputError) as error:
    print("error:", error, file=sys.stderr, flush=True)
    os._exit(69)
"""


# Worker 0 works for three times as long as a worker may hang, and tells so or not.
WORKING = """
import sys, time
from tf_sg2.training.run.devices import choose_strategy
from tf_sg2.training.cluster.collectives import Workers
from tf_sg2.training.cluster.tf_config import read_cluster
from tf_sg2.training.cluster.watchdog import Watchdog
cluster = read_cluster()
strategy = choose_strategy("auto", cluster, 60.0)
begun = []

def work(still_working):
    begun.append("work")
    for _ in range(60):
        time.sleep(0.2)
        if sys.argv[1] == "tell":
            still_working()

with Watchdog(cluster, 4.0) as watchdog:
    workers = Workers(strategy, cluster, watchdog)
    watchdog.reached("the start")
    workers.gather([0])
    started = time.monotonic()
    workers.wait_for_chief("the measurements", work)
    watchdog.reached("the end")
    workers.gather([0])
    print(begun, time.monotonic() - started > 11, flush=True)
"""


def start_pair(code, *arguments):
    """Starts a Python program in each task of a cluster of two; returns the processes."""
    return [
        subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=environment(task),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for task in tasks(2)
    ]


def meet(mode, program=MEETING):
    """Runs a program in a pair.

    Returns worker 0's status, output and error, and worker 1's outputs.
    """
    processes = start_pair(program, mode)
    try:
        output, said = processes[0].communicate(timeout=60)
        with contextlib.suppress(subprocess.TimeoutExpired):  # Do not wait for one that hangs.
            processes[1].wait(1 if mode in ("hang", "stick", "absent") else 30)
    finally:
        for process in processes:
            process.kill()
    theirs = processes[1].communicate()
    return processes[0].returncode, output, said.strip().splitlines()[-1:], theirs


def test_workers_gather_and_agree():
    status, output, said, theirs = meet("join")
    assert status == 0, said
    # The next call returns the flags of this one, from all workers.
    answers = [[False, False], [False, False], [True, False], [False, False]]
    assert output.strip() == theirs[0].strip() == f"[[3.0, 0.0], [3.0, 10.0]] {answers}"


@pytest.mark.parametrize(
    ("mode", "sentence"),
    [
        ("hang", "did not reach step 3 within 6 s; start every worker again"),
        ("absent", "did not join the cluster within 6 s; start every worker again"),
        ("fail", "stopped: the file 7.png is gone; start every worker again"),
    ],
)
def test_a_worker_that_hangs_fails_or_never_comes_is_named(mode, sentence):
    status, _, (said,), _ = meet(mode)
    assert status == (-signal.SIGKILL if mode == "absent" else LOST_STATUS)
    assert said.startswith("error: worker 1 (127.0.0.1:")
    assert sentence in said


def test_workers_wait_for_a_chief_that_tells_that_it_works():
    status, output, said, theirs = meet("tell", WORKING)
    assert status == 0, said
    assert output.strip() == "['work'] True"
    assert theirs[0].strip() == "[] True"


def test_workers_do_not_wait_for_a_chief_that_hangs():
    status, *_ = meet("silent", WORKING)
    assert status == LOST_STATUS


def test_workers_that_hang_together_end():
    status, _, (said,), _ = meet("stick")
    assert status == LOST_STATUS
    assert "every worker reached step 3, but did not get beyond it within 6 s" in said


def test_workers_with_different_commands_are_refused_on_both_sides():
    _, _, (ours,), (_, theirs) = meet("differ")
    assert ours.startswith("error: the colour of worker 1 (127.0.0.1:")
    assert "differs from that of worker 0" in ours
    assert ours in theirs


# argv: a configuration. Two iterations, in which worker 1 gets a NaN gradient first, then none.
SPOILED = """
import hashlib, sys
import numpy as np
import tensorflow as tf
from tf_sg2 import config
from tf_sg2.training import losses, loop
spoiled = None  # A variable, once the cluster is joined.
real_loss, real_run = losses.generator_loss, loop.TrainStep.run

@tf.custom_gradient
def poison(values):
    replica = tf.distribute.get_replica_context().replica_id_in_sync_group
    bad = tf.logical_and(spoiled, tf.equal(replica, 1))
    return values, lambda upstream: tf.where(bad, np.nan, upstream)

def run(self, iteration, inputs):
    global spoiled
    spoiled = tf.Variable(False, trainable=False) if spoiled is None else spoiled
    spoiled.assign(iteration == 0)
    scalars = real_run(self, iteration, inputs)
    print(iteration, self.state.generator_skips.numpy().tolist(), digest(self.state), flush=True)
    return scalars

def digest(state):
    weights = [np.asarray(variable) for variable in state.generator.trainable_variables]
    assert all(np.isfinite(weight).all() for weight in weights)
    return hashlib.sha256(b"".join(weight.tobytes() for weight in weights)).hexdigest()

losses.generator_loss = lambda scores: poison(real_loss(scores))
loop.TrainStep.run = run
loop.train(config.load(sys.argv[1]), sys.argv[2], progress=False)
"""


def test_nan_gradient_of_one_worker_skips_the_update_of_both(tmp_path):
    path = tmp_path / "config.json"
    short = settings(
        training__path_length_weight=0, training__r1_gamma=0, training__total_kimg=2 * 8 / 1000
    )
    path.write_text(to_json(short))
    processes = start_pair(SPOILED, str(path), str(tmp_path / "run"))
    try:
        (ours, said), (theirs, _) = [process.communicate(timeout=240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    first, second = ours.splitlines()
    assert ours == theirs, "both workers have the same weights"
    assert first.startswith("0 [1, 1] ")
    assert second.startswith("1 [1, 0] ")
    assert first.split()[-1] != second.split()[-1], "the second update is applied"
    values = checkpoint_values(tmp_path / "run", 2)
    assert list(values["generator_skips/.ATTRIBUTES/VARIABLE_VALUE"]) == [1, 0]


def given(cluster, task):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}


TWO = {"worker": ["a:1", "b:2"]}


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"TF_CONFIG": ""},
        {"TF_CONFIG": "{}"},
        given({"worker": ["a:1"]}, {"type": "worker", "index": 0}),
    ],
)
def test_no_cluster_is_one_worker(config):
    assert read_cluster(config) == SINGLE_WORKER


def test_the_chief_comes_first():
    cluster = read_cluster(
        given({"worker": ["b:2", "c:3"], "chief": ["a:1"]}, {"type": "worker", "index": 1})
    )
    assert (cluster.addresses, cluster.index) == (("a:1", "b:2", "c:3"), 2)
    assert not cluster.is_chief
    assert cluster.name(2) == "worker 2 (c:3)"


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"TF_CONFIG": "{"}, "it cannot be read"),
        ({"TF_CONFIG": "[1]"}, "it cannot be read"),
        (given(TWO, {"type": "worker"}), "it cannot be read"),
        (given(TWO, {"type": "worker", "index": 2}), "the cluster has worker 0, worker 1"),
        (given(TWO, {}), "the cluster has worker 0, worker 1"),
        (given({**TWO, "ps": ["c:1"]}, {"type": "worker", "index": 0}), "of the type 'ps'"),
        (given({"worker": ["a:1", "b"]}, {"type": "worker", "index": 0}), "'b' is not HOST:PORT"),
        (
            given(TWO, {"type": "worker", "index": math.inf}),
            "the index Infinity is not a whole number",
        ),
        (given(TWO, {"type": "worker", "index": 1.9}), "the index 1.9 is not a whole number"),
        (given(TWO, {"type": "worker", "index": True}), "the index true is not a whole number"),
        (given({"worker": ["a:1", "b:99999"]}, {"type": "worker", "index": 0}), "'b:99999' is not"),
        (given({"worker": ["a:1", "b:0"]}, {"type": "worker", "index": 0}), "'b:0' is not"),
        (
            given({"worker": ["a:1", "b:\u0662"]}, {"type": "worker", "index": 0}),
            "is not HOST:PORT",
        ),
        (
            given({"worker": "a:1"}, {"type": "worker", "index": 0}),
            "'worker' is not a list of addresses",
        ),
        (given({"chief": ["a:1", "b:2"]}, {"type": "chief", "index": 0}), "there are 2 chiefs"),
        ({"TF_CONFIG": "[" * 100_000}, "it cannot be read"),
        (given({"worker": ["a:1", "a:1"]}, {"type": "worker", "index": 0}), "the same address"),
    ],
)
def test_unusable_clusters_are_refused_in_a_sentence(config, sentence):
    with pytest.raises(
        InputError, match=r"TF_CONFIG cannot be used: .*it should look like"
    ) as found:
        read_cluster(config)
    assert sentence in str(found.value)


def test_a_cluster_with_logical_devices_is_refused(tmp_path):
    task = tasks(2)[0]
    command = [
        sys.executable,
        "-m",
        "tf_sg2.commands.main",
        "train",
        f"--run={tmp_path}",
        "--preset=cards",
    ]
    found = subprocess.run(
        [*command, "--data=cards:size=16x20", "--devices=cpu:2"],
        env=environment(task),
        capture_output=True,
        text=True,
    )
    assert found.returncode == 2
    assert "with TF_CONFIG, a worker has one CPU device" in found.stderr

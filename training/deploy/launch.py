"""Tells a process its place in a cluster: TF_CONFIG from what Kubernetes or Slurm set.

    python -m tf_sg2.training.deploy.launch kubernetes tf-sg2 train --run=/runs/faces ...
    python -m tf_sg2.training.deploy.launch slurm      tf-sg2 train --run=/runs/faces ...

sets TF_CONFIG and becomes the command, so that signals reach training itself; without a command it
prints TF_CONFIG. A cluster of one process gets none: training then takes the machine's own devices.
TensorFlow is not imported. Format: TensorFlow's `TFConfigClusterResolver`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from tf_sg2.commands.exit_status import main_guard
from tf_sg2.errors import InputError

# Where the workers listen to each other; a headless Service needs no entry for it.
KUBERNETES_PORT = 2222
# Jobs of one node must not meet on one port: it follows from the job's number, below the range
# that Linux hands out itself.
SLURM_FIRST_PORT, SLURM_PORTS = 20000, 10000


def tf_config(hosts: Sequence[str], port: int, index: int) -> str:
    """Returns TF_CONFIG of worker number `index`; "" for a single worker, which needs none.

    Args:
        hosts: names of the machines, in the same order on each.
        port: TCP port, the same on each.
        index: which of them this process runs on. Worker 0 is the chief.

    Raises:
        InputError: if there is no such worker.
    """
    if not 0 <= index < len(hosts):
        raise InputError(
            f"this is worker {index}, but the cluster has workers 0 to {len(hosts) - 1}"
        )
    if len(hosts) == 1:
        return ""
    workers = [f"{host}:{port}" for host in hosts]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def from_kubernetes(environment: Mapping[str, str]) -> str:
    """Returns TF_CONFIG of a pod of an Indexed Job behind a headless Service.

    Kubernetes sets JOB_COMPLETION_INDEX and names the pods JOB-0.SERVICE, JOB-1.SERVICE, ...; the
    manifest sets TF_SG2_JOB, TF_SG2_SERVICE and TF_SG2_WORKERS (the Job's `completions`).

    Raises:
        InputError: if a variable is missing, or is no number where one is needed.
    """
    count = _number(environment, "TF_SG2_WORKERS")
    job, service = _text(environment, "TF_SG2_JOB"), _text(environment, "TF_SG2_SERVICE")
    hosts = [f"{job}-{index}.{service}" for index in range(count)]
    return tf_config(hosts, KUBERNETES_PORT, _number(environment, "JOB_COMPLETION_INDEX"))


def from_slurm(environment: Mapping[str, str]) -> str:
    """Returns TF_CONFIG of a task that `srun --ntasks-per-node=1` started.

    Slurm sets SLURM_STEP_NODELIST, SLURM_NODEID and their like; `scontrol` spells the list out.

    Raises:
        InputError: outside a job step, with several tasks on a node, or without `scontrol`.
    """
    nodes = _number(environment, "SLURM_STEP_NUM_NODES")
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS")
    if nodes != tasks:
        raise InputError(
            f"srun started {tasks} tasks on {nodes} nodes; training wants one process a node, "
            "which drives all its GPUs: srun --ntasks-per-node=1"
        )
    command = ["scontrol", "show", "hostnames", _text(environment, "SLURM_STEP_NODELIST")]
    try:
        listed = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(f"{' '.join(command)} failed: {error}") from error
    hosts = listed.stdout.split()
    if len(hosts) != nodes:
        raise InputError(f"scontrol lists {len(hosts)} hosts, but the job step has {nodes} nodes")
    port = SLURM_FIRST_PORT + _number(environment, "SLURM_JOB_ID") % SLURM_PORTS
    return tf_config(hosts, port, _number(environment, "SLURM_NODEID"))


SCHEDULERS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "kubernetes": from_kubernetes,
    "slurm": from_slurm,
}


def _text(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise InputError(f"{name} is not set; is this process part of the cluster's job?")
    return value


def _number(environment: Mapping[str, str], name: str) -> int:
    value = _text(environment, name)
    if not value.isdigit():
        raise InputError(f"{name} is {value!r}; it must be a whole number")
    return int(value)


def launch(scheduler: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Becomes `command`, with TF_CONFIG set; prints TF_CONFIG where no command is given.

    Raises:
        InputError: for an unknown scheduler, an environment that is not its own, or a command that
            cannot be started.
    """
    if scheduler not in SCHEDULERS:
        raise InputError(f"there is no scheduler {scheduler!r}; take {' or '.join(SCHEDULERS)}")
    value = SCHEDULERS[scheduler](environment)
    if not command:
        print(value)
        return
    ours = {name: text for name, text in environment.items() if name != "TF_CONFIG"}
    if value:
        ours["TF_CONFIG"] = value
    try:
        os.execvpe(command[0], list(command), ours)
    except OSError as error:
        raise InputError(f"{command[0]} cannot be started: {error.strerror}") from error


def main(arguments: Sequence[str]) -> int:
    """Runs the module as a program; returns the exit status."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    scheduler, *command = arguments
    return main_guard(lambda: launch(scheduler, command, os.environ))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Sets TF_CONFIG for a process of a cluster, from the variables of Kubernetes or Slurm.

    python -m tf_sg2.training.deploy.launch kubernetes tf-sg2 train --run=/runs/faces ...
    python -m tf_sg2.training.deploy.launch slurm      tf-sg2 train --run=/runs/faces ...

The process sets TF_CONFIG and then becomes the command, so that signals reach training itself.
Without a command it prints TF_CONFIG. A cluster of one process gets no TF_CONFIG, because training
then uses the machine's own devices. TensorFlow is not imported.

Format: TensorFlow's `TFConfigClusterResolver`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence

from tf_sg2.commands.exit_status import main_guard
from tf_sg2.config.whole_number import whole_number
from tf_sg2.errors import InputError

# The port on which workers listen to each other. A headless Service needs no entry for it.
KUBERNETES_PORT = 2222
# Two jobs on one node must not use the same port, so the job's number selects it. The ports lie
# below the range that Linux assigns itself.
SLURM_FIRST_PORT, SLURM_PORTS = 20000, 10000


def tf_config(hosts: Sequence[str], port: int, index: int) -> str:
    """Returns TF_CONFIG of worker `index`; a single worker needs none and gets "".

    Args:
        hosts: names of the machines, in the same order on each machine.
        port: TCP port, the same on each machine.
        index: the worker that this process is. Worker 0 is the chief.

    Raises:
        InputError: if there is no worker with this index.
    """
    if not 0 <= index < len(hosts):
        raise InputError(
            f"this is worker {index}, but the cluster has workers 0 to {len(hosts) - 1}; make the "
            "number of workers and the number of processes equal"
        )
    if len(hosts) == 1:
        return ""
    workers = [f"{host}:{port}" for host in hosts]
    return json.dumps({"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}})


def from_kubernetes(environment: Mapping[str, str]) -> str:
    """Returns TF_CONFIG of a pod of an Indexed Job behind a headless Service.

    Kubernetes sets JOB_COMPLETION_INDEX and names the pods JOB-0.SERVICE, JOB-1.SERVICE, ... The
    manifest sets TF_SG2_JOB, TF_SG2_SERVICE and TF_SG2_WORKERS, the Job's `completions`.

    Raises:
        InputError: if a variable is missing or is not a number.
    """
    count = _number(environment, "TF_SG2_WORKERS")
    job, service = _text(environment, "TF_SG2_JOB"), _text(environment, "TF_SG2_SERVICE")
    hosts = [f"{job}-{index}.{service}" for index in range(count)]
    return tf_config(hosts, KUBERNETES_PORT, _number(environment, "JOB_COMPLETION_INDEX"))


def from_slurm(environment: Mapping[str, str]) -> str:
    """Returns TF_CONFIG of a task that `srun --ntasks-per-node=1` started.

    Slurm sets SLURM_STEP_NODELIST, SLURM_NODEID and other variables. `scontrol` expands the list.

    Raises:
        InputError: outside a job step, with several tasks per node, or without `scontrol`.
    """
    nodes = _number(environment, "SLURM_STEP_NUM_NODES")
    tasks = _number(environment, "SLURM_STEP_NUM_TASKS")
    if nodes != tasks:
        raise InputError(
            f"srun started {tasks} tasks on {nodes} nodes, but training needs one process per "
            "node, which drives all its GPUs; add srun --ntasks-per-node=1"
        )
    command = ["scontrol", "show", "hostnames", _text(environment, "SLURM_STEP_NODELIST")]
    try:
        listed = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(
            f"{' '.join(command)} failed: {error}; run inside an srun job step"
        ) from error
    hosts = listed.stdout.split()
    if len(hosts) != nodes:
        raise InputError(
            f"scontrol lists {len(hosts)} hosts, but the job step has {nodes} nodes; check "
            "SLURM_STEP_NODELIST and SLURM_STEP_NUM_NODES"
        )
    port = SLURM_FIRST_PORT + _number(environment, "SLURM_JOB_ID") % SLURM_PORTS
    return tf_config(hosts, port, _number(environment, "SLURM_NODEID"))


SCHEDULERS: dict[str, Callable[[Mapping[str, str]], str]] = {
    "kubernetes": from_kubernetes,
    "slurm": from_slurm,
}


def _text(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise InputError(f"{name} is not set; start this process as part of the cluster's job")
    return value


def _number(environment: Mapping[str, str], name: str) -> int:
    value = _text(environment, name)
    number = whole_number(value)
    if number is None:
        raise InputError(f"{name} is {value!r}; it must be a whole number")
    return number


def launch(scheduler: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
    """Becomes `command` with TF_CONFIG set; prints TF_CONFIG if no command is given.

    Raises:
        InputError: for an unknown scheduler, an environment that it did not set, or a command that
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

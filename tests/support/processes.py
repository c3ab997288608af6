"""Training in separate processes, which tests may kill, and which may form a cluster."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import tensorflow as tf

from tf_sg2 import config


def start(run, settings, folder, *flags, task=None):
    """Starts `tf-sg2 train` on `settings`. A worker of a cluster gets its TF_CONFIG as `task`.

    Its output goes to RUN.INDEX.txt in `folder`.
    """
    index = task["task"]["index"] if task else 0
    path = folder / f"{run.name}.{index}.json"
    path.write_text(config.to_json(settings))
    command = [sys.executable, "-m", "tf_sg2.commands.main", "train", "--deterministic"]
    with open(words_of(run, folder, index), "a") as words:
        return subprocess.Popen(
            [*command, f"--run={run}", f"--config={path}", *flags],
            env=environment(task),
            stdout=words,
            stderr=words,
        )


def words_of(run, folder, index=0):
    return folder / f"{run.name}.{index}.txt"


def start_workers(run, settings, folder, *flags, count=2):
    """Starts `count` workers of one cluster."""
    return [start(run, settings, folder, *flags, task=task) for task in tasks(count)]


def tasks(count):
    """Returns the content of TF_CONFIG for each of `count` workers on loopback."""
    workers = [f"127.0.0.1:{port}" for port in free_ports(count)]
    return [
        {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        for index in range(count)
    ]


def environment(task):
    quiet = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    return {**found, **quiet, **({"TF_CONFIG": json.dumps(task)} if task else {})}


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for entry in sockets:
        entry.bind(("127.0.0.1", 0))
    ports = [entry.getsockname()[1] for entry in sockets]
    for entry in sockets:
        entry.close()
    return ports


def checkpoint_values(run, number):
    reader = tf.train.load_checkpoint(str(run / "checkpoints" / f"checkpoint-{number}"))
    names = sorted(reader.get_variable_to_shape_map())
    return {name: reader.get_tensor(name) for name in names if "_CHECKPOINTABLE" not in name}

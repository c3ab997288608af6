"""A time limit for joining the cluster, after which the process ends.

TensorFlow forms the cluster in one call that holds Python's lock, so no other Python thread of
the process runs. Another process therefore checks the time. It ends with this one, because its
input closes.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

from tf_sg2.training.cluster.failures import HOW_TO_RESUME
from tf_sg2.training.cluster.tf_config import Cluster

# Waits until its input closes or the time is over. argv: process id, seconds, the other workers as
# a JSON list of [name, host, port], and the end of the message.
_TIMER = """
import json, os, select, signal, socket, sys
process, seconds, workers, ending = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4]
signal.signal(signal.SIGINT, signal.SIG_IGN)
if not select.select([sys.stdin], [], [], seconds)[0]:
    absent = []
    for name, host, port in json.loads(workers):
        try:
            socket.create_connection((host, port), 2).close()
        except OSError:
            absent.append(name)
    who = " and ".join(absent) or "another worker"
    sys.stderr.write(f"error: {who} did not join the cluster within {seconds:g} s{ending}\\n")
    sys.stderr.flush()
    os.kill(process, signal.SIGKILL)
"""


@contextlib.contextmanager
def time_limit(cluster: Cluster, seconds: float) -> Iterator[None]:
    """Prints an error and ends the process with SIGKILL if the block takes more than `seconds`."""
    others = []
    for index, address in enumerate(cluster.addresses):
        host, _, port = address.rpartition(":")
        if index != cluster.index:
            others.append((cluster.name(index), host.strip("[]"), int(port)))
    arguments = [str(os.getpid()), str(seconds), json.dumps(others), HOW_TO_RESUME]
    with subprocess.Popen([sys.executable, "-c", _TIMER, *arguments], stdin=subprocess.PIPE):
        yield  # The timer's input closes when the block ends.

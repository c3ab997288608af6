"""Ends a worker that waits in vain for the others to come.

TensorFlow forms the cluster in one call, in which no other Python of the process runs. So another
process looks at the clock; the operating system ends it with this one.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator

from tf_sg2.training.cluster.tf_config import HOW_ON, Cluster

# Waits for the end of its input or of its time. argv: the process, seconds, workers as [name, host,
# port] in JSON, and how to go on.
_WATCHER = """
import json, os, select, signal, socket, sys
process, seconds, workers, how_on = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4]
signal.signal(signal.SIGINT, signal.SIG_IGN)
if not select.select([sys.stdin], [], [], seconds)[0]:
    absent = []
    for name, host, port in json.loads(workers):
        try:
            socket.create_connection((host, port), 2).close()
        except OSError:
            absent.append(name)
    who = " and ".join(absent) or "another worker"
    sys.stderr.write(f"error: {who} did not join the cluster within {seconds:g} s{how_on}\\n")
    sys.stderr.flush()
    os.kill(process, signal.SIGKILL)
"""


@contextlib.contextmanager
def time_limit(cluster: Cluster, seconds: float) -> Iterator[None]:
    """Ends the process with SIGKILL, after a sentence, if the block takes longer than `seconds`."""
    workers = []
    for index, address in enumerate(cluster.addresses):
        host, _, port = address.rpartition(":")
        if index != cluster.index:
            workers.append((cluster.name(index), host.strip("[]"), int(port)))
    arguments = [str(os.getpid()), str(seconds), json.dumps(workers), HOW_ON]
    with subprocess.Popen([sys.executable, "-c", _WATCHER, *arguments], stdin=subprocess.PIPE):
        yield  # Then its input is closed.

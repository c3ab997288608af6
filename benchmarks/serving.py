"""The local server under load, compared with direct calls of the exported model in one process.

    python benchmarks/serving.py --model_dir=models/cards
    python benchmarks/serving.py --model_dir=models/cards --soak=10

The first command prints the throughput of many clients and the latency of one client. Both are
ratios to direct calls of the same SavedModel with the same batch size. Direct and served runs take
turns, so other load affects both. The clients are a separate process, but they share the cores with
the server. Their processor time is printed as well, and it is part of every ratio.

The second command keeps all clients busy for 10 minutes. Half-way it puts a new version into the
model's folder. It ends with status 1 if a request failed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import multiprocessing
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

BATCH = 8  # The local server's max_batch_size.
NAME = "model"
RAMP_SECONDS = 0.5


class Load(NamedTuple):
    """The measurements of a load: seconds of each request, wall and processor seconds, errors."""

    latencies: list[float]
    wall: float
    server: float
    clients: float
    errors: list[str]


# The side of the clients. Without TensorFlow they start quickly and take little memory.


def grpc_caller(port: int, request: bytes) -> Callable[[], None]:
    """Returns a function that sends one gRPC request and raises if that fails."""
    import grpc

    channel = grpc.insecure_channel(
        f"127.0.0.1:{port}",
        options=[("grpc.max_receive_message_length", -1), ("grpc.use_local_subchannel_pool", 1)],
    )
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")

    def send() -> None:
        if not call(request, timeout=60):
            raise RuntimeError("an empty response")

    return send


def rest_caller(port: int, request: bytes) -> Callable[[], None]:
    """Returns a function that sends one REST request over a persistent connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def send() -> None:
        connection.request("POST", f"/v1/models/{NAME}:predict", request)
        answer = connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {content[:200]!r}")

    return send


CALLERS = {"gRPC": grpc_caller, "REST": rest_caller}


def processor_seconds(pid: int) -> float:
    """Returns the processor seconds of a process so far, with all its threads."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def load(kinds: dict[str, int], requests: dict, server: tuple, seconds: float) -> Load:
    """Sends requests from many threads, and measures while all of them are active.

    Args:
        kinds: threads per protocol, gRPC and REST.
        requests: the request of each protocol.
        server: the server's ports per protocol, and its process id.
        seconds: length of the measurement, without the start and the stop of the clients.
    """
    ports, pid = server
    latencies: list[float] = []
    errors: list[str] = []
    stop = threading.Event()

    def client(kind: str) -> None:
        send = CALLERS[kind](ports[kind], requests[kind])
        while not stop.is_set():
            begin = time.perf_counter()
            try:
                send()
            except Exception as error:
                errors.append(f"{kind}: {error}")
                time.sleep(0.1)
            else:
                latencies.append(time.perf_counter() - begin)

    threads = [
        threading.Thread(target=client, args=(kind,))
        for kind, count in kinds.items()
        for _ in range(count)
    ]

    def now() -> tuple[float, int, float, float]:
        return time.perf_counter(), len(latencies), processor_seconds(pid), time.process_time()

    for thread in threads:
        thread.start()
    time.sleep(RAMP_SECONDS)
    before = now()
    time.sleep(seconds)
    after = now()
    stop.set()
    for thread in threads:
        thread.join()
    return Load(
        latencies=latencies[before[1] : after[1]],
        wall=after[0] - before[0],
        server=after[2] - before[2],
        clients=after[3] - before[3],
        errors=errors,
    )


# The side of the server, and the direct calls.


class Server:
    """`tf-sg2 serve` on free ports, over a folder."""

    def __init__(self, folder: Path, flags: list[str]):
        command = [sys.executable, "-m", "tf_sg2.commands.main", "serve", f"--model_dir={folder}"]
        command += [f"--model_name={NAME}", "--port=0", "--rest_port=0", *flags]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None  # Because of PIPE.
        line = self._process.stdout.readline()
        found = re.findall(r"127\.0\.0\.1:(\d+)", line)
        if len(found) != 2:
            raise SystemExit(f"the server did not start; its first line was {line!r}")
        self.ports = {"gRPC": int(found[0]), "REST": int(found[1])}

    @property
    def address(self) -> tuple[dict[str, int], int]:
        """The server's ports and process id, for `load`."""
        return self.ports, self._process.pid

    def memory(self) -> float:
        """Returns its resident memory in MiB."""
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def metric(self, pattern: str) -> float:
        """Returns a number of its metrics page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports["REST"], timeout=10)
        connection.request("GET", "/monitoring/prometheus/metrics")
        text = connection.getresponse().read().decode()
        return sum(float(value) for value in re.findall(pattern + r"\S* (\S+)", text))

    def batches(self) -> list[float]:
        """Returns the rows and the batches that it has computed."""
        return [self.metric(f"processed_batch_size_{part}") for part in ("sum", "count")]

    def stop(self) -> None:
        """Stops it gracefully."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60)


def read_request(version: Path, signature: str, rows: int):
    """Returns a request from the model's warm-up file, cut or repeated to `rows` rows.

    Returns:
        The gRPC message and the REST body by protocol; and a function that takes a count of rows
        and returns a direct call of the SavedModel.
    """
    import numpy as np
    import tensorflow as tf

    from tf_sg2.serving.export.warmup import read_warmup

    (request,) = [r for r in read_warmup(version) if r.model_spec.signature_name == signature]
    arrays = {key: tf.make_ndarray(proto) for key, proto in request.inputs.items()}

    def sized(count: int) -> dict:
        return {key: np.resize(a, (count, *a.shape[1:])) for key, a in arrays.items()}

    request.model_spec.name = NAME
    for key, array in sized(rows).items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(array))
    instances = [{key: a[i].tolist() for key, a in sized(rows).items()} for i in range(rows)]
    body = json.dumps({"signature_name": signature, "instances": instances}).encode()
    function = tf.saved_model.load(str(version)).signatures[signature]

    def direct(count: int) -> Callable[[], None]:
        tensors = {key: tf.constant(array) for key, array in sized(count).items()}

        def call() -> None:
            for tensor in function(**tensors).values():
                tensor.numpy()

        call()
        return call

    return {"gRPC": request.SerializeToString(), "REST": body}, direct


def repeated(call: Callable[[], None], seconds: float) -> list[float]:
    """Returns the times of successive calls."""
    times, end = [], time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        call()
        times.append(time.perf_counter() - begin)
    return times


def percentiles(latencies: list[float]) -> str:
    """Returns median, 95th and 99th percentile in milliseconds."""
    ordered = sorted(latencies)
    picked = [ordered[min(len(ordered) - 1, int(len(ordered) * q))] for q in (0.5, 0.95, 0.99)]
    return " / ".join(f"{1e3 * value:.1f}" for value in picked)


def newest(folder: Path) -> Path:
    """Returns the newest version in a model's folder."""
    numbers = [int(child.name) for child in folder.iterdir() if child.name.isdigit()]
    if not numbers:
        raise SystemExit(f"{folder} holds no version; make one with tf-sg2 export")
    return folder / str(max(numbers))


def compare(server: Server, requests: dict, direct, pool, options: argparse.Namespace) -> None:
    """Prints throughput and latency of served and direct calls."""
    seconds, rows = options.seconds, options.rows
    batch, row = direct(BATCH), direct(rows)
    found: dict[str, dict[str, list]] = {kind: defaultdict(list) for kind in CALLERS}

    def bare() -> tuple[float, float]:
        before = time.process_time()
        times = repeated(batch, seconds)
        count = BATCH * len(times)
        return count / sum(times), (time.process_time() - before) / count

    speeds = [bare()]
    for _ in range(options.rounds):
        for kind, here in found.items():
            sizes = server.batches()
            clients = {kind: options.clients}
            got = pool.apply(load, (clients, requests, server.address, seconds))
            if got.errors:
                raise SystemExit(f"{len(got.errors)} requests failed: {got.errors[0]}")
            done = rows * len(got.latencies)
            speeds.append(bare())
            speed, cost = [sum(pair) / 2 for pair in zip(*speeds[-2:], strict=True)]
            here["ratio"].append(100 * done / got.wall / speed)
            here["processor"].append(100 * got.server / done / cost)
            here["clients"].append(got.clients / got.wall)
            here["latency"] += got.latencies
            here["sizes"].append([b - a for a, b in zip(sizes, server.batches(), strict=True)])
        single = statistics.median(repeated(row, seconds / 4))
        for kind, here in found.items():
            got = pool.apply(load, ({kind: 1}, requests, server.address, seconds / 4))
            here["added"].append(1e3 * (statistics.median(got.latencies) - single))
    median = statistics.median
    print(f"direct, batches of {BATCH}: {median(speed for speed, _ in speeds):.1f} rows/s")
    for kind, here in found.items():
        quarters = statistics.quantiles(here["ratio"], n=4)
        many, count = map(sum, zip(*here["sizes"], strict=True))
        print(
            f"{kind}, {options.clients} clients of {rows} row(s): {median(here['ratio']):.0f}% of "
            f"direct (middle half of the rounds {quarters[0]:.0f} to {quarters[2]:.0f}), "
            f"{median(here['processor']):.0f}% of its processor time per row without "
            f"the clients, which took {median(here['clients']):.2f} of {os.cpu_count()} cores; "
            f"latency p50/p95/p99 {percentiles(here['latency'])} ms; "
            f"{many / count:.1f} rows per batch"
        )
    print(f"direct, {rows} row(s): {1e3 * single:.2f} ms")
    for kind, here in found.items():
        print(f"{kind}, one client: {median(here['added']):+.2f} ms over direct")


def soak(server: Server, folder: Path, requests: dict, pool, options: argparse.Namespace) -> None:
    """Loads both ports and adds a version half-way; exits with status 1 if a request fails."""
    seconds = 60 * options.soak
    kinds = {"gRPC": options.clients // 2, "REST": options.clients // 2}
    before = server.memory()
    running = pool.apply_async(load, (kinds, requests, server.address, seconds))
    running.wait(seconds / 2)
    version = newest(folder)
    shutil.copytree(version, folder / ".next")
    (folder / ".next").rename(folder / str(int(version.name) + 1))
    latencies, wall, _, _, errors = running.get(seconds + 120)
    done = options.rows * len(latencies)
    swapped = server.metric(
        rf'loaded_versions{{model_name="{NAME}",version="{int(version.name) + 1}"'
    )
    print(
        f"{options.soak:g} minutes, {done} rows, {done / wall:.1f} rows/s, {len(errors)} "
        f"errors; latency p50/p95/p99 {percentiles(latencies)} ms; the new version "
        f"{'was loaded' if swapped else 'WAS NOT LOADED'}; memory {before:.0f} MiB before, "
        f"{server.memory():.0f} MiB after"
    )
    if errors or not swapped:
        raise SystemExit(f"failed: {errors[:1]}")


def main() -> None:
    """Runs the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model_dir", type=Path, required=True)
    parser.add_argument("--signature", default="generate")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rows", type=int, default=1, help="rows per request")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each run")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--soak", type=float, default=0.0, metavar="MINUTES")
    options, flags = parser.parse_known_args()  # Other flags go to the server.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / NAME
        version = newest(options.model_dir)
        shutil.copytree(version, folder / version.name)
        requests, direct = read_request(version, options.signature, options.rows)
        server = Server(folder, flags)
        try:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                if options.soak:
                    soak(server, folder, requests, pool, options)
                else:
                    compare(server, requests, direct, pool, options)
        finally:
            server.stop()


if __name__ == "__main__":
    main()

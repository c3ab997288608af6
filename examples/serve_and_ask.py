"""Starts the local server on an exported model, asks it for images, and stops it.

tf-sg2 export --run=runs/cards --out=models/cards
python examples/serve_and_ask.py models/cards images
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from tf_sg2.serving import Client
from tf_sg2.serving.client.client import RequestError

SECONDS = 120  # The server loads TensorFlow and the model first.


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def connect(address: str, model: str, server: subprocess.Popen) -> Client:
    """Returns a client once the server has loaded the model."""
    client = Client(address, model)
    end = time.monotonic() + SECONDS
    while True:
        try:
            client.signatures()
            return client
        except RequestError:
            if server.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.2)


def serve_and_ask(model_dir: str, out: str) -> None:
    """Writes the images of seeds 0 to 3 as PNGs into the folder `out`."""
    port = free_port()
    command = [str(Path(sys.executable).with_name("tf-sg2")), "serve", f"--model_dir={model_dir}"]
    server = subprocess.Popen([*command, "--port=0", f"--rest_port={port}"])
    try:
        with connect(f"http://127.0.0.1:{port}", Path(model_dir).name, server) as client:
            Path(out).mkdir(parents=True, exist_ok=True)
            for seed, png in enumerate(client.generate(range(4), truncation_psi=0.7)):
                Path(out, f"seed{seed}.png").write_bytes(png)
    finally:
        server.terminate()  # SIGTERM: it answers what is in progress, and ends.
        server.wait()


if __name__ == "__main__":
    serve_and_ask(*sys.argv[1:])

"""`tf-sg2 evaluate` with the client, so that it can judge what a server answers."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from tf_sg2.commands import evaluate
from tf_sg2.commands.flags import FlagValues

if TYPE_CHECKING:
    from tf_sg2.evaluation.judged import Judged
    from tf_sg2.serving.client.client import Client

PROBES = 4  # Pictures that tell one served model from another.


@contextlib.contextmanager
def open_server(values: FlagValues) -> Iterator[Judged]:
    """Yields the pictures of a server: `generate` without truncation, with stored noise.

    Raises:
        InputError: if the server does not answer, or serves no such model.
    """
    from tf_sg2.serving.client.client import Client
    from tf_sg2.serving.token_file import read_token

    with Client(values.server, values.served_model, token=read_token(values.token_file)) as client:
        yield judged_server(client)


def judged_server(client: Client) -> Judged:
    """Returns what a server's model generates.

    Image i of a seed is a function of both. The model is recognised by its version and by the
    bytes of a few pictures, because a version can be replaced.
    """
    from tf_sg2.evaluation.judged import Judged
    from tf_sg2.metrics.extraction import Images, drawn_fingerprint
    from tf_sg2.serving.commands.client import pixels

    label_dim = client.label_dim()
    states = client.status()
    version = next((s["version"] for s in states if s["state"] == "AVAILABLE"), None)
    first_label = np.eye(1, label_dim, dtype=np.float32)[0] if label_dim else None
    probes = client.generate(range(PROBES), 1.0, first_label)
    height, width, channels = pixels(probes[0]).shape
    digest = hashlib.sha256(f"{client.address} {client.model} {version}".encode())
    for png in probes:
        digest.update(png)
    fingerprint = digest.hexdigest()

    def images(seed: int, labels: np.ndarray | None) -> Images:
        def read(first: int, count: int) -> np.ndarray:
            seeds = np.empty(count, np.int64)
            given = None if labels is None else np.empty((count, label_dim), np.float32)
            for i in range(count):
                random = np.random.default_rng([seed, first + i])
                seeds[i] = random.integers(2**62)
                if given is not None and labels is not None:
                    given[i] = labels[random.integers(len(labels))]
            return np.stack([pixels(png) for png in client.generate(seeds.tolist(), 1.0, given)])

        return Images(read, None, drawn_fingerprint(fingerprint, labels, seed))

    return Judged(
        name=client.address,
        image_size=(height, width),
        image_channels=channels,
        label_dim=label_dim,
        images=images,
        about={
            "kind": "server",
            "model": client.model,
            "version": version,
            "pictures_sha256": fingerprint,
            "truncation_psi": 1.0,
            "noise": "const",
        },
        fingerprint=fingerprint,
        checkpoint=None if version is None else str(version),
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 evaluate`."""
    evaluate.main(arguments, open_server)

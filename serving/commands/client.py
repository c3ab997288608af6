"""`tf-sg2 client`: gets pictures from a server; it needs no run and, over REST, no TensorFlow."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tf_sg2 import __version__
from tf_sg2.commands.flags import CommandFlags, FlagValues, parse
from tf_sg2.errors import InputError
from tf_sg2.images import grid, save_png
from tf_sg2.latent.labels import parse_label
from tf_sg2.latent.seeds import parse_numbers
from tf_sg2.serving.client.client import (
    DEFAULT_ADDRESS,
    DEFAULT_BATCH_SIZE,
    DEFAULT_TIMEOUT,
    Client,
    RequestError,
)
from tf_sg2.serving.token_file import read_token

BETWEEN_TRIES = 0.5  # Seconds.

USAGE = """
tf-sg2 client generate: gets pictures by seed from a server of TensorFlow Serving's protocol.

  tf-sg2 client generate --seeds=0-15 --psi=0.7 --out=grid.png
  tf-sg2 client generate --server=127.0.0.1:8500 --model=cards --seeds=0-15 --out=grid.png

The address selects the protocol: http://HOST:PORT is REST, HOST:PORT is gRPC. --model can be left
out for a local server with a page and one model.
"""


def generate(
    client: Client,
    seeds: Sequence[int],
    truncation_psi: float,
    out: str | Path,
    labels: np.ndarray | None = None,
    columns: int | None = None,
) -> None:
    """Gets the pictures of seeds from a server and writes them as one grid.

    Args:
        client: client of the server.
        seeds: one seed per picture.
        truncation_psi: from 1 for full variety to 0 for the mean picture.
        out: a .png file; it appears complete or not at all.
        labels: label of a conditional model, float32 [label_dim].
        columns: columns of the grid; None makes it about square.

    Raises:
        InputError: if a request fails, or `out` cannot be written.
    """
    pictures: list[np.ndarray] = []
    with tqdm(total=len(seeds), unit="image", leave=False, disable=None) as progress:
        for start in range(0, len(seeds), client.batch_size):
            some = seeds[start : start + client.batch_size]
            pictures += map(pixels, client.generate(some, truncation_psi, labels))
            progress.update(len(some))
    columns = columns or math.ceil(math.sqrt(len(seeds)))
    sheet = grid(np.stack(pictures), math.ceil(len(seeds) / columns), columns)
    metadata: dict[str, object] = {
        "seeds": ",".join(map(str, seeds)),
        "psi": truncation_psi,
        "model": client.model,
        "Software": f"tf-sg2 {__version__}",
    }
    if client.version is not None or client.label is not None:
        metadata["version"] = client.label if client.version is None else client.version
    if labels is not None:
        metadata["labels"] = ",".join(f"{value:g}" for value in labels)
    save_png(out, sheet, metadata)


def pixels(png: bytes) -> np.ndarray:
    """Returns the pixels of a server's PNG, uint8 [H, W, C].

    Raises:
        InputError: if it is no picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(png)) as picture:
            pixels = np.asarray(picture)
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(
            "the server's answer is not a picture; serve a model of tf-sg2 export"
        ) from error
    return pixels[..., None] if pixels.ndim == 2 else pixels  # [H, W, C]


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    flags.string("out", None, ".png file for the grid of pictures", required=True)
    flags.string("seeds", None, "seeds, such as 0-15,20,33", required=True)
    flags.number("psi", 0.7, "1: full variety; towards 0: fewer flaws; 0: the mean picture")
    flags.string(
        "labels",
        None,
        "for conditional models: a class number, or the label's numbers separated by commas",
    )
    flags.integer("columns", None, "columns of the grid; default: about square", lower_bound=1)
    flags.string("server", DEFAULT_ADDRESS, "http://HOST:PORT for REST, HOST:PORT for gRPC")
    flags.string("model", None, "name of the model; default: the server's only model")
    flags.integer("version", None, "version of the model; default: the latest", 0)
    flags.string("label", None, "label of a version, such as canary, instead of --version")
    flags.string("token_file", None, "file with the server's token")
    flags.number("timeout", DEFAULT_TIMEOUT, "seconds a request may take")
    flags.number("wait", 0.0, "seconds to wait until the server is available", 0)
    flags.integer("batch_size", DEFAULT_BATCH_SIZE, "pictures per request", lower_bound=1)


def _connected(values: FlagValues) -> Client:
    """Returns a client whose server answers, after waiting for at most --wait seconds."""
    token, end = read_token(values.token_file), time.monotonic() + values.wait
    while True:
        client = None
        try:
            client = Client(
                values.server,
                values.model,
                version=values.version,
                label=values.label,
                token=token,
                timeout=values.timeout,
                batch_size=values.batch_size,
            )
            client.status()
            return client
        except RequestError as error:
            if client is not None:
                client.close()
            if error.code != "UNAVAILABLE" or time.monotonic() > end:
                raise
            time.sleep(BETWEEN_TRIES)


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 client`."""
    verb = next(iter(arguments), None)
    values = parse("client", arguments[verb == "generate" :], define_flags, USAGE)
    if verb != "generate":
        raise InputError("the client needs a verb: tf-sg2 client generate --seeds=0-15 ...")
    if Path(values.out).suffix.lower() != ".png":
        raise InputError(f"--out={values.out} is not a .png file; give a name that ends in .png")
    seeds = parse_numbers(values.seeds, "--seeds")
    with _connected(values) as client:
        labels = parse_label(values.labels, client.label_dim())
        generate(client, seeds, values.psi, values.out, labels, values.columns)
    print(f"{len(seeds)} picture{'s' * (len(seeds) > 1)} of {client.model}: {values.out}")

"""`tf-sg2 client`: pictures from a server, which needs neither the run nor TensorFlow here."""

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
tf-sg2 client generate: pictures by seed from a server of TensorFlow Serving's protocol.

  tf-sg2 client generate --seeds=0-15 --psi=0.7 --out=grid.png
  tf-sg2 client generate --server=127.0.0.1:8500 --model=cards --seeds=0-15 --out=grid.png

The form of the address chooses the protocol: http://HOST:PORT is REST, HOST:PORT gRPC. A local
server with a page and one model tells its name; others need --model.
"""


def generate(
    client: Client,
    seeds: Sequence[int],
    truncation_psi: float,
    out: str | Path,
    labels: np.ndarray | None = None,
    columns: int | None = None,
) -> None:
    """Writes the pictures of seeds, as a server makes them, as one sheet.

    Args:
        client: asks the server.
        seeds: one a picture.
        truncation_psi: 1 for all variety, 0 for the mean picture.
        out: a .png file; it appears whole or not at all.
        labels: float32 [label_dim] for conditional models.
        columns: of the sheet; about as many as rows where None.

    Raises:
        InputError: if the server does not answer, or `out` cannot be written.
    """
    pictures: list[np.ndarray] = []
    with tqdm(total=len(seeds), unit="image", leave=False, disable=None) as progress:
        for start in range(0, len(seeds), client.batch_size):
            some = seeds[start : start + client.batch_size]
            pictures += map(_pixels, client.generate(some, truncation_psi, labels))
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


def _pixels(png: bytes) -> np.ndarray:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(png)) as picture:
            pixels = np.asarray(picture)
    except (UnidentifiedImageError, OSError) as error:
        raise InputError("the server's answer is no picture; is it a tf-sg2 export?") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels  # [H, W, C]


def define_flags(flags: CommandFlags) -> None:
    """Defines the flags of the command."""
    flags.string("out", None, ".png file for the sheet of pictures", required=True)
    flags.string("seeds", None, "seeds, such as 0-15,20,33", required=True)
    flags.number("psi", 0.7, "1: all variety; towards 0: fewer flaws; 0: the mean picture")
    flags.string(
        "labels",
        None,
        "conditional models: class number, or the label's numbers separated by commas",
    )
    flags.integer("columns", None, "of the sheet; default: about as many as rows", lower_bound=1)
    flags.string("server", DEFAULT_ADDRESS, "http://HOST:PORT for REST, HOST:PORT for gRPC")
    flags.string("model", None, "its name; default: the server's only one")
    flags.integer("version", None, "of the model; default: the latest", 0)
    flags.string("label", None, "of a version, such as canary, in its place")
    flags.string("token_file", None, "file with the token that the server wants")
    flags.number("timeout", DEFAULT_TIMEOUT, "seconds a request may take")
    flags.number("wait", 0.0, "seconds to wait for a server that starts", 0)
    flags.integer("batch_size", DEFAULT_BATCH_SIZE, "pictures a request", lower_bound=1)


def _connected(values: FlagValues) -> Client:
    """A client whose server has answered, if need be after a while."""
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
        raise InputError("say what the client shall do: tf-sg2 client generate --seeds=0-15 ...")
    if Path(values.out).suffix.lower() != ".png":
        raise InputError(f"the sheet is one picture, but --out={values.out} is no .png file")
    seeds = parse_numbers(values.seeds, "--seeds")
    with _connected(values) as client:
        labels = parse_label(values.labels, client.label_dim())
        generate(client, seeds, values.psi, values.out, labels, values.columns)
    print(f"{len(seeds)} picture{'s' * (len(seeds) > 1)} of {client.model}: {values.out}")

"""`tf-sg2 serve`: an exported model over gRPC and REST."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from tf_sg2 import command_line
from tf_sg2.errors import InputError

USAGE = """
tf-sg2 serve: answers TensorFlow Serving's protocol on this machine. Needs the extra [serve].

  tf-sg2 serve --model_dir=models/cards

Serves the newest version in models/cards as the model `cards`, and takes up newer ones as they are
exported.
"""


def _define_flags(values: flags.FlagValues) -> None:
    shared = dict(flag_values=values)
    flags.DEFINE_string("model_dir", None, "the model's folder, as exported (needed)", **shared)
    flags.DEFINE_integer("port", 8500, "gRPC port; 0 takes a free one", 0, 65535, **shared)
    flags.DEFINE_integer("rest_port", 8501, "REST port; 0 takes a free one", 0, 65535, **shared)
    flags.DEFINE_string("host", "127.0.0.1", "address to listen on", **shared)
    flags.DEFINE_string(
        "token_file", None, "file with a token; requests must then bear it", **shared
    )
    flags.DEFINE_boolean(
        "page", True, "a page to try the model on, at / of the REST port", **shared
    )


def main(arguments: Sequence[str]) -> None:
    """Runs `tf-sg2 serve`."""
    values = command_line.parse("serve", arguments, _define_flags, USAGE)
    if not values.model_dir:
        raise InputError("--model_dir is needed: the model's folder, as exported")
    token = None
    if values.token_file:
        try:
            token = Path(values.token_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--token_file {values.token_file} cannot be read: {error}") from error
        if not token:
            raise InputError(f"--token_file {values.token_file} is empty; put a token into it")
    try:
        from tf_sg2.serving.server.run import serve
    except ModuleNotFoundError as error:
        raise InputError(f"{error.name} is missing; pip install 'tf-sg2[serve]'") from error
    serve(Path(values.model_dir), values.port, values.rest_port, values.host, token, values.page)

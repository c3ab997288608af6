"""A trained run as a SavedModel that a stock TensorFlow Serving binary runs.

A version appears whole or not at all: it is written under a hidden name, which servers that look
for new versions skip, and renamed when it is complete and was tried out.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_sg2.atomic import new_folder
from tf_sg2.errors import InputError
from tf_sg2.ops import use_implementation
from tf_sg2.run_directory import Run
from tf_sg2.serving.signatures import ServedModel
from tf_sg2.serving.stock_graph import check_stock
from tf_sg2.serving.warmup import read_warmup, warmup_requests, write_warmup

LARGEST_VERSION = 2**63 - 1


def export(run: Run, out: str | Path, version: int | None = None, rows_at_once: int = 1) -> Path:
    """Writes the EMA generator of `run` as a version of the model in `out`.

    Args:
        run: from `load_run`.
        out: the model's folder, named as the model; it holds one folder a version.
        version: the new version's number; the next one where None.
        rows_at_once: see `ServedModel`.

    Returns:
        The version's folder.

    Raises:
        InputError: if the version is there already, or cannot be written.
    """
    out = Path(out)
    target = out / str(check_version(out, version))
    config = run.config.generator
    with use_implementation("tensorflow"):
        served = ServedModel(run.generator, run.generator.synthesis, rows_at_once)
        functions = served.concrete_functions()
    with new_folder(target) as folder:
        with _quiet():
            # A server takes no gradients; saving those of our operations doubles the graph.
            options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
            tf.saved_model.save(served.holder(), str(folder), functions, options)
        check_stock(folder)
        write_warmup(folder, warmup_requests(config, out.name, rows_at_once))
        _try_out(folder, served)
    return target


def versions(out: Path) -> list[int]:
    """Returns the numbers of the versions in a model's folder, in order."""
    names = (path.name for path in out.iterdir()) if out.is_dir() else ()
    return sorted(int(name) for name in names if name.isascii() and name.isdigit())


def check_version(out: Path, version: int | None) -> int:
    """Returns the number of the version to write: `version`, or the next one.

    Raises:
        InputError: if `out` is no place for it, or that version is there already.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out={out} is a file; name the folder that holds a model's versions")
    if (out / "saved_model.pb").exists():
        raise InputError(f"--out={out} is itself a version; name the folder above it")
    there = versions(out)
    if version is None:
        return there[-1] + 1 if there else 1
    if not 1 <= version <= LARGEST_VERSION:
        raise InputError(f"--version={version} must be in 1...{LARGEST_VERSION}")
    if version in there:
        raise InputError(
            f"{out} has a version {version} already; versions are never written over: "
            "leave --version out for the next number"
        )
    return version


def _try_out(folder: Path, served: ServedModel) -> None:
    """Runs the warm-up requests on what was written: a server that fails at one stays unready."""
    with _quiet():
        loaded = tf.saved_model.load(str(folder))
    for request in read_warmup(folder):
        name = request.model_spec.signature_name
        inputs = {key: tf.constant(tf.make_ndarray(x)) for key, x in request.inputs.items()}
        for key, answer in loaded.signatures[name](**inputs).items():
            expected = served.functions[name](**inputs)[key]
            if not np.array_equal(answer.numpy(), expected.numpy()):
                raise RuntimeError(f"the export's {name} answers otherwise than the model: {key}")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Holds back TensorFlow's notices: of the hidden name, and of gradients that are not saved."""
    levels = {logger: logger.level for logger in (tf.get_logger(), logging.getLogger("absl"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)

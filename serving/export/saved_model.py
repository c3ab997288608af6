"""Exports a trained run as a SavedModel for an unmodified TensorFlow Serving binary.

A version appears complete or not at all. It is written under a hidden name, which servers ignore,
and renamed after it has been tested.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tf_sg2.compat import raw_variable
from tf_sg2.errors import InputError
from tf_sg2.files import ExistsError, new_folder
from tf_sg2.ops import use_implementation
from tf_sg2.runs.load import LoadedRun
from tf_sg2.serving.export.bfloat16 import compare, in_bfloat16
from tf_sg2.serving.export.model_card import model_card, write_card
from tf_sg2.serving.export.signatures import ServedModel
from tf_sg2.serving.export.stock_graph import check_stock
from tf_sg2.serving.export.warmup import read_warmup, warmup_requests, write_warmup
from tf_sg2.serving.versions import LARGEST_VERSION, version_number


def export(
    run: LoadedRun,
    out: str | Path,
    version: int | None = None,
    bfloat16: bool = False,
    rows_at_once: int = 1,
    license_text: str | None = None,
) -> Path:
    """Writes the EMA generator of `run` as a version of the model in `out`.

    Args:
        run: the result of `load_run`.
        out: the folder of the model, which has the model's name and one folder per version.
        version: number of the new version; None takes the next number.
        bfloat16: whether the synthesis network computes in bfloat16.
        rows_at_once: see `ServedModel`.
        license_text: licence of the weights, for the model card.

    Returns:
        The folder of the version.

    Raises:
        InputError: if the version exists or cannot be written, or a weight is not finite.
    """
    out = Path(out)
    version = check_version(out, version)
    generator, name = run.generator, out.resolve().name
    check_finite(generator.weights, run.checkpoint.name)
    synthesis = in_bfloat16(generator) if bfloat16 else generator.synthesis
    # Rounding up to bfloat16 may overflow.
    check_finite(synthesis.weights, f"{run.checkpoint.name} in bfloat16")
    difference = compare(generator, synthesis) if bfloat16 else None
    with use_implementation("tensorflow"):
        served = ServedModel(generator, synthesis, rows_at_once)
        functions = served.concrete_functions()
        try:
            with new_folder(out / str(version)) as folder:
                with _quiet():
                    # A server needs no gradients, and those of our operations double the graph.
                    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
                    tf.saved_model.save(served.holder(), str(folder), functions, options)
                operations = check_stock(folder)
                write_warmup(folder, warmup_requests(generator.config, name, rows_at_once))
                try_out(folder, served)
                card = model_card(
                    run, name, version, license_text, rows_at_once, difference, operations
                )
                write_card(folder, card)
        except ExistsError as error:
            raise InputError(
                f"{out} has a version {version} now: another export wrote it at the same time; "
                "export again without --version for the next number"
            ) from error
    return out / str(version)


def versions(out: Path) -> list[int]:
    """Returns the version numbers in the folder of a model, sorted."""
    names = (path.name for path in out.iterdir()) if out.is_dir() else ()
    return sorted(number for name in names if (number := version_number(name)) is not None)


def check_version(out: Path, version: int | None) -> int:
    """Returns the number of the version to write: `version`, or the next number if it is None.

    Raises:
        InputError: if `out` is not the folder of a model, or the version is out of range or exists.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out={out} is a file; name the folder that holds a model's versions")
    if (out / "saved_model.pb").exists():
        raise InputError(f"--out={out} is itself a version; name the folder above it")
    there = versions(out)
    if version is None:
        version = there[-1] + 1 if there else 1
    if not 1 <= version <= LARGEST_VERSION:
        raise InputError(f"--version={version} must be in 1...{LARGEST_VERSION}; give another")
    if version in there:
        raise InputError(
            f"{out} has a version {version} already, and versions are never overwritten; "
            "leave out --version for the next number"
        )
    return version


def check_finite(weights: Iterable[Any], what: str) -> None:
    """Checks that every weight is finite: NaN gives a blank picture, which looks like a result.

    Args:
        weights: the weights to check.
        what: name of the model in the message.

    Raises:
        InputError: names the first weight that holds NaN or infinity, and counts the others.
    """
    bad = [
        getattr(weight, "path", weight.name)  # In Keras 2.15 the name is the path.
        for weight in weights
        if not tf.reduce_all(tf.math.is_finite(raw_variable(weight)))
    ]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise InputError(
            f"{what} holds NaN or infinity in {bad[0]}{more}; nothing was exported: choose an "
            "earlier checkpoint with --checkpoint"
        )


def try_out(folder: Path, served: ServedModel) -> None:
    """Runs the warm-up requests on the written model and compares it with the model in memory.

    A server on which a warm-up request fails never becomes ready. Therefore the export fails first.

    Raises:
        InputError: if an output differs.
    """
    with _quiet():
        loaded = tf.saved_model.load(str(folder))
    for request in read_warmup(folder):
        name = request.model_spec.signature_name
        inputs = {key: tf.constant(tf.make_ndarray(x)) for key, x in request.inputs.items()}
        answers, expected = loaded.signatures[name](**inputs), served.functions[name](**inputs)
        for key, answer in answers.items():
            ours, theirs = _numbers(answer), _numbers(expected[key])
            difference = np.mean(np.abs(ours - theirs)) if ours.shape == theirs.shape else np.inf
            # A GPU may choose another algorithm each time. A lost weight changes more.
            if not difference <= 1e-3 * max(np.max(np.abs(theirs), initial=0), 1):
                raise InputError(
                    f"{folder}: the written model answers otherwise than the model in memory, at "
                    f"output {key} of signature {name}; nothing was exported: export again, and "
                    "report it if it happens again"
                )


def _numbers(answer: tf.Tensor) -> np.ndarray:
    if answer.dtype == tf.string:
        answer = tf.stack([tf.io.decode_png(png) for png in answer])
    return answer.numpy().astype(np.float64)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides TensorFlow's notices about the hidden name and about gradients that are not saved."""
    levels = {logger: logger.level for logger in (tf.get_logger(), logging.getLogger("absl"))}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)

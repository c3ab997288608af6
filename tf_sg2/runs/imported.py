"""Run directories made of other programs' networks, with the origin of the weights."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_sg2.config import Config
from tf_sg2.files import new_folder
from tf_sg2.runs.checkpoints import CHECKPOINT_NAME, checkpoint_of
from tf_sg2.runs.directory import RunDirectory

if TYPE_CHECKING:
    from tf_sg2.weights.foreign.build import Built

LICENSE_NOTE = (
    "The weights keep the licence of their origin. Pickles of the official releases are usually "
    "under NVIDIA's licences, which forbid commercial use; ask whoever gave you the file."
)


def origin_of(source: str | Path, kind: str, notes: tuple[str, ...]) -> dict[str, Any]:
    """Returns what a model card says about a foreign file.

    Args:
        source: the file.
        kind: what the file is.
        notes: sentences about what it lacks.
    """
    path = Path(source)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return {
        "file": path.name,
        "kind": kind,
        "sha256": digest,
        "license": LICENSE_NOTE,
        "notes": list(notes),
    }


def read_origin(directory: RunDirectory) -> dict[str, Any] | None:
    """Returns the origin of an imported run; None for a run that was trained here."""
    if not directory.origin_path.is_file():
        return None
    return json.loads(directory.origin_path.read_text(encoding="utf-8"))


def write_imported_run(
    path: str | Path, config: Config, networks: Built, origin: dict[str, Any]
) -> RunDirectory:
    """Writes a run directory with one checkpoint, at iteration 0; it appears whole or not at all.

    The checkpoint holds the networks only. So the run can be used and be the start of another
    training (`--init_from`), but its own training cannot be resumed.

    Raises:
        InputError: if `path` is a folder that is not empty, or cannot be written.
    """
    import tensorflow as tf

    RunDirectory(path)  # Refuses names that TensorFlow would read as a pattern.
    with new_folder(path) as folder:
        run = RunDirectory(folder)
        run.write_config(config)
        parts = {
            "generator": networks.generator,
            "discriminator": networks.discriminator,
            "generator_ema": networks.average,
            "images_seen": tf.Variable(0, dtype=tf.int64, trainable=False),
            "iteration": tf.Variable(0, dtype=tf.int64, trainable=False),
        }
        manager = tf.train.CheckpointManager(
            checkpoint_of(parts),
            str(run.checkpoints),
            max_to_keep=1,
            checkpoint_name=CHECKPOINT_NAME,
        )
        manager.save(checkpoint_number=0)
        run.origin_path.write_text(json.dumps(origin, indent=2) + "\n", encoding="utf-8")
        (folder / "README.md").write_text(_card(config, origin), encoding="utf-8")
    return RunDirectory(path)


def _card(config: Config, origin: dict[str, Any]) -> str:
    g = config.generator
    height, width = g.image_size
    lines = [
        "# Imported network",
        "",
        f"- File: {origin['file']} ({origin['kind']})",
        f"- SHA-256: {origin['sha256']}",
        f"- Images: {height}x{width}, {g.image_channels} channels, label_dim {g.label_dim}",
        f"- Licence: {origin['license']}",
        *(f"- {note}" for note in origin["notes"]),
    ]
    return "\n".join(lines) + "\n"

"""What is judged: a checkpoint of a run, an exported model, or images in a folder or a zip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_sg2.data.open import open_source
from tf_sg2.data.source import ImageSource
from tf_sg2.errors import InputError, first_line
from tf_sg2.metrics.extraction import Images, drawn_fingerprint, draws, generated_images
from tf_sg2.metrics.features.weight_files import file_sha256

if TYPE_CHECKING:
    from tf_sg2.runs.load import LoadedRun

SAVED_MODEL = "saved_model.pb"
SIGNATURE = "serving_default"
CARD = Path("assets.extra") / "model_card.json"
_READERS = 8  # Threads that decode images.


@dataclass(frozen=True)
class Judged:
    """What is judged.

    Attributes:
        name: how messages call it.
        image_size: (height, width) of its images.
        image_channels: 1, 3 or 4.
        label_dim: width of the labels that it needs; 0 without.
        images: (seed, labels [M, label_dim] or None) -> its images.
        about: what the recipe of a result says about it.
        checkpoint: name of the checkpoint or of the version, if there is one.
        iteration: iteration of the checkpoint, if it is known.
        kimg: thousands of images that it was trained on, if that is known.
        generator: the generator, where its weights can be used.
        fingerprint: changes whenever its images would.
    """

    name: str
    image_size: tuple[int, int]
    image_channels: int
    label_dim: int
    images: Callable[[int, np.ndarray | None], Images]
    about: Mapping[str, Any]
    fingerprint: str
    checkpoint: str | None = None
    iteration: int | None = None
    kimg: float | None = None
    generator: Any = field(default=None, repr=False)


def judged_run(run: LoadedRun, devices: Sequence[str] = ()) -> Judged:
    """Returns the EMA generator of a run's checkpoint.

    Args:
        run: the loaded run.
        devices: TensorFlow's devices that share the work; see `generated_images`.
    """
    import tensorflow as tf

    from tf_sg2.runs.checkpoints import checkpoint_hashes
    from tf_sg2.runs.load import restore_parts

    config = run.config.generator
    iteration = tf.Variable(0, dtype=tf.int64, trainable=False)
    restore_parts(run.checkpoint, run.directory, {"iteration": iteration})
    hashes = checkpoint_hashes(run.checkpoint)
    fingerprint = _digest(hashes.values())
    return Judged(
        name=str(run.directory.path),
        image_size=config.image_size,
        image_channels=config.image_channels,
        label_dim=config.label_dim,
        images=lambda seed, labels: generated_images(
            run.generator, fingerprint, labels, seed, devices
        ),
        about={
            "kind": "run",
            "checkpoint": {"name": run.checkpoint.name, "sha256": fingerprint},
            "truncation_psi": 1.0,
            "noise": "random",
        },
        fingerprint=fingerprint,
        checkpoint=run.checkpoint.name,
        iteration=int(iteration.numpy()),
        kimg=run.images_seen / 1000,
        generator=run.generator,
    )


def judged_source(path: str) -> Judged:
    """Returns the images of a folder, a zip or TFRecords as they are.

    Raises:
        InputError: if there are none, or they are of different sizes.
    """
    source = open_source(path)
    images = images_of(source)
    return Judged(
        name=path,
        image_size=source.image_size,
        image_channels=source.image_channels,
        label_dim=0,  # They need none.
        images=lambda seed, labels: images,
        about={"kind": "images", "count": len(source)},
        fingerprint=images.fingerprint,
    )


def judged_export(path: str | Path) -> Judged:
    """Returns a model of `tf-sg2 export`: its signature `serving_default`, with stored noise.

    Args:
        path: the folder of the model, whose latest version is taken, or of one version.

    Raises:
        InputError: if it is no such model.
    """
    folder = _version_folder(Path(path))
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))
        function = loaded.signatures[SIGNATURE]
        inputs = function.structured_input_signature[1]
        (image,) = function.structured_outputs.values()
        z_dim = inputs["z"].shape[-1]
        label_dim = inputs["labels"].shape[-1] if "labels" in inputs else 0
        _, height, width, channels = image.shape
        if image.dtype != tf.uint8 or None in (z_dim, label_dim, height, width, channels):
            raise ValueError("its images are not uint8 of a fixed size")
    except (OSError, ValueError, KeyError, AttributeError, tf.errors.OpError) as error:
        raise InputError(
            f"{folder} is not a model of tf-sg2 export ({first_line(error)}); give another folder"
        ) from error
    files = [
        path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != CARD.name
    ]
    fingerprint = _digest(
        file_sha256(path)
        for path in files
        if path.name == SAVED_MODEL or path.parent.name == "variables"
    )

    def images(seed: int, labels: np.ndarray | None) -> Images:
        def read(first: int, count: int) -> np.ndarray:
            label_count = 0 if labels is None else len(labels)
            z, _, chosen = draws(seed, first, count, z_dim, label_count)
            given = {} if labels is None else {"labels": tf.constant(labels[chosen])}
            # Through `loaded`, which must stay alive: it holds the variables.
            function = loaded.signatures[SIGNATURE]
            (made,) = function(z=tf.constant(z), **given).values()
            return made.numpy()

        return Images(read, None, drawn_fingerprint(fingerprint, labels, seed))

    training = _card(folder).get("training", {})
    return Judged(
        name=str(path),
        image_size=(height, width),
        image_channels=channels,
        label_dim=label_dim,
        images=images,
        about={
            "kind": "model",
            "version": folder.name,
            "sha256": fingerprint,
            "truncation_psi": 1.0,
            "noise": "const",
        },
        fingerprint=fingerprint,
        checkpoint=folder.name,
        iteration=training.get("iteration"),
        kimg=training.get("kimg"),
    )


def images_of(
    source: ImageSource,
    count: int | None = None,
    seed: int | None = None,
    mirrored: bool = False,
) -> Images:
    """Returns images of a data set for metrics.

    Args:
        source: the data set.
        count: how many; None for all.
        seed: of a random choice without repetition; None takes the first ones in the data set's
            order.
        mirrored: whether training mirrors them.
    """
    count = len(source) if count is None else min(count, len(source))
    order = None
    if seed is not None:
        order = np.random.default_rng(seed).permutation(len(source))[:count]

    def read(first: int, number: int) -> np.ndarray:
        wanted = range(first, first + number) if order is None else order[first : first + number]
        with ThreadPoolExecutor(_READERS) as pool:
            images = list(pool.map(lambda index: source.image(int(index)), wanted))
        return np.stack(images)

    chosen = "" if order is None else f" choice {seed}"
    return Images(read, count, f"{source.fingerprint()}{chosen}", mirrored)


def labels_of(source: ImageSource) -> np.ndarray:
    """Returns the labels of a data set, float32 [M, label_dim]."""
    return np.stack([source.label(index) for index in range(len(source))])


def _digest(texts) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()


def _version_folder(path: Path) -> Path:
    if (path / SAVED_MODEL).is_file():
        return path
    found = [p for p in path.glob("*") if p.name.isdigit() and (p / SAVED_MODEL).is_file()]
    if not found:
        raise InputError(
            f"{path} holds no exported model; give the folder that tf-sg2 export wrote, or one "
            "of its versions"
        )
    return max(found, key=lambda version: int(version.name))


def _card(folder: Path) -> dict[str, Any]:
    try:
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}

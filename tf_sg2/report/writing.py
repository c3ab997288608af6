"""Writes the report of one or several runs: collects what it shows, then one file at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from tf_sg2.data.split import Split, open_split
from tf_sg2.errors import InputError
from tf_sg2.files import new_file
from tf_sg2.latent.labels import parse_label
from tf_sg2.report.drawn import is_drawn
from tf_sg2.report.generated import generate, variety
from tf_sg2.report.neighbours import Neighbours, features, neighbours, spread
from tf_sg2.report.page import Content, page
from tf_sg2.report.records import Record, read_runs
from tf_sg2.report.sections import Triple
from tf_sg2.runs.load import LoadedRun, load_run

# The first seeds are those of the sweep; neighbours are looked for from here on.
FIRST_SEED = 1000
TRIPLES_SHOWN = 12
NO_NEIGHBOURS = (
    "Nearest neighbours are missing, because the data set or the eye could not be used when this "
    "report was made."
)


@dataclass(frozen=True)
class Settings:
    """What a report holds.

    Attributes:
        checkpoint: see `RunDirectory.find_checkpoint`; None for the newest.
        labels: of a conditional model's pictures, see `parse_label`; None for class 0.
        real_images: whether real images may be shown though they are not known to be drawn.
        generated: images whose nearest real images are looked for; 0 for none.
        most_real: at most this number of training and of held-out images is looked at.
    """

    checkpoint: str | None = None
    labels: str | None = None
    real_images: bool = False
    generated: int = 256
    most_real: int = 2000


def write_report(
    paths: Sequence[str],
    out: str | Path,
    settings: Settings | None = None,
    warn: Callable[[str], object] = lambda sentence: None,
) -> Path:
    """Writes the report of the runs in `paths` as one HTML file; replaces an existing file.

    What cannot be shown is left out, and the report says so: pictures without a checkpoint, and
    neighbours without the data set or the package of the eye.

    Args:
        paths: run directories.
        out: the .html file.
        settings: what it holds.
        warn: called with the reason why neighbours are missing. It may hold names of real images,
            so it is not in the report.

    Returns:
        `out`.

    Raises:
        InputError: for an unusable run, checkpoint, label or file name.
    """
    settings = settings or Settings()
    out = Path(out)
    if out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"a report is one HTML file, but --out={out} is no .html file")
    records = read_runs(paths)
    contents = [_content(record, settings, warn) for record in records]
    text = page(contents)
    with new_file(out) as file:
        file.write(text.encode("utf-8"))
    return out


def _content(record: Record, settings: Settings, warn: Callable[[str], object]) -> Content:
    from tf_sg2.networks.precision import use_tf32

    use_tf32(record.config.training.tf32)
    real_images = settings.real_images or all(map(is_drawn, _specs(record)))
    if settings.checkpoint is None and not record.directory.checkpoint_numbers():
        note = "The run has no checkpoint yet, so nothing was generated for this report."
        return Content(record, real_images=real_images, notes=[note])
    run = load_run(record.directory.path, settings.checkpoint)
    notes = []
    label_dim = run.config.generator.label_dim
    text = settings.labels or ("0" if label_dim else None)
    label = parse_label(text, label_dim)
    if label is not None:
        notes.append(f"Pictures that were generated for this report have the label {text}.")
    generated = generate(run, label)
    found: Neighbours | None = None
    triples: list[Triple] = []
    if settings.generated:
        try:
            found, triples = _neighbours(run, settings, real_images)
        except InputError as error:
            notes.append(NO_NEIGHBOURS)
            warn(f"the report of {record.name} shows no nearest neighbours: {error}")
    return Content(record, run, generated, found, triples, real_images, notes)


def _specs(record: Record) -> list[str]:
    """Returns the data sets that a run names: of training, and of held-out images."""
    data = record.config.data
    return [data.source, *([data.heldout] if data.heldout else [])]


def _neighbours(
    run: LoadedRun, settings: Settings, real_images: bool
) -> tuple[Neighbours, list[Triple]]:
    """Returns the neighbours of generated images, and those to show if real images may be shown.

    Raises:
        InputError: if the data set cannot be read, or the eye is not installed.
    """
    from tf_sg2.metrics.features.ppocr import PPOCR

    data = _data(run)
    training, heldout = data.training, data.heldout
    eye = PPOCR()
    seeds = range(FIRST_SEED, FIRST_SEED + settings.generated)
    sources = [
        (source, spread(source, settings.most_real)) for source in (training, heldout) if source
    ]
    total = len(seeds) + sum(len(indices) for _, indices in sources)
    with tqdm(total=total, desc="neighbours", unit="image", leave=False, disable=None) as bar:
        images = variety(run, seeds)
        of_generated = features(eye, images, bar.update)
        real = [
            (indices, features(eye, map(source.image, indices), bar.update))
            for source, indices in sources
        ]
    found = neighbours(of_generated, seeds, real[0], real[1] if heldout else None)
    if not real_images:
        return found, []
    triples = [
        Triple(
            near.seed,
            images[near.seed - FIRST_SEED],
            training.image(near.training),
            heldout.image(near.heldout) if heldout and near.heldout is not None else None,
            near.training_distance,
            near.heldout_distance,
            near.ratio,
        )
        for near in found.found[:TRIPLES_SHOWN]
    ]
    return found, triples


def _data(run: LoadedRun) -> Split:
    """Returns the training images and the held-out images of a run."""
    data, generator = run.config.data, run.config.generator
    if not data.source:
        raise InputError("the run does not name its data set")
    return open_split(data, generator.image_size, generator.image_channels)

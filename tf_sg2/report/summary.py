"""The head of a report: what was trained, on what, for how long, and what the numbers say."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tf_sg2.config import Config
from tf_sg2.data.open import CARDS_PREFIX
from tf_sg2.report.charts import number_text
from tf_sg2.report.curves import FLOOR, SPREADS, best_point, higher_is_better
from tf_sg2.report.findings import Finding
from tf_sg2.report.markup import Markup, escaped, joined, scrollable, tag
from tf_sg2.report.records import Record
from tf_sg2.runs.load import LoadedRun

_LEVELS = {"good": "Fine", "watch": "Look here", "bad": "Trouble"}
MOST_TILES = 4


def duration_text(hours: float) -> str:
    """Returns a time such as "45 s", "12 min", "3.2 h" or "4.1 days"."""
    if hours < 0.02:
        return f"{hours * 3600:.0f} s"
    if hours < 1.5:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.1f} days"


def data_text(config: Config) -> str:
    """Returns the name of the data set, without the folders above it."""
    spec = config.data.source
    return spec if spec.startswith(CARDS_PREFIX) else Path(spec).name or "not recorded"


def image_counts(record: Record) -> tuple[int | None, int | None]:
    """Returns how many images are trained on and held out, from `data.json`; None if unknown."""
    try:
        text = (record.directory.path / "data.json").read_text(encoding="utf-8")
        found = json.loads(text)
        heldout = found.get("heldout")
        counts = found.get("images"), heldout.get("images") if heldout else None
    except (OSError, ValueError, AttributeError, RecursionError):
        return None, None
    training, held = (count if isinstance(count, int) else None for count in counts)
    return training, held


def tiles(record: Record) -> Markup:
    """Returns the most important numbers of one run, large."""
    config = record.config.generator
    height, width = config.image_size
    entries = [
        ("images seen", f"{number_text(record.kimg)} k", _share_done(record)),
        ("training time", duration_text(record.hours), _speed(record)),
        ("image size", f"{height} × {width}", data_text(record.config)),
    ]
    for name, series in _main_metrics(record):
        at = best_point(name, series)
        if at is None:
            continue
        last = float(series.values[-1])
        notes = []
        floor = record.metrics.get(name + FLOOR)
        if floor is not None:
            notes.append(f"floor {number_text(float(floor.values[-1]))}")
        if len(series.values) > 1:
            best, when = float(series.values[at]), float(series.kimg[at])
            notes.append(f"best {number_text(best)} at {number_text(when)} kimg")
        if not notes:
            notes.append("higher is better" if higher_is_better(name) else "lower is better")
        entries.append((name, number_text(last), ", ".join(notes)))
    return tag(
        "dl",
        {"class": "tiles"},
        *(
            tag(
                "div",
                {"class": "tile"},
                tag("dt", None, name),
                tag("dd", {"class": "value"}, value),
                tag("dd", {"class": "note"}, note),
            )
            for name, value, note in entries
        ),
    )


def _main_metrics(record: Record) -> list[tuple[str, Any]]:
    names = [name for name in record.metrics if not name.endswith((FLOOR, *SPREADS))]
    names.sort(key=lambda name: (higher_is_better(name), name))
    return [(name, record.metrics[name]) for name in names[:MOST_TILES]]


def _share_done(record: Record) -> str:
    total = record.config.training.total_kimg
    return f"of {number_text(total)} k planned"


def _speed(record: Record) -> str:
    speed = record.log.get("timing/images_per_second")
    if speed is None or not np.isfinite(speed.values).any():
        return "speed not recorded"
    return f"{number_text(float(np.nanmedian(speed.values)))} images per second"


def facts(records: Sequence[Record], loaded: Sequence[LoadedRun | None]) -> Markup:
    """Returns the facts of one run as a list; of several, as a table with a column per run."""
    columns = [dict(_facts(record, run)) for record, run in zip(records, loaded, strict=True)]
    if len(columns) == 1:
        pairs = (
            tag("div", None, tag("dt", None, name), tag("dd", None, value))
            for name, value in columns[0].items()
        )
        return tag("dl", {"class": "card list"}, *pairs)
    names = list(dict.fromkeys(name for column in columns for name in column))
    rows = [(name, [column.get(name, "–") for column in columns]) for name in names]
    return _table("fact", records, [(escaped(name), values) for name, values in rows])


def _table(
    corner: str, records: Sequence[Record], rows: Sequence[tuple[Markup, Sequence[str]]]
) -> Markup:
    """Returns a table with a column per run."""
    heads = (tag("th", {"scope": "col"}, record.name) for record in records)
    body = (
        tag("tr", None, tag("th", {"scope": "row"}, name), *(tag("td", None, v) for v in values))
        for name, values in rows
    )
    table = tag(
        "table",
        {"class": "facts"},
        tag("thead", None, tag("tr", None, tag("th", {"scope": "col"}, corner), *heads)),
        tag("tbody", None, *body),
    )
    return tag("div", {"class": "card"}, scrollable(table, f"{corner}s of the runs"))


def _facts(record: Record, run: LoadedRun | None) -> Iterator[tuple[str, str]]:
    config = record.config
    training, generator = config.training, config.generator
    height, width = generator.image_size
    yield "data", data_text(config)
    training_count, heldout_count = image_counts(record)
    if training_count:
        yield "training images", f"{training_count:,}"
        yield "passes over them", number_text(record.kimg * 1000 / training_count)
    if heldout_count:
        yield "held-out images", f"{heldout_count:,}"
    kinds = {1: "gray", 3: "RGB", 4: "RGB and alpha"}
    yield "image", f"{height} × {width}, {kinds[generator.image_channels]}"
    yield "labels", f"{generator.label_dim} classes" if generator.label_dim else "none"
    yield "mirrored at random", "yes" if config.data.mirror else "no"
    if run is not None:
        yield "parameters of the generator", f"{_parameters(run.generator):,}"
        yield "parameters of the discriminator", f"{_parameters(run.discriminator):,}"
        yield (
            "checkpoint of the pictures",
            f"{run.checkpoint.name} ({run.images_seen / 1000:g} kimg)",
        )
    yield "images seen", f"{number_text(record.kimg)} kimg of {number_text(training.total_kimg)}"
    yield "time in training", duration_text(record.hours)
    yield "speed", _speed(record)
    for key, series in record.log.items():
        if key.startswith("memory/"):
            what = key.removeprefix("memory/").removesuffix("_peak_gib")
            yield f"peak memory, {what}", f"{number_text(float(np.nanmax(series.values)))} GiB"
    yield "images per iteration", f"{training.batch_size}"
    yield (
        "learning rates",
        f"generator {config.generator_optimizer.learning_rate:g}, "
        f"discriminator {config.discriminator_optimizer.learning_rate:g}",
    )
    yield "weight of R1", f"{training.r1_gamma:g}"
    yield "weight of path length", f"{training.path_length_weight:g}"
    yield "half-life of the average", f"{training.ema_kimg:g} kimg"
    yield "seed", f"{training.seed}"


def _parameters(network: Any) -> int:
    return sum(math.prod(weight.shape) for weight in network.trainable_weights)


def differences(records: Sequence[Record]) -> Markup | None:
    """Returns a table of the fields in which the configurations differ; None if none do."""
    flat = [dict(_flat(dataclasses.asdict(record.config))) for record in records]
    names = list(dict.fromkeys(name for values in flat for name in values))
    rows = []
    for name in names:
        values = [values.get(name) for values in flat]
        if any(value != values[0] for value in values):
            if name == "data.source":
                values = [data_text(record.config) for record in records]
            rows.append((name, values))
    if not rows:
        return None
    texts = [(tag("code", None, name), [str(value) for value in values]) for name, values in rows]
    return _table("field", records, texts)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def finding_list(found: Sequence[Finding]) -> Markup:
    """Returns findings as a list with links into the guide."""
    return tag(
        "ul",
        {"class": "findings"},
        *(
            tag(
                "li",
                {"class": finding.level},
                tag("span", {"class": "level"}, _LEVELS[finding.level]),
                tag(
                    "span", None, finding.text, " ", tag("a", {"href": f"#{finding.guide}"}, "Why?")
                ),
            )
            for finding in found
        ),
    )


def run_head(records: Sequence[Record], i: int) -> Markup | None:
    """Returns the heading of one run's part of a section, with its colour; None for one run."""
    if len(records) < 2:
        return None
    return tag("h3", {"class": "run"}, tag("span", {"class": f"swatch c{i}"}), records[i].name)


def per_run(records: Sequence[Record], parts: Sequence[Markup | None]) -> Markup | None:
    """Returns one part per run under its heading; None if there is no part at all."""
    if not any(parts):
        return None
    return joined(
        *(
            joined(run_head(records, i), part or tag("p", {"class": "empty"}, "Nothing to show."))
            for i, part in enumerate(parts)
        )
    )

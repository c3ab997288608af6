"""Which curves a report shows, and where they come from in the log of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from tf_sg2.report.charts import Chart, Curve, Mark
from tf_sg2.report.records import Record, Series


class _Row(NamedTuple):
    """One chart of the log: its title, (key, label) of its curves, and a sentence."""

    title: str
    keys: tuple[tuple[str, str], ...]
    note: str
    guide: str | None = None
    limits: tuple[float, float] | None = None
    logarithmic: bool = False


_ROWS = (
    _Row(
        "Losses",
        (("loss/generator", "generator"), ("loss/discriminator", "discriminator")),
        "Mean loss of each network, without regularisation.",
        "guide-losses",
    ),
    _Row(
        "Signs of the discriminator",
        (("scores/real_sign", "real"), ("scores/fake_sign", "generated")),
        "Mean sign of its scores: 1 if it calls every image real, −1 if it calls none real.",
        "guide-signs",
        (-1.0, 1.0),
    ),
    _Row(
        "Scores of the discriminator",
        (("scores/real", "real"), ("scores/fake", "generated")),
        "Mean score of training images and of generated images.",
        "guide-losses",
    ),
    _Row(
        "R1 penalty",
        (("r1/penalty", "R1"),),
        "Squared gradient of the scores at real images, before its weight.",
        "guide-r1",
        logarithmic=True,
    ),
    _Row(
        "Path length",
        (("path_length/mean_of_batch", "batch"), ("path_length/mean", "running mean")),
        "How far an image moves for a step in w; its target is the running mean.",
        "guide-path-length",
    ),
    _Row(
        "Augmentation",
        (("augment/probability", "probability"),),
        "Probability of each augmentation of the images that the discriminator sees.",
    ),
    _Row(
        "Speed",
        (("timing/images_per_second", "images per second"),),
        "Images per second, over all devices.",
        "guide-speed",
    ),
    _Row(
        "Waiting for data",
        (("timing/data_wait_share", "share of the time"),),
        "Share of the time in which training waited for images.",
        "guide-speed",
        (0.0, 1.0),
    ),
)

_SHARES = "to_rgb_share/"
FLOOR = "_floor"
SPREADS = ("_std", "_spread")  # They tell how sure another result is.
FLOOR_COLOR = 7  # Gray.
# Endings of metrics where a higher value is better; each lies in 0 to 1.
_SHARE_METRICS = ("_precision", "_recall", "_coverage")
_HIGHER = (*_SHARE_METRICS, "_density", "is50k_mean")


def higher_is_better(metric: str) -> bool:
    """Returns whether a higher value of a metric is better, by its name."""
    return any(ending in metric for ending in _HIGHER)


def best_point(metric: str, series: Series) -> int | None:
    """Returns the index of the best value of a metric, the first of equal ones; None without."""
    if not np.isfinite(series.values).any():
        return None
    pick = np.nanargmax if higher_is_better(metric) else np.nanargmin
    return int(pick(series.values))


def log_charts(records: Sequence[Record]) -> Iterator[Chart]:
    """Yields the charts of the logs, each with all runs; charts without a value are left out."""
    for row in _ROWS:
        curves = _curves(records, row.keys, lambda record: record.log)
        if curves:
            yield Chart(
                row.title,
                row.note,
                curves,
                limits=row.limits,
                logarithmic=row.logarithmic,
                guide=row.guide,
            )
    for record in records:
        keys = sorted(key for key in record.log if key.startswith(_SHARES))[:8]
        if keys:
            labels = [(key, f"{int(key.removeprefix(_SHARES))}²") for key in keys]
            yield Chart(
                "Shares of the resolutions" + (f": {record.name}" if len(records) > 1 else ""),
                "Share of each resolution's ToRGB in the image; a resolution counts as a square.",
                _curves([record], labels, lambda found: found.log),
                limits=(0.0, 1.0),
                guide="guide-shares",
            )


def metric_charts(records: Sequence[Record]) -> Iterator[Chart]:
    """Yields a chart per distance, and one of the metrics that are shares. The best is marked."""
    names = list(dict.fromkeys(name for record in records for name in record.metrics))
    shares = [name for name in names if name.endswith(_SHARE_METRICS)]
    families: dict[str, list[str]] = {}
    for name in shares:
        families.setdefault(name.rpartition("_")[0], []).append(name)
    for name in names:
        if name in shares or name.endswith((FLOOR, *SPREADS)):
            continue
        floor = name + FLOOR
        keys = [(name, "value"), (floor, "floor: real against real")]
        curves = _curves(records, keys, lambda record: record.metrics)
        note = "Lower is better." if not higher_is_better(name) else "Higher is better."
        if floor in names:
            note += " The floor is the distance between two halves of the real images."
        yield Chart(
            name,
            note,
            curves,
            _marks(records, name),
            logarithmic=True,
            whole_range=True,
            guide="guide-metrics",
        )
    for family, members in families.items():
        keys = [(name, name.rpartition("_")[2]) for name in members]
        yield Chart(
            family,
            "Higher is better. Precision: how many generated images look real. Recall: how much "
            "of the variety of the real images is generated.",
            _curves(records, keys, lambda record: record.metrics),
            limits=(0.0, 1.0),
            guide="guide-recall",
        )


def score_charts(records: Sequence[Record]) -> Iterator[Chart]:
    """Yields the overfitting curves: AUC and gap of training against held-out images."""
    rows = (
        (
            "auc",
            "Training against held-out: AUC",
            "0.5: the discriminator cannot tell them apart. 1: it knows every training image.",
        ),
        (
            "gap",
            "Training against held-out: gap",
            "Mean score of training images minus that of held-out images.",
        ),
    )
    for key, title, note in rows:
        curves = []
        for i, record in enumerate(records):
            points = [(s.kimg, v) for s in record.scores if (v := getattr(s, key)) is not None]
            if points:
                kimg, values = np.array(points, float).T
                label = record.name if len(records) > 1 else key.upper() if key == "auc" else key
                curves.append(Curve(label, kimg, hours_at(record, kimg), values, i))
        if curves:
            limits = (0.0, 1.0) if key == "auc" else None
            yield Chart(title, note, curves, limits=limits, guide="guide-overfitting")


def hours_at(record: Record, kimg: np.ndarray) -> np.ndarray:
    """Returns the hours of training after which a run had seen `kimg` [N]."""
    longest = max(record.log.values(), key=lambda series: len(series.kimg), default=None)
    if longest is None:
        return np.zeros_like(kimg)
    return np.interp(kimg, [0.0, *longest.kimg], [0.0, *longest.hours])


def _curves(
    records: Sequence[Record],
    keys: Sequence[tuple[str, str]],
    series_of: Callable[[Record], object],
) -> list[Curve]:
    """Returns curves: runs differ in colour and keys in dashes; keys in colour for one run."""
    curves = []
    for i, record in enumerate(records):
        found = series_of(record)
        for j, (key, label) in enumerate(keys):
            series = found.get(key)  # type: ignore[attr-defined]
            if series is None or not np.isfinite(series.values).any():
                continue
            several = len(records) > 1
            name = label if not several else f"{record.name}, {label}"
            if several and len(keys) == 1:
                name = record.name
            color = i if several else FLOOR_COLOR if key.endswith(FLOOR) else j
            dash = min(j, 3) if several else (1 if key.endswith(FLOOR) else 0)
            curves.append(Curve(name, series.kimg, series.hours, series.values, color, dash))
    return curves


def _marks(records: Sequence[Record], name: str) -> list[Mark]:
    """Returns the kept best checkpoint of each run, or else its best value, of one metric."""
    marks = []
    for i, record in enumerate(records):
        color = i if len(records) > 1 else 0
        if record.best is not None and record.best.metric == name:
            at = np.array([record.best.kimg])
            hours = float(hours_at(record, at)[0])
            marks.append(Mark("best checkpoint", record.best.kimg, hours, record.best.value, color))
        elif (series := record.metrics.get(name)) is not None and len(series.values) > 1:
            j = best_point(name, series)
            if j is not None:
                point = (float(series.kimg[j]), float(series.hours[j]), float(series.values[j]))
                marks.append(Mark("best", *point, color))
    return marks

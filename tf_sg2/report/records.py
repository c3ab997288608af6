"""What a run wrote about itself: its log, its metrics, the scores of its discriminator."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tf_sg2.config import Config
from tf_sg2.errors import InputError
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.runs.lines import read_lines

MOST_RUNS = 8  # As many as there are colours that can be told apart.
SECONDS = "timing/seconds_per_kimg"


@dataclass(frozen=True)
class Series:
    """One scalar over a run: float64 [N] each; `values` holds NaN where it was not finite."""

    kimg: np.ndarray
    hours: np.ndarray
    values: np.ndarray


@dataclass(frozen=True)
class Scores:
    """Histograms of D's scores at one time: counts of [64] bins between `edges` [65]."""

    kimg: float
    edges: np.ndarray
    training: np.ndarray
    heldout: np.ndarray | None
    generated: np.ndarray
    auc: float | None
    gap: float | None


@dataclass(frozen=True)
class Best:
    """The checkpoint that a metric chose."""

    metric: str
    value: float
    kimg: float


@dataclass(frozen=True)
class Record:
    """One run, as its files describe it.

    Attributes:
        name: what the report calls it; no two runs have the same name.
        directory: its folder.
        config: its configuration.
        log: the scalars of `log.jsonl` by name.
        metrics: the results of `metrics/metric-*.jsonl` by name, in the order of the images seen.
        scores: `metrics/scores.jsonl`.
        best: `checkpoints/best/best.json`, if there is one.
        kimg: images seen, in thousands.
        hours: time spent in training, without the time between two processes.
    """

    name: str
    directory: RunDirectory
    config: Config
    log: Mapping[str, Series]
    metrics: Mapping[str, Series]
    scores: Sequence[Scores]
    best: Best | None
    kimg: float
    hours: float


def read_runs(paths: Sequence[str]) -> list[Record]:
    """Returns the records of several runs.

    Raises:
        InputError: for no run, too many runs, one run twice, or a folder that is no run.
    """
    if not paths:
        raise InputError("--run names no run; give a run directory of tf-sg2 train")
    if len(paths) > MOST_RUNS:
        raise InputError(
            f"a report compares at most {MOST_RUNS} runs, and --run names {len(paths)}; name fewer"
        )
    resolved = [Path(path).resolve() for path in paths]
    for i, path in enumerate(resolved):
        if path in resolved[:i]:
            raise InputError(f"--run names {paths[i]} twice; name each run once")
    names = [path.name for path in resolved]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return [read_run(path, name) for path, name in zip(paths, names, strict=True)]


def read_run(path: str | Path, name: str) -> Record:
    """Returns the record of one run. Lines that cannot be read are left out.

    Raises:
        InputError: if the folder is no run.
    """
    directory = RunDirectory(path)
    config = directory.read_config()
    lines = list(_lines(directory.log_path))
    kimg, hours = _clock(lines)
    log = _series(((line["kimg"], line) for line in lines), kimg, hours)
    log = {key: series for key, series in log.items() if key not in ("kimg", "time")}
    results = [
        (line["kimg"], line["results"])
        for file in sorted(directory.metrics.glob("metric-*.jsonl"))
        for line in _lines(file)
        if isinstance(line.get("results"), dict)
    ]
    metrics = _series(results, kimg, hours)
    # A metric that was computed outside training may be newer than the last line of the log.
    seen = [*kimg, *(at for at, _ in results)]
    return Record(
        name,
        directory,
        config,
        log,
        metrics,
        sorted(_scores(directory.metrics / "scores.jsonl"), key=lambda found: found.kimg),
        _best(directory),
        max(seen, default=0.0),
        float(hours[-1]) if len(hours) else 0.0,
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the objects of a JSON-lines file whose `kimg` is a finite number of 0 or more."""
    for line in read_lines(path):
        if (at := _number(line["kimg"])) >= 0:
            yield {**line, "kimg": at}


def _number(value: object) -> float:
    """Returns a finite number as float, anything else as NaN."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return math.nan
    try:
        number = float(value)
    except OverflowError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _clock(lines: Sequence[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Returns kimg and hours of training at each tick, float64 [N].

    The hours add up the ticks, so a pause between two processes does not count.
    """
    kimg, hours = [0.0], [0.0]
    for line in lines:
        seconds = _number(line.get(SECONDS))
        if line["kimg"] > kimg[-1] and seconds > 0:
            hours.append(hours[-1] + (line["kimg"] - kimg[-1]) * seconds / 3600)
            kimg.append(line["kimg"])
    return np.array(kimg), np.array(hours)


def _series(rows: Any, clock_kimg: np.ndarray, clock_hours: np.ndarray) -> dict[str, Series]:
    """Returns the numbers of rows (kimg, {name: value}) by name. The later of two rows counts."""
    found: dict[str, dict[float, float]] = defaultdict(dict)
    for at, row in rows:
        for key, value in row.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found[key][at] = _number(value)
    series = {}
    for key, points in found.items():
        kimg = np.array(sorted(points))
        values = np.array([points[at] for at in kimg])
        series[key] = Series(kimg, np.interp(kimg, clock_kimg, clock_hours), values)
    return series


def _counts(value: object, length: int) -> np.ndarray | None:
    if not isinstance(value, list) or len(value) != length:
        return None
    numbers = np.array([_number(entry) for entry in value])
    return numbers if np.isfinite(numbers).all() else None


def _scores(path: Path) -> Iterator[Scores]:
    """Yields the histograms of `scores.jsonl` that are whole."""
    for line in _lines(path):
        edges = line.get("edges")
        bins = len(edges) - 1 if isinstance(edges, list) else 0
        if bins < 1:
            continue
        found = {key: _counts(line.get(key), bins) for key in ("training", "heldout", "generated")}
        limits = _counts(edges, bins + 1)
        training, generated = found["training"], found["generated"]
        if limits is None or training is None or generated is None or not limits[-1] > limits[0]:
            continue
        auc, gap = _number(line.get("auc")), _number(line.get("gap"))
        yield Scores(
            line["kimg"],
            limits,
            training,
            found["heldout"],
            generated,
            None if math.isnan(auc) else auc,
            None if math.isnan(gap) else gap,
        )


def _best(directory: RunDirectory) -> Best | None:
    """Returns the best checkpoint; None without one, or if its description is damaged."""
    try:
        found = directory.read_best()
    except InputError:
        return None
    if found is None:
        return None
    value, kimg = _number(found.get("value")), _number(found.get("kimg"))
    if math.isnan(value) or math.isnan(kimg):
        return None
    return Best(str(found.get("metric")), value, kimg)

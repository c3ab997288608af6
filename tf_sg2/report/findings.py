"""What the numbers of a run say: a few rules of thumb, each with a link to its explanation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from tf_sg2.report.charts import number_text
from tf_sg2.report.curves import FLOOR, SPREADS, best_point, higher_is_better
from tf_sg2.report.records import Record, Series

GOOD, WATCH, BAD = "good", "watch", "bad"

# The target of Karras et al. 2020 ("Training Generative Adversarial Networks with Limited Data",
# section 3): their augmentation grows while the mean sign on real images is above it.
SIGN_TARGET = 0.6
# Beyond these, the discriminator tells training images from held-out ones.
AUC_WATCH, AUC_BAD = 0.6, 0.75
RECENT = 0.2  # The last part of a run that counts as "now".
WORSE = 1.1  # A metric this much above its best value has turned.
RECALL_SHARE = 0.3  # Recall below this share of precision points at missing modes.
WAITING = 0.1
# A ratio of distances this far below the expected one points at copies.
COPY_SHARE = 0.8


class Finding(NamedTuple):
    """One sentence about a run, and how serious it is."""

    level: str
    text: str
    guide: str


def findings(record: Record) -> list[Finding]:
    """Returns what the log, the metrics and the scores of a run say, the serious ones first."""
    found = [*_of_steps(record), *_of_scores(record), *_of_metrics(record), *_of_speed(record)]
    order = (BAD, WATCH, GOOD)
    return sorted(found, key=lambda finding: order.index(finding.level))


def of_neighbours(median: float, expected: float) -> Finding:
    """Returns what the ratios of `neighbours.Neighbours` say."""
    said = (
        f"The median ratio of the distances to training and held-out images is "
        f"{number_text(median)}; {number_text(expected)} is expected without copying."
    )
    if median < COPY_SHARE * expected:
        return Finding(WATCH, f"{said} Look for copies.", "guide-neighbours")
    return Finding(GOOD, f"{said} Nothing points at copies.", "guide-neighbours")


def recent(series: Series | None) -> float | None:
    """Returns the mean over the last part of a run, or None without a finite value there."""
    if series is None or not len(series.kimg):
        return None
    late = series.kimg >= (1 - RECENT) * series.kimg[-1]
    values = series.values[late & np.isfinite(series.values)]
    return float(values.mean()) if len(values) else None


def _of_steps(record: Record) -> Iterator[Finding]:
    losses = [series for key, series in record.log.items() if key.startswith("loss/")]
    if not losses:
        yield Finding(WATCH, "There are no losses in the log yet.", "guide-losses")
        return
    broken = any(not np.isfinite(series.values).all() for series in losses)
    skipped = [s.values[-1] for k, s in record.log.items() if k.startswith("skipped_steps/")]
    steps = int(np.nansum(skipped))
    if broken:
        text = "A loss was not finite: the run diverged at least once."
        yield Finding(BAD, text, "guide-divergence")
    elif steps:
        text = f"{steps} steps were skipped, because a gradient was not finite."
        yield Finding(WATCH, text, "guide-divergence")
    else:
        yield Finding(GOOD, "All losses are finite, and no step was skipped.", "guide-divergence")


def _of_scores(record: Record) -> Iterator[Finding]:
    aucs = [scores.auc for scores in record.scores if scores.auc is not None]
    if aucs:
        said = f"The discriminator tells training from held-out images with AUC {aucs[-1]:.2f}"
        if aucs[-1] >= AUC_BAD:
            yield Finding(BAD, f"{said}: it has learnt them by heart.", "guide-overfitting")
        elif aucs[-1] >= AUC_WATCH:
            yield Finding(WATCH, f"{said}: overfitting begins.", "guide-overfitting")
        else:
            yield Finding(GOOD, f"{said}: no overfitting.", "guide-overfitting")
        return  # The sign is a substitute where no image is held out.
    sign = recent(record.log.get("scores/real_sign"))
    if sign is not None:
        said = f"The mean sign of the discriminator on training images is {number_text(sign)} now"
        if sign > SIGN_TARGET:
            text = f"{said}, above {SIGN_TARGET}: it is very sure of them."
            yield Finding(WATCH, text, "guide-signs")
        else:
            yield Finding(GOOD, f"{said}, not above {SIGN_TARGET}.", "guide-signs")


def _of_metrics(record: Record) -> Iterator[Finding]:
    for name, series in record.metrics.items():
        if name.endswith((FLOOR, *SPREADS)) or higher_is_better(name):
            continue
        at = best_point(name, series)
        if at is None or len(series.values) < 3 or ("fd" not in name and "fid" not in name):
            continue
        best, last = float(series.values[at]), float(series.values[-1])
        if last > WORSE * best:
            text = (
                f"{name} was best at {number_text(float(series.kimg[at]))} kimg "
                f"({number_text(best)}), and is {number_text(last)} now: take that checkpoint."
            )
            yield Finding(WATCH, text, "guide-metrics")
        else:
            text = f"{name} is near its best value: {number_text(last)}."
            yield Finding(GOOD, text, "guide-metrics")
    for name, series in record.metrics.items():
        family, ending, _ = name.rpartition("_precision")
        recall = record.metrics.get(f"{family}_recall")
        if not ending or recall is None:
            continue
        precise, recalled = float(series.values[-1]), float(recall.values[-1])
        if recalled < RECALL_SHARE * precise:
            text = (
                f"Recall ({number_text(recalled)}) is far below precision "
                f"({number_text(precise)}): a part of the variety is missing."
            )
            yield Finding(WATCH, text, "guide-recall")


def _of_speed(record: Record) -> Iterator[Finding]:
    waiting = recent(record.log.get("timing/data_wait_share"))
    if waiting is not None and waiting > WAITING:
        text = f"Training waits for images for {waiting:.0%} of the time."
        yield Finding(WATCH, text, "guide-speed")

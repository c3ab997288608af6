"""Line charts and histograms as SVG, drawn here so that they also show without JavaScript.

Every line chart holds its curves twice, against kimg and against hours; the page's style sheet
shows one of them. Colours are classes of the style sheet, so that they follow light and dark.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from tf_sg2.report.markup import Markup, joined, scrollable, tag

WIDTH, HEIGHT = 420, 240
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 34
# A curve has at most this number of points; each is the mean of some neighbours.
MOST_POINTS = 160
# Curves that spread over more than this ratio get a logarithmic axis.
LOGARITHMIC_RATIO = 50.0
# This share of the values at either end does not stretch the axis: the first steps of a run are
# often far off.
CUT_OFF_SHARE = 0.5

AXES = ("kimg", "hours")
CELLS = 4  # Length of a row of the table of numbers, beside its head.


@dataclass(frozen=True)
class Curve:
    """One curve.

    Attributes:
        label: its name in the legend.
        kimg: float [N].
        hours: float [N].
        values: float [N]; NaN breaks the curve.
        color: 0 to 7, a colour of the style sheet.
        dash: 0 for a solid line, 1 to 3 for dashes.
    """

    label: str
    kimg: np.ndarray
    hours: np.ndarray
    values: np.ndarray
    color: int
    dash: int = 0


@dataclass(frozen=True)
class Mark:
    """A ring around one point of a chart, with a word."""

    label: str
    kimg: float
    hours: float
    value: float
    color: int


@dataclass(frozen=True)
class Chart:
    """A line chart: its title, what it shows in a sentence, and its curves."""

    title: str
    note: str
    curves: Sequence[Curve]
    marks: Sequence[Mark] = ()
    limits: tuple[float, float] | None = None  # None: from the curves.
    logarithmic: bool = False  # Only where all values are positive and spread far.
    whole_range: bool = False  # True: no value is cut off.
    guide: str | None = None  # The entry of "How to read this" that explains it.


@dataclass(frozen=True)
class _Scale:
    """Maps values to coordinates."""

    low: float
    high: float
    start: float
    stop: float
    logarithmic: bool = False
    ticks: list[float] = field(default_factory=list)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        low, high = self.low, self.high
        if self.logarithmic:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.log10(np.maximum(values, low / 1e3))
            low, high = math.log10(low), math.log10(high)
        return self.start + (values - low) / (high - low) * (self.stop - self.start)


def number_text(value: float) -> str:
    """Returns a number with three significant digits, such as "0.0123", "4,560" or "1.2e-07"."""
    if not math.isfinite(value):
        return "–"
    if value and not 1e-4 <= abs(value) < 1e7:
        return f"{value:.2g}"
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    text = f"{value:,.{max(digits, 0)}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def line_chart(chart: Chart) -> Markup:
    """Returns a figure with the chart, its legend, and a table of its numbers."""
    curves = [_thinned(curve) for curve in chart.curves]
    scale_y = _value_scale(chart)
    label = f"{chart.title}. " + " ".join(_in_words(curve) for curve in chart.curves)
    parts = [_grid_of_values(scale_y)]
    for axis in AXES:
        scale_x = _time_scale(curves, axis)
        parts.append(
            tag(
                "g",
                {"class": f"by-{axis}"},
                _grid_of_time(scale_x, axis),
                *(_path(curve, getattr(curve, axis), scale_x, scale_y) for curve in curves),
                *(_ring(mark, getattr(mark, axis), scale_x, scale_y) for mark in chart.marks),
            )
        )
    picture = tag(
        "svg",
        {
            "viewBox": f"0 0 {WIDTH} {HEIGHT}",
            "role": "img",
            "aria-label": label,
            "class": "chart",
            "data-curves": _data(curves, scale_y),
        },
        *parts,
    )
    more = None
    if chart.guide:
        more = tag("a", {"href": f"#{chart.guide}", "class": "more"}, "How to read it")
    return tag(
        "figure",
        {"class": "card plot"},
        tag(
            "figcaption", None, tag("h3", None, chart.title), tag("p", None, chart.note, " ", more)
        ),
        picture,
        _legend([(curve.label, curve.color, curve.dash) for curve in curves]),
        _numbers(chart.curves),
    )


def histogram(
    edges: np.ndarray, parts: Sequence[tuple[str, np.ndarray, int]], title: str
) -> Markup:
    """Returns an SVG of several histograms over the same bins, each scaled to its own sum.

    Args:
        edges: float [bins + 1].
        parts: (label, counts [bins], colour) each.
        title: what a screen reader says first.
    """
    shares = [(label, counts / max(counts.sum(), 1), color) for label, counts, color in parts]
    used = np.nonzero(np.sum([counts for _, counts, _ in parts], axis=0))[0]
    first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, len(edges) - 1)
    ticks = _nice_ticks(float(edges[first]), float(edges[last]), 6)
    scale_x = _Scale(float(edges[first]), float(edges[last]), LEFT, WIDTH - RIGHT, ticks=ticks)
    highest = max(float(share.max()) for _, share, _ in shares) or 1.0
    scale_y = _Scale(0, highest * 1.05, HEIGHT - BOTTOM, TOP, ticks=_nice_ticks(0, highest, 3))
    drawn, words = [], []
    for label, share, color in shares:
        x = scale_x(np.repeat(edges[first : last + 1], 2))
        y = scale_y(np.concatenate([[0], np.repeat(share[first:last], 2), [0]]))
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        drawn.append(tag("polygon", {"points": points, "class": f"fill c{color}"}))
        drawn.append(tag("polyline", {"points": points, "class": f"line c{color}"}))
        middle = np.sum(share * (edges[:-1] + edges[1:]) / 2)
        words.append(f"Mean of {label}: {number_text(float(middle))}.")
    return joined(
        tag(
            "svg",
            {
                "viewBox": f"0 0 {WIDTH} {HEIGHT}",
                "role": "img",
                "aria-label": f"{title}. {' '.join(words)}",
                "class": "chart",
            },
            _grid_of_values(scale_y),
            _grid_of_time(scale_x, "score"),
            *drawn,
        ),
        _legend([(label, color, 0) for label, _, color in shares]),
    )


def _thinned(curve: Curve) -> Curve:
    """Returns a curve of at most `MOST_POINTS` points, means over equal numbers of points."""
    count = len(curve.values)
    if count <= MOST_POINTS:
        return curve
    starts = np.linspace(0, count, MOST_POINTS, endpoint=False).astype(int)
    finite = np.isfinite(curve.values)
    sums = np.add.reduceat(np.where(finite, curve.values, 0), starts)
    counts = np.add.reduceat(finite.astype(float), starts)
    sizes = np.diff([*starts, count])
    with np.errstate(invalid="ignore", divide="ignore"):
        values = sums / counts
    kimg = np.add.reduceat(curve.kimg, starts) / sizes
    hours = np.add.reduceat(curve.hours, starts) / sizes
    return Curve(curve.label, kimg, hours, values, curve.color, curve.dash)


def _value_scale(chart: Chart) -> _Scale:
    values = np.concatenate([curve.values for curve in chart.curves])
    values = np.append(values, [mark.value for mark in chart.marks])
    values = values[np.isfinite(values)]
    if chart.limits:
        low, high = chart.limits
        return _Scale(low, high, HEIGHT - BOTTOM, TOP, ticks=_nice_ticks(low, high, 4))
    if not len(values):
        values = np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if not chart.whole_range:
        inner = np.percentile(values, [CUT_OFF_SHARE, 100 - CUT_OFF_SHARE])
        low, high = float(inner[0]), float(inner[1])
    logarithmic = chart.logarithmic and values.min() > 0 and high / low > LOGARITHMIC_RATIO
    if logarithmic:
        low, high = low / 1.3, high * 1.3
        return _Scale(low, high, HEIGHT - BOTTOM, TOP, True, _logarithmic_ticks(low, high))
    if low > 0 and low < high / 3:
        low = 0.0
    margin = 0.06 * (high - low) or max(abs(high), 1e-6) * 0.5
    low, high = (low if low == 0 else low - margin), high + margin
    return _Scale(low, high, HEIGHT - BOTTOM, TOP, ticks=_nice_ticks(low, high, 4))


def _time_scale(curves: Sequence[Curve], axis: str) -> _Scale:
    last = max((float(getattr(c, axis)[-1]) for c in curves if len(c.values)), default=0.0)
    last = last or 1.0
    return _Scale(0.0, last, LEFT, WIDTH - RIGHT, ticks=_nice_ticks(0.0, last, 5))


def _nice_ticks(low: float, high: float, count: int) -> list[float]:
    """Returns about `count` round numbers from `low` to `high`."""
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _logarithmic_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    step = max(1, len(powers) // 5)
    return [t for p in list(powers)[::step] if low <= (t := 10.0**p) <= high]


def _grid_of_values(scale: _Scale) -> Markup:
    parts = []
    for value, y in zip(scale.ticks, scale(np.array(scale.ticks)), strict=True):
        ends = {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": f"{y:.1f}", "y2": f"{y:.1f}"}
        parts.append(tag("line", {**ends, "class": "grid"}))
        place = {"x": LEFT - 6, "y": f"{y + 4:.1f}", "class": "tick end"}
        parts.append(tag("text", place, number_text(value)))
    return joined(*parts)


def _grid_of_time(scale: _Scale, word: str) -> Markup:
    base = HEIGHT - BOTTOM
    parts = [
        tag("line", {"x1": LEFT, "x2": WIDTH - RIGHT, "y1": base, "y2": base, "class": "axis"})
    ]
    for value, x in zip(scale.ticks, scale(np.array(scale.ticks)), strict=True):
        place = {"x": f"{x:.1f}", "y": base + 15, "class": "tick middle"}
        parts.append(tag("text", place, number_text(value)))
    parts.append(tag("text", {"x": WIDTH - RIGHT, "y": HEIGHT - 3, "class": "tick end"}, word))
    return joined(*parts)


def _path(curve: Curve, times: np.ndarray, scale_x: _Scale, scale_y: _Scale) -> Markup:
    x, y = scale_x(times), np.clip(scale_y(curve.values), TOP - 6, HEIGHT - BOTTOM + 6)
    steps, is_open = [], False
    for a, b in zip(x, y, strict=True):
        if not math.isfinite(b):
            is_open = False
            continue
        steps.append(f"{'L' if is_open else 'M'}{a:.1f} {b:.1f}")
        is_open = True
    classes = f"line c{curve.color} d{curve.dash}"
    # Few points are shown as dots too: one point has no line.
    dots = []
    if len(x) <= 40 and not curve.dash:
        dots = [
            tag(
                "circle",
                {"cx": f"{a:.1f}", "cy": f"{b:.1f}", "r": 2, "class": f"dot c{curve.color}"},
            )
            for a, b in zip(x, y, strict=True)
            if math.isfinite(b)
        ]
    return joined(tag("path", {"d": "".join(steps), "class": classes}), *dots)


def _ring(mark: Mark, at: float, scale_x: _Scale, scale_y: _Scale) -> Markup:
    x, y = float(scale_x(np.array(at))), float(scale_y(np.array(mark.value)))
    above = y > TOP + 26
    place = {"x": f"{min(max(x, LEFT + 24), WIDTH - RIGHT - 24):.1f}", "class": "mark middle"}
    return joined(
        tag("circle", {"cx": f"{x:.1f}", "cy": f"{y:.1f}", "r": 6, "class": f"ring c{mark.color}"}),
        tag("text", {**place, "y": f"{y - 11 if above else y + 20:.1f}"}, mark.label),
    )


def _legend(entries: Sequence[tuple[str, int, int]]) -> Markup:
    line = {"x1": 0, "x2": 22, "y1": 5, "y2": 5}
    return tag(
        "ul",
        {"class": "legend"},
        *(
            tag(
                "li",
                None,
                tag(
                    "svg",
                    {"viewBox": "0 0 22 10", "aria-hidden": "true"},
                    tag("line", {**line, "class": f"line c{color} d{dash}"}),
                ),
                label,
            )
            for label, color, dash in entries
        ),
    )


def _in_words(curve: Curve) -> str:
    values = curve.values[np.isfinite(curve.values)]
    if not len(values):
        return f"{curve.label}: no finite value."
    first, last = number_text(float(values[0])), number_text(float(values[-1]))
    return f"{curve.label}: from {first} to {last}."


def _numbers(curves: Sequence[Curve]) -> Markup:
    """Returns a table that folds out: first, lowest, highest and last value of each curve."""
    rows = []
    for curve in curves:
        values = curve.values[np.isfinite(curve.values)]
        cells = ["–"] * CELLS
        if len(values):
            picked = (values[0], values.min(), values.max(), values[-1])
            cells = [number_text(float(value)) for value in picked]
        head = tag("th", {"scope": "row"}, curve.label)
        rows.append(tag("tr", None, head, *(tag("td", None, cell) for cell in cells)))
    heads = ("curve", "first", "lowest", "highest", "last")
    return tag(
        "details",
        None,
        tag("summary", None, "Numbers"),
        scrollable(
            tag(
                "table",
                None,
                tag(
                    "thead", None, tag("tr", None, *(tag("th", {"scope": "col"}, h) for h in heads))
                ),
                tag("tbody", None, *rows),
            ),
            "numbers",
        ),
    )


def _data(curves: Sequence[Curve], scale_y: _Scale) -> str:
    """Returns what the script needs to show the values under the pointer, as JSON."""

    def rounded(values: np.ndarray) -> list[float | None]:
        return [float(f"{v:.4g}") if math.isfinite(v) else None for v in values]

    frame = {"left": LEFT, "right": WIDTH - RIGHT, "top": TOP, "bottom": HEIGHT - BOTTOM}
    spans = {axis: _time_scale(curves, axis).high for axis in AXES}
    entries = [
        {
            "label": curve.label,
            "color": curve.color,
            "kimg": rounded(curve.kimg),
            "hours": rounded(curve.hours),
            "values": rounded(curve.values),
            "y": rounded(np.clip(scale_y(curve.values), TOP - 6, HEIGHT - BOTTOM + 6)),
        }
        for curve in curves
    ]
    return json.dumps({"frame": frame, "spans": spans, "curves": entries}, separators=(",", ":"))

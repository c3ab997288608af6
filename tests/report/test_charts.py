"""Charts: where the points lie, what a screen reader hears, and that text stays text."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tf_sg2.report import charts
from tf_sg2.report.charts import Chart, Curve, Mark, histogram, line_chart, number_text
from tf_sg2.report.markup import escaped, tag

NAN = float("nan")


def curve(values, kimg=None, **more):
    values = np.array(values, float)
    kimg = np.arange(len(values), dtype=float) if kimg is None else np.array(kimg, float)
    return Curve(more.pop("label", "curve"), kimg, kimg**2, values, more.pop("color", 0), **more)


def paths(chart, axis="kimg"):
    """The points of each curve, from the `d` of its path: one list per unbroken part."""
    root = ET.fromstring(line_chart(chart))
    found = []
    for group in root.iter("g"):
        if group.get("class") == f"by-{axis}":
            for path in group.iter("path"):
                parts = path.get("d").split("M")[1:]
                found.append(
                    [[tuple(map(float, p.split())) for p in part.split("L")] for part in parts]
                )
    return found


def test_points_lie_where_the_axes_say():
    chart = Chart("t", "n", [curve([0.0, 0.5, 1.0])], limits=(0.0, 1.0))
    left, right = charts.LEFT, charts.WIDTH - charts.RIGHT
    top, bottom = charts.TOP, charts.HEIGHT - charts.BOTTOM
    middle = (bottom + top) / 2
    assert paths(chart) == [[[(left, bottom), ((left + right) / 2, middle), (right, top)]]]
    # Hours are the squares of kimg here, so the point in the middle moves to a quarter.
    assert paths(chart, "hours")[0][0][1] == (left + (right - left) / 4, middle)


def test_a_value_that_is_not_finite_breaks_the_curve():
    (parts,) = paths(Chart("t", "n", [curve([1.0, 2.0, NAN, 3.0, 4.0])]))
    assert [len(part) for part in parts] == [2, 2]


def test_equal_ratios_are_equal_distances_on_a_logarithmic_axis():
    (parts,) = paths(Chart("t", "n", [curve([1, 10, 100, 1000])], logarithmic=True))
    steps = np.diff([y for _, y in parts[0]])
    np.testing.assert_allclose(steps, steps[0], atol=0.11)  # Coordinates have one decimal.
    (parts,) = paths(Chart("t", "n", [curve([0, 10, 100, 1000])], logarithmic=True))
    steps = np.diff([y for _, y in parts[0]])
    assert abs(steps[2]) > 5 * abs(steps[1])  # A zero makes it linear.


def test_a_long_curve_keeps_its_mean_in_few_points():
    values = np.random.default_rng(0).normal(size=1600)
    thin = charts._thinned(curve(values))
    assert len(thin.values) == charts.MOST_POINTS
    np.testing.assert_allclose(thin.values, values.reshape(-1, 10).mean(axis=1))
    np.testing.assert_allclose(thin.kimg, np.arange(1600.0).reshape(-1, 10).mean(axis=1))


def test_early_spikes_do_not_flatten_the_rest_but_metrics_show_all():
    values = [1e6, *np.linspace(1, 2, 999)]
    cut = paths(Chart("t", "n", [curve(values)]))[0][0]
    assert max(y for _, y in cut[1:]) - min(y for _, y in cut[1:]) > 60
    whole = paths(Chart("t", "n", [curve(values)], whole_range=True))[0][0]
    assert max(y for _, y in whole[1:]) - min(y for _, y in whole[1:]) < 1


def test_a_mark_is_a_ring_around_its_point():
    chart = Chart("t", "n", [curve([1.0, 0.0, 1.0])], [Mark("best", 1.0, 1.0, 0.0, 0)])
    root = ET.fromstring(line_chart(chart))
    group = next(g for g in root.iter("g") if g.get("class") == "by-kimg")
    ring = next(c for c in group.iter("circle") if "ring" in c.get("class"))
    assert (float(ring.get("cx")), float(ring.get("cy"))) == paths(chart)[0][0][1]
    assert "best" in "".join(group.itertext())


def test_a_chart_is_told_in_words_and_in_a_table():
    chart = Chart("Losses", "n", [curve([3.0, 1.0, 2.0], label="generator")])
    root = ET.fromstring(line_chart(chart))
    svg = next(s for s in root.iter("svg") if s.get("role") == "img")
    assert svg.get("aria-label") == "Losses. generator: from 3 to 2."
    cells = [cell.text for cell in root.find(".//tbody").iter("td")]
    assert cells == ["3", "1", "3", "2"]


def test_charts_of_nothing_finite_are_drawn():
    for values in ([NAN], [0.0], [5.0, 5.0], [-1e-12, 1e12]):
        text = line_chart(Chart("t", "n", [curve(values)], logarithmic=True))
        ET.fromstring(text)
        assert "nan" not in re.sub(r"NaN", "", text).lower().replace("no finite value", "")


def test_histograms_are_shares_of_their_own_sums():
    edges = np.array([-1.0, 0.0, 1.0, 2.0])
    few, many = np.array([0, 1, 1]), np.array([0, 100, 100])
    root = ET.fromstring(f"<r>{histogram(edges, [('a', few, 0), ('b', many, 1)], 't')}</r>")
    lines = [line.get("points") for line in root.iter("polyline")]
    assert lines[0] == lines[1]
    assert "Mean of a: 1." in root.find("svg").get("aria-label")
    empty = histogram(edges, [("a", np.zeros(3, int), 0)], "t")
    assert "nan" not in empty


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234567, "1,234,567"), (0.012345, "0.0123"), (-2.5, "−2.5"), (1e-7, "1e-07")],
)
def test_numbers_have_three_digits(value, text):
    assert number_text(value) == text


def test_text_is_escaped_and_markup_is_not():
    hostile = "<script>alert('1')</script> & \"x\"\x00"
    element = tag("p", {"title": hostile, "hidden": False, "id": None}, hostile, tag("b", None))
    root = ET.fromstring(element)
    assert root.text == root.get("title") == hostile.replace("\x00", "\N{REPLACEMENT CHARACTER}")
    assert [child.tag for child in root] == ["b"]
    assert set(root.attrib) == {"title"}
    assert escaped(escaped("<")) == "&lt;"

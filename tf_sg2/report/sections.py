"""The sections of a report that show pictures and histograms, one function each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_sg2.config import Config
from tf_sg2.report.charts import histogram, number_text
from tf_sg2.report.curves import hours_at
from tf_sg2.report.generated import (
    COLUMN_SEEDS,
    MIXING_PSI,
    PSIS,
    ROW_SEEDS,
    SWEEP_SEEDS,
    Generated,
)
from tf_sg2.report.markup import Markup, joined, scrollable, tag
from tf_sg2.report.neighbours import Neighbours
from tf_sg2.report.pictures import (
    CELL_SIZE,
    REALS,
    SLIDER_STEPS,
    Sheet,
    image_tag,
    read_sheet,
    sheets,
    strip,
    thinned,
)
from tf_sg2.report.records import Record
from tf_sg2.report.summary import duration_text

HISTOGRAM_STEPS = 12
_COLORS = {"training": 0, "heldout": 2, "generated": 1}


@dataclass(frozen=True)
class Triple:
    """A generated image beside its nearest real images, uint8 [H, W, C] each."""

    seed: int
    generated: np.ndarray
    training: np.ndarray
    heldout: np.ndarray | None
    training_distance: float
    heldout_distance: float | None
    ratio: float | None


def samples(record: Record, real_images: bool) -> Markup | None:
    """Returns the sample grids of a run with a slider over training; None without pictures."""
    figures = []
    for family, found in sorted(sheets(record).items(), key=lambda item: item[0] == REALS):
        if family == REALS and not real_images:
            continue
        figure = _slider(record, family, found)
        if figure is not None:
            figures.append(figure)
    return tag("div", {"class": "pair"}, *figures) if figures else None


def newest_sheet(record: Record) -> Markup | None:
    """Returns the newest grid of generated samples as one image; None without pictures."""
    found = sheets(record)
    wanted = f"fakes_psi{record.config.training.sample_truncation_psi:g}"
    names = [wanted, *sorted(name for name in found if name != REALS)]
    for name in names:
        for sheet in reversed(found.get(name, [])):
            pixels = read_sheet(sheet.path)
            if pixels is not None:
                alt = f"Generated samples of {record.name} at {sheet.kimg:g} kimg"
                return image_tag(pixels, alt)
    return None


def _family_title(family: str) -> str:
    if family == REALS:
        return "Real images"
    kind, _, psi = family.partition("_psi")
    titles = {"fakes": "Samples", "classes": "One row per class"}
    return f"{titles[kind]}, psi {psi}" if kind in titles else family


def _slider(record: Record, family: str, found: Sequence[Sheet]) -> Markup | None:
    frames = []
    title = _family_title(family)
    for sheet in thinned(found, SLIDER_STEPS):
        pixels = read_sheet(sheet.path)
        if pixels is None:
            continue
        when = ""
        if family != REALS:
            when = f"{number_text(sheet.kimg)} kimg"
            when += f" · {duration_text(float(hours_at(record, np.array([sheet.kimg]))[0]))}"
        frames.append(
            (when, image_tag(pixels, ", ".join(filter(None, (title, record.name, when)))))
        )
    return slider(title, frames) if frames else None


def slider(title: str, frames: Sequence[tuple[str, Markup]]) -> Markup:
    """Returns a figure that shows one of several frames; without JavaScript, the last one.

    Args:
        title: of the figure.
        frames: (time, content) each.
    """
    last = len(frames) - 1
    shown = [
        tag("div", {"class": "frame", "data-when": when, "hidden": i != last}, content)
        for i, (when, content) in enumerate(frames)
    ]
    controls = None
    if last:
        entries = {"type": "range", "min": 0, "max": last, "value": last, "step": 1}
        controls = tag(
            "div",
            {"class": "controls", "hidden": True},
            tag("button", {"type": "button", "class": "play"}, "Play"),
            tag("input", {**entries, "aria-label": f"{title}: time in training"}),
        )
    when = tag("span", {"class": "when", "aria-live": "polite"}, frames[-1][0])
    return tag(
        "figure",
        {"class": "card slider"},
        tag("figcaption", None, tag("h4", None, title), when),
        *shown,
        controls,
    )


def fixed_latents(record: Record) -> Markup | None:
    """Returns the same latents over time as a table; None without two times."""
    found = sheets(record)
    wanted = f"fakes_psi{record.config.training.sample_truncation_psi:g}"
    family = found.get(wanted) or next((s for f, s in found.items() if f != REALS), [])
    times, images = strip(family, _size(record.config))
    if len(times) < 2:
        return None
    heads = [f"{number_text(time)}" for time in times]
    rows = [
        (
            None,
            [
                image_tag(image, f"latent {i}, {heads[j]} kimg", CELL_SIZE)
                for j, image in enumerate(row)
            ],
        )
        for i, row in enumerate(images)
    ]
    return picture_table("kimg", heads, rows, f"fixed latents of {record.name}")


def _size(config: Config) -> tuple[int, int]:
    height, width = config.generator.image_size
    return height, width


def picture_table(
    corner: str,
    heads: Sequence[str],
    rows: Sequence[tuple[str | None, Sequence[Markup]]],
    name: str,
) -> Markup:
    """Returns a table of images with heads above, and before the rows if they have names."""
    named = any(head is not None for head, _ in rows)
    columns = [tag("th", {"scope": "col"}, head) for head in heads]
    first = tag("th", {"scope": "col", "class": "corner"}, corner)
    body = [
        tag(
            "tr",
            None,
            tag("th", {"scope": "row"}, head) if named else None,
            *(tag("td", None, cell) for cell in cells),
        )
        for head, cells in rows
    ]
    table = tag(
        "table",
        {"class": "pictures wide" if len(heads) > 5 else "pictures"},
        None if named else tag("caption", None, corner),
        tag("thead", None, tag("tr", None, first if named else None, *columns)),
        tag("tbody", None, *body),
    )
    return tag("div", {"class": "card"}, scrollable(table, name))


def truncation(record: Record, generated: Generated) -> Markup:
    """Returns the truncation sweep: one row per seed, one column per psi."""
    rows = [
        (
            f"seed {seed}",
            [
                image_tag(image, f"seed {seed}, psi {psi:g}", CELL_SIZE)
                for psi, image in zip(PSIS, images, strict=True)
            ],
        )
        for seed, images in zip(SWEEP_SEEDS, generated.sweep, strict=True)
    ]
    heads = [f"{psi:g}" for psi in PSIS]
    return picture_table("psi", heads, rows, f"truncation sweep of {record.name}")


def mixing(record: Record, generated: Generated) -> Markup:
    """Returns the style-mixing tables: coarse, middle and fine layers."""
    tables = []
    for found in generated.mixings:
        layers = f"{found.layers[0]}–{found.layers[-1]}" if len(found.layers) > 1 else "0"
        if len(found.layers) == 1:
            layers = str(found.layers[0])
        heads = ["", *(f"{seed}" for seed in COLUMN_SEEDS)]
        rows = []
        for i, row in enumerate(found.images):
            cells = []
            for j, image in enumerate(row):
                if not i and not j:
                    cells.append(Markup(""))
                    continue
                alt = _mixed(i, j)
                cells.append(image_tag(image, alt, CELL_SIZE))
            rows.append((f"{ROW_SEEDS[i - 1]}" if i else "", cells))
        name = f"{found.name} layers of {record.name}"
        title = tag("h4", None, f"{found.name.capitalize()} layers ({layers}) from the column")
        tables.append(tag("div", None, title, picture_table("seed", heads, rows, name)))
    return tag("div", {"class": "thirds"}, *tables)


def _mixed(i: int, j: int) -> str:
    if not i:
        return f"seed {COLUMN_SEEDS[j - 1]}"
    if not j:
        return f"seed {ROW_SEEDS[i - 1]}"
    return f"seed {ROW_SEEDS[i - 1]} with styles of seed {COLUMN_SEEDS[j - 1]}"


MIXING_NOTE = (
    f"The first row and the first column are seeds at psi {MIXING_PSI:g}. Every other picture is "
    "that of its row, with the styles of some layers from its column."
)


def score_histograms(record: Record) -> Markup | None:
    """Returns the histograms of D's scores with a slider over time; None without any."""
    frames = []
    for found in thinned(record.scores, HISTOGRAM_STEPS):
        parts = [
            ("training images", found.training, _COLORS["training"]),
            ("generated images", found.generated, _COLORS["generated"]),
        ]
        if found.heldout is not None:
            parts.insert(1, ("held-out images", found.heldout, _COLORS["heldout"]))
        when = f"{number_text(found.kimg)} kimg"
        numbers = [
            f"{name} {number_text(value)}"
            for name, value in (("AUC", found.auc), ("gap", found.gap))
            if value is not None
        ]
        title = f"Scores of {record.name} at {when}"
        frames.append((" · ".join([when, *numbers]), histogram(found.edges, parts, title)))
    return slider(f"Scores, {record.name}", frames) if frames else None


def neighbour_table(record: Record, found: Neighbours, shown: Sequence[Triple]) -> Markup:
    """Returns generated images beside their nearest real images, the most suspicious first."""
    training, heldout = found.counts
    words = f"Looked at {len(found.found)} generated images and {training} training images"
    words += f", {heldout} held-out images." if heldout else "; there are no held-out images."
    if found.median is not None and found.expected is not None:
        words += (
            f" Median ratio: {number_text(found.median)}. Expected without copying: "
            f"{number_text(found.expected)}, from held-out images in place of generated ones."
        )
    note = tag("p", None, words)
    if not shown:
        return joined(note, tag("p", {"class": "empty"}, NO_REAL_IMAGES))
    items = []
    for triple in shown:
        images = [
            _captioned(triple.generated, "generated", f"seed {triple.seed}"),
            _captioned(triple.training, "nearest training", number_text(triple.training_distance)),
        ]
        if triple.heldout is not None and triple.heldout_distance is not None:
            distance = number_text(triple.heldout_distance)
            images.append(_captioned(triple.heldout, "nearest held-out", distance))
        ratio = None
        if triple.ratio is not None:
            ratio = tag("p", {"class": "ratio"}, f"ratio {number_text(triple.ratio)}")
        items.append(tag("li", {"class": "card triple"}, tag("div", None, *images), ratio))
    return joined(note, tag("ol", {"class": "triples"}, *items))


NO_REAL_IMAGES = (
    "Real images are not shown: the data set is not known to be drawn cards. --real_images puts "
    "real images of the data set into the report."
)


def _captioned(image: np.ndarray, title: str, note: str) -> Markup:
    alt = f"{title} image, {note}"
    caption = tag("figcaption", None, title, tag("span", None, note))
    return tag("figure", None, image_tag(image, alt, CELL_SIZE), caption)

"""The page: head, navigation and sections, as one self-contained HTML text."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import resources

from tf_sg2 import __version__
from tf_sg2.report import sections, summary
from tf_sg2.report.charts import line_chart
from tf_sg2.report.curves import log_charts, metric_charts, score_charts
from tf_sg2.report.findings import Finding, findings, of_neighbours
from tf_sg2.report.generated import Generated
from tf_sg2.report.markup import Markup, joined, tag
from tf_sg2.report.neighbours import Neighbours
from tf_sg2.report.records import Record
from tf_sg2.runs.load import LoadedRun

ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath "
    "d='M1 3c3 9 6 9 14 10' fill='none' stroke='%233452c7' stroke-width='2.5'/%3E%3C/svg%3E"
)


@dataclass(frozen=True)
class Content:
    """All that is shown of one run.

    Attributes:
        record: what the run wrote.
        loaded: its networks; None if it has no checkpoint yet.
        generated: pictures of the checkpoint.
        neighbours: the nearest real images of generated ones.
        triples: those that are shown; empty if real images must stay out.
        real_images: whether real images may be shown.
        notes: sentences on what is missing, and why.
    """

    record: Record
    loaded: LoadedRun | None = None
    generated: Generated | None = None
    neighbours: Neighbours | None = None
    triples: Sequence[sections.Triple] = ()
    real_images: bool = False
    notes: Sequence[str] = field(default_factory=list)


def page(contents: Sequence[Content]) -> str:
    """Returns the report as HTML."""
    style, script = (_asset(name) for name in ("report.css", "report.js"))
    names = ", ".join(content.record.name for content in contents)
    parts = [part for part in _sections(contents) if part is not None]
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src '{_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    head = tag(
        "head",
        None,
        tag("meta", {"charset": "utf-8"}),
        tag("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        tag("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        tag("meta", {"name": "color-scheme", "content": "light dark"}),
        tag("meta", {"name": "generator", "content": f"tf-sg2 {__version__}"}),
        tag("title", None, f"Report: {names}"),
        _icon(),
        tag("style", None, style),
    )
    body = tag(
        "body",
        None,
        tag("a", {"class": "skip", "href": "#main"}, "Skip to the content"),
        tag(
            "header",
            {"class": "top"},
            tag("p", {"class": "kicker"}, "Training report"),
            tag("h1", None, names),
        ),
        tag(
            "nav",
            {"aria-label": "Sections"},
            *(tag("a", {"href": f"#{part.name}"}, part.short) for part in parts),
        ),
        tag("main", {"id": "main"}, *(_section(part) for part in parts)),
        tag("footer", None, f"Made by tf-sg2 {__version__}. This file needs nothing beside it."),
        tag("script", None, script),
    )
    return f"<!doctype html>\n{tag('html', {'lang': 'en'}, head, body)}\n"


@dataclass(frozen=True)
class _Part:
    """One section: its anchor, its word in the navigation, its title and its content."""

    name: str
    short: str
    title: str
    note: str
    content: Markup
    guide: str | None = None


def _asset(name: str) -> Markup:
    """Returns a file of this room, which is trusted markup."""
    text = (
        resources.files("tf_sg2.report")
        .joinpath("assets")
        .joinpath(name)
        .read_text(encoding="utf-8")
    )
    return Markup(text)


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _icon() -> Markup:
    """Returns the page's icon; `link` has no end tag."""
    return Markup(tag("link", {"rel": "icon", "href": ICON}).removesuffix("</link>"))


def _section(part: _Part) -> Markup:
    more = None
    if part.guide:
        more = tag("a", {"href": f"#{part.guide}", "class": "more"}, "How to read it")
    return tag(
        "section",
        {"id": part.name, "aria-labelledby": f"{part.name}-title"},
        tag("h2", {"id": f"{part.name}-title"}, part.title),
        tag("p", {"class": "lead"}, part.note, " ", more) if part.note or more else None,
        part.content,
    )


def _sections(contents: Sequence[Content]) -> list[_Part | None]:
    records = [content.record for content in contents]
    return [
        _Part("summary", "Summary", "At a glance", "", _summary(contents)),
        _curves(records),
        _pictures(
            records,
            ("samples", "Samples", "Samples over training", "guide-samples"),
            "Drag the slider, or play it. The latents of a grid stay the same.",
            [sections.samples(c.record, c.real_images) for c in contents],
        ),
        _pictures(
            records,
            ("latents", "Latents", "Fixed latents over time", "guide-samples"),
            "One row per latent, from left to right in kimg.",
            [sections.fixed_latents(record) for record in records],
        ),
        _pictures(
            records,
            ("truncation", "Truncation", "Truncation sweep", "guide-truncation"),
            "From the mean picture to the full variety and beyond.",
            [sections.truncation(c.record, c.generated) if c.generated else None for c in contents],
        ),
        _pictures(
            records,
            ("mixing", "Mixing", "Style mixing", "guide-mixing"),
            sections.MIXING_NOTE,
            [sections.mixing(c.record, c.generated) if c.generated else None for c in contents],
        ),
        _scores(records),
        _pictures(
            records,
            ("neighbours", "Neighbours", "Nearest neighbours", "guide-neighbours"),
            "Generated images beside the real images that are nearest for the eye of the metrics, "
            "the most suspicious first.",
            [
                sections.neighbour_table(c.record, c.neighbours, c.triples)
                if c.neighbours
                else None
                for c in contents
            ],
        ),
        _Part("guide", "How to read", "How to read this", "", _asset("guide.html")),
    ]


def _summary(contents: Sequence[Content]) -> Markup:
    records = [content.record for content in contents]
    parts = []
    for i, content in enumerate(contents):
        found: list[Finding] = findings(content.record)
        near = content.neighbours
        if near is not None and near.median is not None and near.expected is not None:
            found.append(of_neighbours(near.median, near.expected))
        picture = sections.newest_sheet(content.record)
        parts.append(
            joined(
                summary.run_head(records, i),
                tag(
                    "div",
                    {"class": "hero"},
                    tag(
                        "div",
                        None,
                        tag("div", {"class": "card sheet"}, picture) if picture else None,
                        summary.finding_list(found),
                    ),
                    summary.tiles(content.record),
                ),
                *(tag("p", {"class": "missing"}, note) for note in content.notes),
            )
        )
    changed = summary.differences(records) if len(records) > 1 else None
    if changed is not None:
        parts.append(joined(tag("h3", None, "What differs in the configurations"), changed))
    loaded = [content.loaded for content in contents]
    parts.append(joined(tag("h3", None, "The facts"), summary.facts(records, loaded)))
    return joined(*parts)


def _curves(records: Sequence[Record]) -> _Part | None:
    metrics, logs = list(metric_charts(records)), list(log_charts(records))
    if not metrics and not logs:
        return None
    choice = tag(
        "fieldset",
        {"class": "choice"},
        tag("legend", None, "Horizontal axis"),
        *(
            tag(
                "label",
                None,
                tag(
                    "input",
                    {
                        "type": "radio",
                        "name": "axis",
                        "id": f"axis-{axis}",
                        "checked": axis == "kimg",
                    },
                ),
                word,
            )
            for axis, word in (("kimg", "kimg"), ("hours", "hours"))
        ),
    )
    content = joined(choice, _plots(map(line_chart, [*metrics, *logs])))
    note = (
        "Against thousands of real images shown (kimg), or hours of training without pauses. "
        "Values far outside the rest are cut off at the edge."
    )
    return _Part("curves", "Curves", "Curves", note, content)


def _plots(figures: Iterable[Markup]) -> Markup:
    return tag("div", {"class": "plots"}, *figures)


def _scores(records: Sequence[Record]) -> _Part | None:
    histograms = [found for record in records if (found := sections.score_histograms(record))]
    if not histograms:
        return None
    content = _plots([*histograms, *map(line_chart, score_charts(records))])
    note = (
        "How the discriminator scores training images, held-out images and generated images. "
        "Training and held-out images should get the same scores."
    )
    return _Part(
        "scores", "Scores", "Scores of the discriminator", note, content, "guide-overfitting"
    )


def _pictures(
    records: Sequence[Record],
    names: tuple[str, str, str, str],
    note: str,
    parts: Sequence[Markup | None],
) -> _Part | None:
    content = summary.per_run(records, parts)
    if content is None:
        return None
    anchor, short, title, guide = names
    return _Part(anchor, short, title, note, content, guide)

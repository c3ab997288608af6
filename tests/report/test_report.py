"""The report as a whole, through its command: what it holds, what it never holds."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from pictures import noise, save
from report_runs import make_run
from tf_sg2.commands.exit_status import main_guard
from tf_sg2.commands.report import main
from tf_sg2.latent.renderer import Renderer
from tf_sg2.report.generated import PSIS, SWEEP_SEEDS, layer_groups
from tf_sg2.runs.directory import RunDirectory
from tf_sg2.runs.load import load_run
from tiny_config import tiny_config

pytestmark = pytest.mark.stack

CARDS = "cards:count=40,seed=3,size=16x20"
FEW = ("--neighbours=6", "--most_real=20")
SECTIONS = "summary curves samples latents truncation mixing scores neighbours guide".split()


class Page(HTMLParser):
    """What a page holds: elements with their attributes, and its visible text."""

    def __init__(self, path):
        super().__init__()
        self.elements, self.words, self.silent = [], [], False
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        self.silent = name in ("style", "script")

    def handle_endtag(self, name):
        self.silent = False

    def handle_data(self, data):
        if not self.silent:
            self.words.append(data)

    def all(self, name):
        return [attributes for found, attributes in self.elements if found == name]

    def pixels(self, alt):
        (source,) = [image["src"] for image in self.all("img") if image["alt"] == alt]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))))


def report(*flags):
    return main_guard(lambda: main([*flags]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return make_run(folder / "<script>alert(1)</script>"[:8], source=CARDS, holdout=0.3)


@pytest.fixture(scope="module")
def page(run):
    assert report(f"--run={run.path}", *FEW) == 0
    return Page(run.path / "report.html")


def test_every_section_is_there_in_order(page):
    assert [section["id"] for section in page.all("section")] == SECTIONS
    assert [a["href"] for a in page.all("a") if "class" not in a][: len(SECTIONS)] == [
        f"#{name}" for name in SECTIONS
    ]


def test_links_lead_to_something_and_ids_are_single(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert {a["href"] for a in page.all("a")} <= {f"#{name}" for name in ids}


def test_nothing_comes_from_elsewhere(page):
    for name, attributes in page.elements:
        assert name not in ("iframe", "object", "embed", "base", "form")
        for key, value in attributes.items():
            if key in ("src", "href"):
                assert value.startswith(("data:image/", "#")), value[:80]
            assert not key.startswith("on")
            assert key != "style"
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|innerHTML|eval\(", page.source)
    (policy,) = [m["content"] for m in page.all("meta") if "http-equiv" in m]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_a_runs_name_stays_text(page):
    assert "<script>" in page.text
    assert len(page.all("script")) == 1


def test_every_picture_and_control_has_words(page):
    assert len(page.all("img")) > 50
    assert all(image["alt"] for image in page.all("img"))
    assert all(svg.get("aria-label") for svg in page.all("svg") if svg.get("role") == "img")
    ranges = [i for i in page.all("input") if i["type"] == "range"]
    assert ranges
    assert all(i["aria-label"] for i in ranges)


def test_the_numbers_of_the_run_are_told(page):
    for words in (
        "fd_ppocr 5.2 floor 0.25",
        "training time 3 min",
        "training images 28 passes over them 1.71 held-out images 12",
        "half-life of the average 2 kimg",
        "tells training from held-out images with AUC 0.55: no overfitting",
        "All losses are finite, and no step was skipped",
        "6 generated images and 20 training images, ",
        "Expected without copying",
    ):
        assert words in page.text, words


def test_sweep_shows_what_the_generator_makes_at_that_psi(run, page):
    generator = load_run(run.path).generator
    renderer = Renderer(generator, truncation_psi=0.5)
    wanted = next(renderer.seed_images([SWEEP_SEEDS[1]]))
    shown = page.pixels(f"seed {SWEEP_SEEDS[1]}, psi 0.5")
    assert 0.5 in PSIS
    # The interpolation between psi 0 and 1 rounds in another order than the network.
    np.testing.assert_allclose(shown.astype(int), wanted.astype(int), atol=1)


def test_mixing_takes_the_layers_of_its_group_from_the_column(run, page):
    generator = load_run(run.path).generator
    renderer = Renderer(generator, truncation_psi=0.7)
    own, other = renderer.map_seeds([0, 10])
    names = []
    for name, layers in layer_groups(generator.config.num_ws):
        w = own.copy()
        w[list(layers)] = other[list(layers)]
        names.append((name, next(renderer.images(w[None]))))
    images = [i["src"] for i in page.all("img") if i["alt"] == "seed 0 with styles of seed 10"]
    assert len(images) == len(names) == 3
    for source, (name, wanted) in zip(images, names, strict=True):
        content = base64.b64decode(source.partition(",")[2])
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), wanted, name)


def test_layers_are_divided_without_a_gap():
    for num_ws in range(2, 20, 2):
        groups = layer_groups(num_ws)
        assert [layer for _, layers in groups for layer in layers] == list(range(num_ws))


def real_pictures(page):
    return [i["alt"] for i in page.all("img") if re.search("Real images|nearest", i["alt"])]


def test_drawn_cards_are_shown_and_other_images_only_if_asked(page, tmp_path):
    assert real_pictures(page)
    for i in range(12):
        save(tmp_path / "set" / f"{i}.png", noise(16, 20))
    run = make_run(tmp_path / "run", source=str(tmp_path / "set"), holdout=0.5)
    assert report(f"--run={run.path}", *FEW) == 0
    hidden = Page(run.path / "report.html")
    assert not real_pictures(hidden)
    assert "Real images are not shown" in hidden.text
    assert "Median ratio" in hidden.text
    assert str(tmp_path) not in hidden.source  # The name of the set, without the folders above.
    assert report(f"--run={run.path}", *FEW, "--real_images") == 0
    assert real_pictures(Page(run.path / "report.html"))


def test_several_runs_are_laid_over_each_other(run, tmp_path):
    other = make_run(tmp_path / "other", source=CARDS)
    out = tmp_path / "compared.html"
    assert report(f"--run={run.path},{other.path}", f"--out={out}", "--neighbours=0") == 0
    page = Page(out)
    assert f"{run.path.name}, other" in page.text
    assert "data.holdout 0.3 0.0" in page.text
    (chart,) = [s["aria-label"] for s in page.all("svg") if "fd_ppocr." in s.get("aria-label", "")]
    assert f"{run.path.name}, value: from 8.4 to 5.2." in chart
    assert "other, value: from 8.4 to 5.2." in chart


def test_conditional_models_show_one_class(tmp_path):
    run = make_run(tmp_path / "run", label_dim=3)
    out = run.path / "r.html"
    assert report(f"--run={run.path}", f"--out={out}", "--labels=2", *FEW) == 0
    page = Page(out)
    assert "have the label 2" in page.text
    renderer = Renderer(load_run(run.path).generator, np.eye(3, dtype=np.float32)[2])
    wanted = next(renderer.seed_images([0]))
    np.testing.assert_allclose(page.pixels("seed 0, psi 1").astype(int), wanted, atol=1)


def test_a_run_without_anything_yet_has_a_report_that_says_so(tmp_path, capsys):
    run = RunDirectory(tmp_path / "new")
    run.write_config(tiny_config())
    assert report(f"--run={run.path}") == 0
    page = Page(run.path / "report.html")
    assert "no checkpoint yet, so nothing was generated" in page.text
    assert "no losses in the log yet" in page.text
    assert [section["id"] for section in page.all("section")] == ["summary", "guide"]
    assert capsys.readouterr().out.startswith("report: file:///")


def test_a_data_set_that_is_gone_costs_the_neighbours_only(tmp_path, capsys):
    run = make_run(tmp_path / "run", source=str(tmp_path / "gone.zip"))
    (run.samples / "fakes_psi1_000000_016.png").write_bytes(b"no picture")
    assert report(f"--run={run.path}", *FEW) == 0
    page = Page(run.path / "report.html")
    assert "Nearest neighbours are missing" in page.text
    # The reason may name a real image, so it is told to the user only.
    assert "no nearest neighbours: there is no data set at" in capsys.readouterr().err
    assert str(tmp_path) not in page.source
    assert "neighbours" not in [section["id"] for section in page.all("section")]


def test_bad_input_is_one_sentence(run, tmp_path, capsys):
    for flags, sentence in (
        ([], "--run names no run; give a run directory of tf-sg2 train"),
        (["--run=no-run"], "run directory no-run does not exist"),
        (
            [f"--run={run.path}", "--out=report.pdf"],
            "a report is one HTML file, but --out=report.pdf is no .html file",
        ),
        (
            [f"--run={run.path}", "--checkpoint=7"],
            f"run {run.path} has no checkpoint '7'; it has 6",
        ),
        (
            [f"--run={run.path}", "--labels=1"],
            "--labels=1 was given, but this model has no labels; leave it out",
        ),
    ):
        assert report(*flags) == 2
        assert capsys.readouterr().err.splitlines()[-1] == f"error: {sentence}"

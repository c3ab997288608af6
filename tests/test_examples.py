"""Every file in `examples/` runs as it stands, on tiny networks."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from checkout import ROOT
from tiny_config import IMAGE_SIZE
from tiny_exports import export_tiny
from tiny_run import make_tiny_run

pytestmark = pytest.mark.slow

EXAMPLES = ROOT / "examples"
HEIGHT, WIDTH = IMAGE_SIZE
CARDS = f"cards:count=8,seed=3,size={HEIGHT}x{WIDTH}"
# Networks of a few weights, and two iterations.
TINY = {
    "generator.z_dim": 8,
    "generator.w_dim": 8,
    "generator.channel_max": 4,
    "discriminator.channel_max": 4,
    "discriminator.minibatch_stddev_group": 2,
    "training.batch_size": 4,
    "training.total_kimg": 0.008,
    "training.sample_rows": 1,
    "training.sample_columns": 1,
}


def example(name: str):
    """Returns an example as a module; its `__main__` part does not run."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        image.load()
        return image.height, image.width


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_tiny_run(tmp_path_factory.mktemp("examples") / "run")


def test_generate_writes_a_sheet(run, tmp_path):
    example("generate").generate(str(run.path), str(tmp_path / "sheet.png"))
    assert size_of(tmp_path / "sheet.png") == (2 * HEIGHT, 4 * WIDTH)


def test_train_on_a_folder_leaves_a_run(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (8, HEIGHT, WIDTH, 3), dtype=np.uint8)
    for index, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{index}.png")
    run = tmp_path / "run"
    example("train_on_a_folder").train_on_a_folder(str(folder), str(run), TINY)
    assert (run / "config.json").is_file()
    assert (run / "checkpoints" / "checkpoint-2.index").is_file()


def test_custom_loop_writes_a_sheet(tmp_path, capsys):
    example("custom_loop").custom_loop(CARDS, str(tmp_path / "sheet.png"), steps=2)
    assert size_of(tmp_path / "sheet.png") == (2 * HEIGHT, 4 * WIDTH)
    assert "nan" not in capsys.readouterr().out


def test_serve_and_ask_writes_images(tmp_path):
    model = export_tiny(tmp_path, "tiny")
    example("serve_and_ask").serve_and_ask(str(model), str(tmp_path / "images"))
    written = sorted((tmp_path / "images").iterdir())
    assert [path.name for path in written] == [f"seed{seed}.png" for seed in range(4)]
    assert {size_of(path) for path in written} == {(HEIGHT, WIDTH)}


def test_notebook_of_style_mixing_runs_cell_by_cell(run):
    notebook = json.loads((EXAMPLES / "mix_styles.ipynb").read_text(encoding="utf-8"))
    names: dict[str, object] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert not cell["outputs"]
        assert cell["execution_count"] is None
        exec("".join(cell["source"]), names)
        if "parameters" in cell["metadata"].get("tags", []):
            names["RUN"] = str(run.path)
    mixed, row_w, column_w = np.stack(names["mixed"]), names["row_w"], names["column_w"]
    # Row 0, column 0: coarse layers of the column, the rest of the row.
    np.testing.assert_array_equal(mixed[1, :4], column_w[0, :4])
    np.testing.assert_array_equal(mixed[1, 4:], row_w[0, 4:])
    assert names["sheet"].shape == (3 * HEIGHT + 4, 5 * WIDTH + 8, 3)


def test_every_example_is_tested():
    tests = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        assert path.stem in tests, path.name

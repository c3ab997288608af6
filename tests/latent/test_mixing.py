"""The style-mixing table."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tf_sg2.commands.mix import main
from tf_sg2.errors import InputError
from tf_sg2.images import to_uint8
from tf_sg2.latent.mixing import mixing_table
from tf_sg2.latent.renderer import Renderer
from tf_sg2.latent.seeds import latents, noise_seeds
from tf_sg2.runs.load import load_run
from tiny_config import IMAGE_SIZE
from tiny_run import make_tiny_run

pytestmark = pytest.mark.slow

ROWS, COLUMNS, LAYERS = [3, 1], [10, 11, 12], [0, 1, 4]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(make_tiny_run(tmp_path_factory.mktemp("runs") / "tiny").path)


@pytest.mark.parametrize("noise_mode", ["const", "random"])
def test_cells_equal_direct_synthesis(run, noise_mode):
    generator = run.generator
    renderer = Renderer(generator, truncation_psi=0.7, noise_mode=noise_mode)
    table = mixing_table(renderer, ROWS, COLUMNS, LAYERS)
    assert table.shape == (3, 4, *IMAGE_SIZE, 3)
    assert table.dtype == np.uint8
    assert (table[0, 0] == 255).all()
    np.testing.assert_array_equal(table[0, 1:], list(renderer.seed_images(COLUMNS)))
    np.testing.assert_array_equal(table[1:, 0], list(renderer.seed_images(ROWS)))

    def styles(seed):
        return generator.mapping(latents([seed], 8), truncation_psi=0.7).numpy()

    for i, row in enumerate(ROWS):
        for j, column in enumerate(COLUMNS):
            w = styles(row)
            w[:, LAYERS] = styles(column)[:, LAYERS]
            image = generator.synthesis(w, noise_mode=noise_mode, noise_seeds=noise_seeds([row]))
            difference = table[i + 1, j + 1].astype(int) - to_uint8(image.numpy())[0]
            assert np.abs(difference).max() <= 1
            assert np.mean(difference != 0) < 0.01


def test_all_layers_give_the_column_and_none_the_row(run):
    renderer = Renderer(run.generator)
    table = mixing_table(renderer, ROWS, COLUMNS, range(6))
    np.testing.assert_array_equal(table[1, 1:], table[0, 1:])
    table = mixing_table(renderer, ROWS, COLUMNS, [])
    np.testing.assert_array_equal(table[1, 1:], np.stack([table[1, 0]] * 3))


def test_command_writes_the_table(run, tmp_path, capsys):
    path = tmp_path / "mixed.png"
    flags = ["--rows=3,1", "--columns=10-12", "--layers=0-1,4", "--padding=2"]
    main([f"--run={run.directory.path}", f"--out={path}", *flags])
    table = mixing_table(Renderer(run.generator, truncation_psi=0.7), ROWS, COLUMNS, LAYERS)
    height, width = IMAGE_SIZE
    with Image.open(path) as picture:
        sheet = np.asarray(picture)
        assert picture.text["layers"] == "0-1,4"
        assert picture.text["psi"] == "0.7"
    assert sheet.shape == (3 * height + 4, 4 * width + 6, 3)
    np.testing.assert_array_equal(sheet[-height:, -width:], table[2, 3])
    assert capsys.readouterr().out == f"table of 2 rows and 3 columns: {path}\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": None}, "--rows is needed: seeds of the rows"),
        ({"columns": None}, "--columns is needed"),
        ({"layers": "4-6"}, r"there is no layer 6; this model has layers 0\.\.\.5"),
        ({"layers": "x"}, "--layers 'x' is no list"),
        ({"out": "table.jpg"}, "--out=table.jpg is no .png file"),
        ({"labels": "1"}, "this model has no labels"),
    ],
)
def test_unusable_command_lines_are_refused(run, tmp_path, change, message):
    given = {"run": run.directory.path, "out": tmp_path / "t.png", "rows": "0", "columns": "1"}
    given.update(change)
    with pytest.raises(InputError, match=message):
        main([f"--{name}={value}" for name, value in given.items() if value is not None])

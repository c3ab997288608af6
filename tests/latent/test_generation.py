"""Pictures by seed: what a batch holds beside it changes nothing; files, sheets and refusals."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from tf_sg2.commands import main as cli
from tf_sg2.commands.generate import main
from tf_sg2.errors import InputError
from tf_sg2.images import to_uint8
from tf_sg2.latent.generation import generate
from tf_sg2.latent.renderer import Renderer
from tf_sg2.latent.seeds import latents, noise_seeds
from tf_sg2.runs.load import load_run
from tiny_config import IMAGE_SIZE
from tiny_run import make_tiny_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(make_tiny_run(tmp_path_factory.mktemp("runs") / "tiny").path)


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    directory = make_tiny_run(tmp_path_factory.mktemp("runs") / "labels", 3, image_channels=1)
    return load_run(directory.path)


def pictures(renderer, seeds):
    return np.stack(list(renderer.seed_images(seeds)))


@pytest.mark.parametrize("noise_mode", ["const", "random", "none"])
def test_a_seeds_picture_is_the_same_in_any_company(run, noise_mode):
    renderer = Renderer(run.generator, truncation_psi=0.7, noise_mode=noise_mode, batch_size=3)
    whole = pictures(renderer, range(7))
    assert whole.dtype == np.uint8
    assert whole.shape == (7, *IMAGE_SIZE, 3)
    assert len(np.unique(whole.reshape(7, -1), axis=0)) == 7
    for seeds in ([6], [4, 2], [5, 5, 1, 0], [3, 6, 0, 1, 2]):
        np.testing.assert_array_equal(pictures(renderer, seeds), whole[seeds])


def test_pictures_are_the_generators(run):
    generator, seeds = run.generator, [3, 1, 4]
    z, noise = latents(seeds, 8), noise_seeds(seeds)
    for mode in ("const", "random", "none"):
        expected = generator(
            z, truncation_psi=0.6, truncation_cutoff=2, noise_mode=mode, noise_seeds=noise
        )
        ours = pictures(Renderer(generator, None, 0.6, 2, mode), seeds)
        difference = ours.astype(int) - to_uint8(expected.numpy())
        assert np.abs(difference).max() <= 1
        assert np.mean(difference != 0) < 0.01


def test_psi_0_is_the_mean_picture_whatever_the_seed(run):
    renderer = Renderer(run.generator, truncation_psi=0.0)
    first, second = pictures(renderer, [1, 2])
    np.testing.assert_array_equal(first, second)


def test_labels_change_the_picture(conditional):
    of = [
        pictures(Renderer(conditional.generator, np.eye(3, dtype=np.float32)[i], 1.0), [0])
        for i in range(3)
    ]
    assert of[0].shape == (1, *IMAGE_SIZE, 1)
    assert not np.array_equal(of[0], of[1])
    assert not np.array_equal(of[1], of[2])


def test_command_writes_a_picture_a_seed(run, tmp_path, capsys):
    out = tmp_path / "pictures"
    main([f"--run={run.directory.path}", f"--out={out}", "--seeds=0-1,12345", "--batch-size=2"])
    assert sorted(path.name for path in out.iterdir()) == [
        "seed0000.png",
        "seed0001.png",
        "seed12345.png",
    ]
    assert capsys.readouterr().out == f"3 pictures of checkpoint-6: {out}\n"
    expected = pictures(Renderer(run.generator, truncation_psi=0.7, batch_size=2), [12345])[0]
    with Image.open(out / "seed12345.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), expected)
        text = picture.text
    assert text.pop("Software").startswith("tf-sg2 ")
    assert text == {
        "seed": "12345",
        "psi": "0.7",
        "noise_mode": "const",
        "checkpoint": "checkpoint-6",
        "kimg": "0.048",
    }


def test_command_writes_a_grid(conditional, tmp_path):
    path = tmp_path / "sheet.png"
    run = conditional.directory.path
    main([f"--run={run}", f"--out={path}", "--seeds=0-4", "--grid", "--labels=1", "--columns=3"])
    height, width = IMAGE_SIZE
    label = np.eye(3, dtype=np.float32)[1]
    expected = pictures(Renderer(conditional.generator, label, 0.7), range(5))[..., 0]
    with Image.open(path) as picture:
        sheet = np.asarray(picture)
        assert picture.text["seeds"] == "0,1,2,3,4"
        assert picture.text["labels"] == "0,1,0"
    assert sheet.shape == (2 * height, 3 * width)
    np.testing.assert_array_equal(sheet[height:, width : 2 * width], expected[4])
    assert (sheet[height:, 2 * width :] == 255).all()


def test_a_single_seed_may_be_one_file(run, tmp_path):
    renderer = Renderer(run.generator, truncation_psi=0.7)
    assert generate(renderer, [7], tmp_path / "seven.png") == [tmp_path / "seven.png"]
    with pytest.raises(InputError, match="is one file, but there are 2 seeds; name a folder"):
        generate(renderer, [7, 8], tmp_path / "both.png")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"run": None}, "--run is needed: run directory of tf-sg2 train"),
        ({"out": None}, "--out is needed"),
        ({"seeds": None}, "--seeds is needed: seeds, such as 0-15,20,33"),
        ({"seeds": "x"}, "--seeds 'x' is no list of whole numbers"),
        ({"run": "missing"}, "run directory missing does not exist"),
        ({"checkpoint": "7"}, "has no checkpoint '7'; it has 6"),
        ({"labels": "0"}, "this model has no labels"),
        ({"truncation_cutoff": "7"}, r"layers 0\.\.\.5, so it must be in 0\.\.\.6"),
        ({"truncation_psi": "nan"}, "truncation_psi is nan"),
        ({"noise_mode": "loud"}, "should be one of <const|random|none>"),
        ({"batch_size": "0"}, "batch_size"),
        ({"grid": "true"}, "a grid is one picture, but --out=.* is no .png file"),
        ({"columns": "2"}, "--columns is for a grid; add --grid"),
        (
            {"grid": "true", "columns": "100000000000", "out": "sheet.png", "seeds": "0-4"},
            "--columns=100000000000 is more than the 5 pictures of the grid",
        ),
        ({"out": __file__}, "is an existing file; name a folder"),
    ],
)
def test_unusable_command_lines_are_refused(run, tmp_path, capsys, change, message):
    given = {"run": run.directory.path, "out": tmp_path / "out", "seeds": "0", **change}
    arguments = [f"--{name}={value}" for name, value in given.items() if value is not None]
    with pytest.raises(InputError, match=message):
        main(arguments)
    assert not (tmp_path / "out").exists()
    assert cli.main(["generate", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_a_conditional_model_wants_a_label(conditional, tmp_path):
    with pytest.raises(InputError, match=r"give --labels, a class number of 0\.\.\.2"):
        main([f"--run={conditional.directory.path}", f"--out={tmp_path}", "--seeds=0"])

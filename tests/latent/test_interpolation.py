"""Loops through latent space: they close, they meet their seeds, and their files play right."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from PIL import Image

from tf_sg2.commands.interpolate import main
from tf_sg2.errors import InputError
from tf_sg2.latent.interpolation import (
    closed_spline,
    frame_times,
    interpolate,
    write_animation,
)
from tf_sg2.latent.renderer import Renderer
from tf_sg2.runs.load import load_run
from tiny_config import IMAGE_SIZE
from tiny_run import make_tiny_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return load_run(make_tiny_run(tmp_path_factory.mktemp("runs") / "tiny").path)


def test_spline_meets_its_points_and_closes_smoothly():
    points = np.random.default_rng(0).normal(size=(4, 2, 3)).astype(np.float32)
    count = 4000
    curve = closed_spline(points, count)
    assert curve.shape == (count, 2, 3)
    np.testing.assert_allclose(curve[:: count // 4], points, atol=1e-6)
    # Around the seam as anywhere else: the speed and its change are as small.
    around = np.concatenate([curve, curve[:3]])
    speed = np.diff(around, axis=0)
    bend = np.diff(speed, axis=0)
    assert np.abs(speed[count - 1]).max() <= np.abs(speed[: count - 1]).max()
    assert np.abs(bend[count - 2 :]).max() <= np.abs(bend[: count - 2]).max() * 1.01
    step = np.diff(bend, axis=0)
    assert np.abs(step[count - 3 :]).max() < 1e-2 * np.abs(bend).max()


def test_spline_does_not_depend_on_where_it_starts():
    points = np.random.default_rng(1).normal(size=(5, 3))
    curve, turned = closed_spline(points, 50), closed_spline(np.roll(points, -2, axis=0), 50)
    np.testing.assert_allclose(turned, np.roll(curve, -20, axis=0), atol=1e-12)


@pytest.mark.parametrize("space", ["w", "z"])
def test_frames_meet_the_seeds_pictures(run, space):
    renderer = Renderer(run.generator, truncation_psi=0.7)
    seeds = [5, 6, 2]
    frames = np.stack(list(interpolate(renderer, seeds, 12, space)))
    assert frames.shape == (12, *IMAGE_SIZE, 3)
    assert frames.dtype == np.uint8
    expected = np.stack(list(renderer.seed_images(seeds)))
    difference = np.abs(frames[::4].astype(int) - expected)
    assert difference.max() <= 1
    assert np.mean(difference > 0) < 0.01
    assert not np.array_equal(frames[2], frames[0])
    # The step over the seam is like the others.
    steps = np.abs(np.diff(frames, axis=0, append=frames[:1]).astype(np.int8)).mean((1, 2, 3))
    assert steps[-1] <= steps[:-1].max() * 1.5


def test_the_way_through_z_is_another_than_through_w(run):
    renderer = Renderer(run.generator)
    ways = [np.stack(list(interpolate(renderer, [0, 1], 8, space))) for space in ("w", "z")]
    assert not np.array_equal(*ways)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_animations_play_all_frames_without_end(tmp_path, suffix, channels):
    noise = np.random.default_rng(0).integers(0, 256, (7, 12, 20, channels)).astype(np.uint8)
    if channels == 4:
        noise[..., 3] = 255
    path = tmp_path / f"loop{suffix}"
    write_animation(path, iter(noise), 15)
    durations = []
    with Image.open(path) as picture:
        assert picture.n_frames == 7
        assert picture.info["loop"] == 0
        for i in range(7):
            picture.seek(i)
            picture.load()  # WebP tells a frame's duration when it is read.
            durations.append(picture.info["duration"])
            if suffix != ".gif":
                mode = {1: "L", 3: "RGB", 4: "RGBA"}[channels]
                shown = np.asarray(picture.convert(mode)).reshape(noise[i].shape)
                np.testing.assert_array_equal(shown, noise[i])
    assert sum(durations) == pytest.approx(7 * 1000 / 15, abs=5)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_frame_times_add_up():
    assert frame_times(3, 30, 10) == [30, 40, 30]
    assert sum(frame_times(300, 30, 10)) == 10000
    assert frame_times(2, 1000, 10) == [10, 10]


def test_folder_of_frames_is_whole_and_new(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (3, 4, 6, 3)).astype(np.uint8)
    write_animation(tmp_path / "frames", frames, 20)
    assert sorted(path.name for path in (tmp_path / "frames").iterdir()) == [
        "frame00000.png",
        "frame00001.png",
        "frame00002.png",
    ]
    with Image.open(tmp_path / "frames" / "frame00002.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), frames[2])
    with pytest.raises(InputError, match="exists already; remove it, or name another"):
        write_animation(tmp_path / "frames", frames, 20)


def test_command_writes_a_loop(run, tmp_path, capsys):
    path = tmp_path / "loop.webp"
    flags = ["--seeds=0-2", "--frames=6", "--frame-rate=10", "--space=z", "--noise_mode=none"]
    main([f"--run={run.directory.path}", f"--out={path}", *flags])
    with Image.open(path) as picture:
        assert picture.n_frames == 6
        assert picture.size == IMAGE_SIZE[::-1]
    assert capsys.readouterr().out == f"6 frames of checkpoint-6: {path}\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seeds": None}, "--seeds is needed"),
        ({"seeds": "4"}, "a loop needs two seeds or more"),
        ({"frames": "2"}, "2 frames cannot show 3 seeds"),
        ({"space": "y"}, "should be one of <w|z>"),
        ({"noise_mode": "random"}, "should be one of <const|none>"),
        ({"out": "film.mp4"}, "unknown suffix; take .gif, .webp, .png, or a folder"),
        ({"out": "loop.gif", "frame_rate": "60"}, "a GIF shows 50 frames per second at most"),
        ({"frame_rate": "0"}, "the frame rate is 0"),
        ({"labels": "1"}, "this model has no labels"),
    ],
)
def test_unusable_command_lines_are_refused(run, tmp_path, change, message):
    given = {"run": run.directory.path, "out": tmp_path / "loop.gif", "seeds": "0-2", **change}
    with pytest.raises(InputError, match=message):
        main([f"--{name}={value}" for name, value in given.items() if value is not None])


def test_random_noise_is_refused(run):
    with pytest.raises(InputError, match="would flicker"):
        interpolate(Renderer(run.generator, noise_mode="random"), [0, 1], 4)


def test_missing_scipy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.interpolate", None)
    with pytest.raises(InputError, match="interpolation needs SciPy: pip install scipy"):
        closed_spline(np.zeros((2, 3)), 4)

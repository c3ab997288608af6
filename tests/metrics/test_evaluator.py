"""The evaluator: names, eyes, one pass, the cache, resuming, bad input."""

from __future__ import annotations

import numpy as np
import pytest

from tf_sg2 import Generator, GeneratorConfig, metrics
from tf_sg2.errors import InputError
from tf_sg2.metrics import evaluator, extraction
from tf_sg2.metrics.evaluator import Images, extract, measure
from tf_sg2.metrics.feature_cache import FeatureCache


def evaluate(*arguments, **options):
    """Yields (name, value) of all metrics."""
    for measured in measure(*arguments, **options):
        yield from measured.results.items()


class MeanEye:
    """Means of a few pixels; counts the images that it sees."""

    def __init__(self, name="means"):
        self.name, self.recipe, self.seen = name, {"eye": name}, 0

    def __call__(self, images):
        self.seen += len(images)
        return images[:, ::4, ::4].reshape(len(images), -1)[:, :6] / np.float32(255)


def noise(count, seed, shape=(8, 12, 3)):
    pixels = np.random.default_rng(seed).integers(0, 256, [count, *shape], np.uint8)
    return Images(lambda first, n: pixels[first : first + n], count, f"noise {seed}")


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(extraction, "CHUNK_ROWS", 40)


def test_one_pass_serves_all_metrics_and_names_carry_the_eye(small_chunks):
    eye = MeanEye()
    steps = []
    results = dict(
        evaluate(
            ["fd", "kd", "pr", "dc", "fd_infinity"],
            eye,
            noise(130, 1),
            noise(200, 2),
            samples=110,
            batch_size=16,
            progress=lambda done, total: steps.append((done, total)),
        )
    )
    assert eye.seen == 130 + 110
    assert steps[0] == (16, 240)
    assert steps[-1] == (240, 240)
    assert steps == sorted(steps)
    assert list(results) == [
        "fd_means",
        "fd_means_floor",
        "kd_means",
        "kd_means_std",
        "kd_means_floor",
        "pr_means_precision",
        "pr_means_recall",
        "dc_means_density",
        "dc_means_coverage",
        "fd_infinity_means",
    ]
    assert all(type(value) is float and np.isfinite(value) for value in results.values())
    real = extract(MeanEye(), noise(130, 1), 130)
    generated = extract(MeanEye(), noise(200, 2), 110)
    assert results["fd_means"] == metrics.frechet_distance(real, generated)


def test_real_against_real_is_at_the_floor_and_damage_above():
    damaged = noise(400, 3)
    dark = Images(lambda first, n: damaged.read(first, n) // 2, 400, "dark")
    results = {
        name: dict(evaluate(["fd"], MeanEye(), noise(400, 1), images, samples=400))
        for name, images in (("same", noise(400, 2)), ("dark", dark))
    }
    floor = results["same"]["fd_means_floor"]
    assert floor == results["dark"]["fd_means_floor"]
    assert results["same"]["fd_means"] < 2 * floor
    assert results["dark"]["fd_means"] > 10 * floor


def test_cached_features_are_reused_per_images_and_eye(tmp_path, small_chunks):
    cache = FeatureCache(tmp_path / "cache")
    arguments = (noise(90, 1), noise(90, 2))
    values = []
    for name, expected in (("means", 180), ("means", 0), ("other", 180)):
        eye = MeanEye(name)
        values.append(list(evaluate(["kd"], eye, *arguments, samples=90, cache=cache)))
        assert eye.seen == expected
    assert values[0] == values[1]
    eye = MeanEye()
    list(evaluate(["kd"], eye, noise(90, 1), noise(90, 7), samples=90, cache=cache))
    assert eye.seen == 90  # Only the generated images are new.


def test_a_stopped_evaluation_goes_on_at_the_chunk(tmp_path, small_chunks):
    cache = FeatureCache(tmp_path)
    images = noise(100, 1)

    class Killed(MeanEye):
        def __call__(self, images):
            if self.seen >= 80:
                raise KeyboardInterrupt
            return super().__call__(images)

    with pytest.raises(KeyboardInterrupt):
        extract(Killed(), images, 100, batch_size=8, cache=cache)
    eye = MeanEye()
    rows = extract(eye, images, 100, batch_size=8, cache=cache)
    assert eye.seen == 20
    np.testing.assert_array_equal(rows, extract(MeanEye(), images, 100))


@pytest.mark.parametrize("damage", [lambda raw: raw[:-4], lambda raw: raw[:-1] + b"x", len])
def test_a_damaged_cache_is_named(tmp_path, damage):
    cache = FeatureCache(tmp_path)
    extract(MeanEye(), noise(10, 1), 10, cache=cache)
    (path,) = tmp_path.iterdir()
    raw = damage(path.read_bytes())
    path.write_bytes(raw if isinstance(raw, bytes) else b"")
    with pytest.raises(InputError, match=f"cached features {path} are damaged; delete the file"):
        extract(MeanEye(), noise(10, 1), 10, cache=cache)


def test_a_cache_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be"):
        extract(MeanEye(), noise(5, 1), 5, cache=FeatureCache(tmp_path / "file" / "cache"))


def test_names_promise_their_eye_and_count():
    pair = (noise(20, 1), noise(20, 2))
    with pytest.raises(InputError, match="no metric 'fid'; take some of fid50k_full"):
        list(evaluate(["fid"], MeanEye(), *pair))
    with pytest.raises(InputError, match=r"fid50k_full means features of 'inception', not of 'm.*"):
        list(evaluate(["fid50k_full"], MeanEye(), *pair))
    with pytest.raises(InputError, match="means 50000 generated images, not 100; ask for 'fd'"):
        list(evaluate(["fid50k_full"], MeanEye("inception"), *pair, samples=100))
    with pytest.raises(InputError, match="is50k needs class probabilities"):
        list(evaluate(["is50k"], MeanEye("inception"), *pair))
    with pytest.raises(InputError, match="no metric was asked for"):
        list(evaluate([], MeanEye(), *pair))
    with pytest.raises(InputError, match="there are 20 images, and 30 are needed"):
        list(evaluate(["kd"], MeanEye(), *pair, samples=30))


def test_official_names_stay_as_they_are(monkeypatch):
    few = {name: metric._replace(generated=60) for name, metric in evaluator.METRICS.items()}
    monkeypatch.setattr(evaluator, "METRICS", few)

    class Classes(MeanEye):
        def probabilities(self, features):
            return features / features.sum(axis=1, keepdims=True)

    names = ["fid50k_full", "kid50k", "is50k"]
    results = dict(evaluate(names, Classes("inception"), noise(60, 1), noise(60, 2)))
    assert list(results) == [
        "fid50k_full",
        "fid50k_full_floor",
        "kid50k",
        "kid50k_std",
        "kid50k_floor",
        "is50k_mean",
        "is50k_std",
    ]


def test_few_samples_are_refused_unless_asked_for():
    pair = (noise(20, 1), noise(20, 2))
    with pytest.raises(
        InputError, match="4 generated images are too few: a covariance needs at least 6"
    ):
        list(evaluate(["fd"], MeanEye(), *pair, samples=4))
    results = dict(evaluate(["fd"], MeanEye(), *pair, samples=4, allow_few_samples=True))
    assert set(results) == {"fd_means", "fd_means_floor"}
    small = noise(8, 1)  # Halves of 4 images are too few for a floor.
    assert set(dict(evaluate(["fd"], MeanEye(), small, pair[1], samples=20))) == {"fd_means"}


def test_images_that_cannot_be_used_are_named():
    eye = MeanEye()
    with pytest.raises(InputError, match="from number 0 on are float64"):
        extract(eye, Images(lambda first, n: np.zeros((n, 8, 8, 3)), 9, ""), 9)
    with pytest.raises(InputError, match=r"shape \[9, 8, 8, 4\]; metrics take uint8"):
        extract(eye, Images(lambda first, n: np.zeros((n, 8, 8, 4), np.uint8), 9, ""), 9)

    def growing(first, n):
        return np.zeros((n, 8 + first, 8, 3), np.uint8)

    with pytest.raises(InputError, match="from number 4 on are 12x8, those before 8x8"):
        extract(eye, Images(growing, 9, ""), 9, batch_size=4)
    with pytest.raises(InputError, match="count of real images is not known"):
        list(evaluate(["fd"], eye, Images(growing, None, ""), noise(9, 1), samples=5))


def test_grey_images_are_seen_as_colour():
    grey = noise(6, 1, (8, 12, 1))
    colour = Images(lambda first, n: np.repeat(grey.read(first, n), 3, axis=3), 6, "")
    rows = [extract(MeanEye(), images, 6) for images in (grey, colour)]
    np.testing.assert_array_equal(*rows)


def test_generated_uint8_truncates_as_the_official_code_does():
    x = np.float32([-2, -1, 0, 0.5, 1, 2]).reshape(1, 1, 6, 1)
    assert extraction.generated_uint8(x).ravel().tolist() == [0, 0, 128, 191, 255, 255]
    every = np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1)
    assert np.array_equal(extraction.generated_uint8(every / 127.5 - 1), every.astype(np.uint8))
    with pytest.raises(InputError, match="generated image 8 holds values that are not finite"):
        extraction.generated_uint8(np.float32([0, np.nan]).reshape(2, 1, 1, 1), first=7)


@pytest.mark.parametrize("label_dim", [0, 2])
def test_generated_images_do_not_depend_on_the_batches(label_dim):
    config = GeneratorConfig(
        image_size=(8, 12), z_dim=4, w_dim=4, mapping_layers=1, channel_max=4, label_dim=label_dim
    )
    labels = np.eye(2, dtype=np.float32) if label_dim else None
    images = evaluator.generated_images(Generator(config), "g", labels, seed=3)
    whole = images.read(0, 6)
    assert whole.shape == (6, 8, 12, 3)
    assert whole.dtype == np.uint8
    parts = np.concatenate([images.read(0, 2), images.read(2, 4)])
    assert np.abs(parts.astype(int) - whole).max() <= 1  # Rounding may differ by the batch size.
    assert np.abs(whole[0].astype(int) - whole[1]).max() > 1
    assert images.fingerprint.startswith("g seed 3")
    assert ("labels" in images.fingerprint) == bool(label_dim)


def test_a_recipe_names_everything(tmp_path):
    made = evaluator.recipe(MeanEye(), noise(5, 1), noise(5, 2), seed=0, samples=5)
    assert made["eye"] == {"eye": "means"}
    assert made["samples"] == 5
    assert made["seed"] == 0
    assert made["real"] == {"fingerprint": "noise 1", "count": 5}
    assert {"numpy", "tensorflow", "tf-sg2"} <= set(made["versions"])


def test_images_are_made_once_for_several_eyes(monkeypatch, tmp_path, small_chunks):
    few = {name: metric._replace(generated=60) for name, metric in evaluator.METRICS.items()}
    monkeypatch.setattr(evaluator, "METRICS", few)
    reads = []
    source = noise(60, 2)

    def read(first, count):
        reads.append(count)
        return source.read(first, count)

    generated = Images(read, None, "counted")
    eyes = {name: MeanEye(name) for name in ("inception", "vgg16")}
    results = dict(
        evaluate(
            ["kd", "fid50k_full", "pr50k3_full"],
            MeanEye(),
            noise(60, 1),
            generated,
            more_eyes=eyes,
            cache=FeatureCache(tmp_path),
        )
    )
    assert sum(reads) == 60
    assert list(results) == [
        *("kd_means", "kd_means_std", "kd_means_floor", "fid50k_full", "fid50k_full_floor"),
        *("pr50k3_full_precision", "pr50k3_full_recall"),
    ]
    assert eyes["inception"].seen == eyes["vgg16"].seen == 120


def test_real_images_are_mirrored_where_the_name_and_training_say_so(monkeypatch):
    few = {name: metric._replace(generated=60) for name, metric in evaluator.METRICS.items()}
    monkeypatch.setattr(evaluator, "METRICS", few)
    straight = noise(60, 1)
    mirrored = extraction.Images(straight.read, 60, "mirrored", mirrored=True)
    names = ["fid50k_full", "fid50k"]
    plain, results = (
        dict(evaluate(names, MeanEye("inception"), real, noise(60, 2)))
        for real in (straight, mirrored)
    )
    assert plain["fid50k"] == plain["fid50k_full"] == results["fid50k_full"]
    assert results["fid50k_floor"] == plain["fid50k_floor"]
    both = straight.read(0, 60)
    both = np.concatenate([both, both[:, :, ::-1]])
    rows = extract(MeanEye(), Images(lambda first, n: both[first : first + n], 120, ""), 120)
    generated = extract(MeanEye(), noise(60, 2), 60)
    assert results["fid50k"] == pytest.approx(metrics.frechet_distance(rows, generated))

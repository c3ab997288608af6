"""Path length: official maths, images as the detector takes them, the whole sampler."""

from __future__ import annotations

import numpy as np
import pytest

import metric_reference
from tf_sg2 import Generator, GeneratorConfig, metrics
from tf_sg2.errors import InputError
from tf_sg2.metrics.path_length import Path, percentile_bounds
from tf_sg2.weights import load_torch_state

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def maths():
    return metric_reference.load("ppl_maths")


@pytest.mark.parametrize("case", range(4))
def test_slerp_equals_the_official_one(maths, case):
    a, b, t = maths["slerp/a"], maths["slerp/b"], maths[f"slerp/t{case}"]
    # The last pair is nearly parallel, where float32 can hardly tell the angle.
    ordinary, near = slice(None, -1), slice(-1, None)
    out = metrics.slerp(a, b, t)
    assert out.dtype == np.float32
    for moved, name in ((0, f"slerp/out{case}"), (np.float32(1e-4), f"slerp/out{case}_eps1e-4")):
        out = metrics.slerp(a, b, t + moved)
        np.testing.assert_allclose(out[ordinary], maths[name][ordinary], atol=2e-6)
        np.testing.assert_allclose(out[near], maths[name][near], atol=2e-3)
    exact = metrics.slerp(*(x.astype(np.float64) for x in (a, b, t)))
    expected = maths[f"slerp/out{case}_f64"]
    np.testing.assert_allclose(exact[ordinary], expected[ordinary], atol=1e-12)
    np.testing.assert_allclose(exact[near], expected[near], atol=1e-7)


def test_slerp_between_equal_vectors_is_finite():
    a = np.ones((1, 3), np.float32)
    np.testing.assert_allclose(metrics.slerp(a, a, 0.5), a / np.sqrt(3), rtol=1e-6)


@pytest.mark.parametrize("name", "abcd")
def test_filtered_mean_equals_the_official_one(maths, name):
    value = metrics.filtered_mean(maths[f"filter/{name}/dist"])
    assert value == pytest.approx(float(maths[f"filter/{name}/mean"]), rel=1e-6)


@pytest.mark.parametrize("name", "abcd")
def test_percentile_bounds_equal_the_official_ones(maths, name):
    entries = metric_reference.groups(maths, f"filter/{name}/")
    low, high = percentile_bounds(entries["dist"])
    assert (low, high) == (entries["lo"], entries["hi"])
    assert ((low <= entries["dist"]) & (entries["dist"] <= high)).sum() == entries["kept"]


@pytest.mark.parametrize("distances", [[], [1.0, np.nan]])
def test_filtered_mean_refuses_what_is_no_length(distances):
    with pytest.raises(InputError, match="path lengths must be finite"):
        metrics.filtered_mean(np.array(distances))


def waves(size, channels):
    """The generated images of the reference, by its README, as [N, H, W, C]."""
    i, y, x, k = np.ogrid[:2, :size, :size, :channels]
    waves = 0.011 * (x + 1) * (k + 1) + 0.017 * (y + 1) + 1.3 * i + 0.002 * x * y / (k + 1)
    return np.sin(waves).astype(np.float32)


@pytest.mark.parametrize(
    ("size", "channels", "crop"),
    [(512, 3, 1), (512, 3, 0), (256, 3, 1), (64, 1, 1), (64, 3, 0), (1024, 1, 1)],
)
def test_detector_images_equal_the_official_ones(size, channels, crop):
    z = metric_reference.load("ppl_preprocess")
    case = f"res{size}_ch{channels}_crop{crop}"
    images = metrics.detector_images(waves(size, channels), bool(crop)).transpose(0, 3, 1, 2)
    assert images.dtype == np.float32
    assert images.shape == tuple(z[f"{case}/shape"])
    stride = int(z[f"{case}/stride"])
    seen = images[:, :, ::stride, ::stride]
    np.testing.assert_allclose(seen, z[f"{case}/values"], atol=2e-3)
    assert images.mean(dtype=np.float64) == pytest.approx(float(z[f"{case}/mean"]), rel=1e-6)


def test_detector_images_take_wide_images_and_tensorflow_sizes():
    wide = np.zeros((1, 48, 80, 3), np.float32)
    assert metrics.detector_images(wide, crop=True).shape == (1, 24, 40, 3)
    large = np.zeros((1, 512, 512, 1), np.float32)
    assert metrics.detector_images(large, True).shape == (1, 128, 128, 3)
    assert metrics.detector_images(large, True, "tensorflow1").shape == (1, 256, 256, 3)
    with pytest.raises(InputError, match="no convention 'jax'"):
        metrics.detector_images(wide, True, "jax")
    with pytest.raises(InputError, match=r"images have shape \[1, 8, 8, 2\]"):
        metrics.detector_images(np.zeros((1, 8, 8, 2)), True)


def averaged_distance(a, b):
    """The stand-in of the reference for the detector: 2x2 means over 255."""
    n, height, width, channels = a.shape
    tiles = ((a - b) / 255).reshape(n, height // 2, 2, width // 2, 2, channels)
    return np.square(tiles.mean(axis=(2, 4))).reshape(n, -1).sum(axis=1)


@pytest.fixture(scope="module", params=["uncond", "cond"])
def sampler(request):
    """The reference's draws, and its generator with the recorded noise."""
    archive = metric_reference.load("ppl_sampler_tiny")
    entries = metric_reference.groups(archive, f"{request.param}/")
    config = GeneratorConfig(
        image_size=(16, 16),
        z_dim=16,
        w_dim=16,
        label_dim=entries["labels"].shape[1],
        mapping_layers=2,
        channel_base=256,
        channel_max=16,
        conv_clamp=256 if request.param == "cond" else None,
    )
    weights = metric_reference.groups(entries, "G_ema/")
    for i, name in enumerate(entries["noise_names"]):
        weights[str(name)] = entries[f"noise{i}"]
    generator = Generator(config)
    load_torch_state(generator, None, {f"G/{name}": weights[name] for name in weights})
    return generator, entries


@pytest.mark.parametrize("space", "zw")
@pytest.mark.parametrize("sampling", ["full", "end"])
def test_sampler_equals_the_official_one(sampler, space, sampling):
    generator, entries = sampler
    found = 0
    for crop in (0, 1):
        for epsilon, tolerance in ((1e-4, 0.03), (1e-2, 1e-3)):
            expected = entries.get(f"{space}{sampling}_crop{crop}_eps{epsilon}")
            if expected is None:
                continue
            found += 1
            lengths = metrics.path_lengths(
                generator.mapping,
                lambda w: generator.synthesis(w, noise_mode="const"),
                averaged_distance,
                entries["z0"],
                entries["z1"],
                entries["t_uniform"],
                entries["labels"] if generator.config.label_dim else None,
                Path(space, sampling, bool(crop)),
                epsilon,
            )
            np.testing.assert_allclose(lengths, expected, rtol=tolerance)
    assert found


def tiny_generator(**fields):
    config = {"image_size": (8, 12), "z_dim": 4, "w_dim": 4, "mapping_layers": 1, "channel_max": 4}
    return Generator(GeneratorConfig(**config, **fields))


def test_path_length_is_a_function_of_its_seed():
    generator = tiny_generator()
    arguments = (generator, averaged_distance, "ppl_zfull", 6)
    value = metrics.perceptual_path_length(*arguments, seed=3)
    assert value == metrics.perceptual_path_length(*arguments, seed=3) > 0
    assert value != metrics.perceptual_path_length(*arguments, seed=4)
    assert value != metrics.perceptual_path_length(*arguments, seed=3, convention="tensorflow1")


def test_path_length_draws_labels_of_the_data():
    generator = tiny_generator(label_dim=2)
    labels = np.eye(2, dtype=np.float32)
    value = metrics.perceptual_path_length(generator, averaged_distance, pairs=5, labels=labels)
    assert np.isfinite(value)


def test_noise_is_the_same_for_all_images_of_a_batch():
    """A step of no length would show any difference of noise."""
    generator = tiny_generator()
    for layer in (block.convolutions for block in generator.synthesis.blocks):
        for convolution in layer:
            convolution.noise.strength.assign(convolution.noise.strength * 0 + 1)
    seen = []

    def distance(a, b):
        seen.append(np.abs(a - b).max())
        return averaged_distance(a, b)

    metrics.perceptual_path_length(generator, distance, pairs=2, epsilon=1e-6)
    assert max(seen) < 0.1


def test_bad_path_arguments_are_named():
    generator = tiny_generator()
    with pytest.raises(InputError, match="no path length 'ppl'; take one of ppl_zfull"):
        metrics.perceptual_path_length(generator, averaged_distance, "ppl")
    with pytest.raises(InputError, match="pairs is 0"):
        metrics.perceptual_path_length(generator, averaged_distance, pairs=0)
    with pytest.raises(InputError, match="no convention 'x'"):
        metrics.perceptual_path_length(generator, averaged_distance, convention="x")
    one = np.zeros((1, 4), np.float32)
    with pytest.raises(InputError, match="no path Path"):
        metrics.path_lengths(
            generator.mapping, None, None, one, one, one[:, 0], path=Path("x", "end", False)
        )

"""The synthesis network: architectures, sizes, noise, and the images along the way."""

import numpy as np
import pytest
import tensorflow as tf

import oracles
from check_layer import randomised
from tf_sg2 import GeneratorConfig, InputError
from tf_sg2.networks.synthesis import SynthesisNetwork, to_rgb_outputs

ARCHITECTURES = ("skip", "resnet", "orig")


def config(image_size=(12, 20), architecture="skip", **fields):
    small = {"z_dim": 4, "w_dim": 5, "mapping_layers": 1, "channel_base": 64, "channel_max": 4}
    return GeneratorConfig(image_size, architecture=architecture, **{**small, **fields})


def latents(configuration, count=3):
    shape = (count, configuration.num_ws, configuration.w_dim)
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def network(configuration):
    """A network with random weights, including the noise strengths."""
    return randomised(
        lambda: SynthesisNetwork(configuration, name="synthesis"), [latents(configuration)], {}
    )


def equal(actual, expected, tolerance=2e-5):
    np.testing.assert_allclose(actual, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("image_size", "base", "channels"),
    [
        ((48, 80), (3, 5), 3),
        ((24, 40), (3, 5), 4),
        ((28, 28), (7, 7), 1),
        ((20, 36), (5, 9), 3),
        ((40, 12), (10, 3), 4),
        ((6, 6), (3, 3), 1),
        ((32, 32), (4, 4), 3),
    ],
)
def test_images_have_the_size_asked_for(architecture, image_size, base, channels):
    configuration = config(image_size, architecture, image_channels=channels)
    synthesis = SynthesisNetwork(configuration)
    image = synthesis(latents(configuration, 2), noise_mode="const")
    assert image.shape == (2, *image_size, channels)
    assert image.dtype == tf.float32
    assert synthesis.blocks[0].const.shape[:2] == base
    assert configuration.num_ws == 2 * len(synthesis.blocks)


def value(variable):
    return np.asarray(variable)


def styled(layer, x, w, noise):
    style = oracles.dense(w, value(layer.affine.weight), value(layer.affine.bias))
    x = oracles.modulated_convolution(x, value(layer.conv.weight), style, up=layer.up)
    if noise is not None:
        x = x + value(layer.noise.strength) * noise[..., None]
    return oracles.bias_act(x, value(layer.bias), "lrelu", clamp=CLAMP)


def to_rgb(layer, x, w):
    style = oracles.dense(w, value(layer.affine.weight), value(layer.affine.bias))
    style = style / np.sqrt(x.shape[3])
    x = oracles.modulated_convolution(x, value(layer.conv.weight), style, demodulate=False)
    return oracles.bias_act(x, value(layer.bias), clamp=CLAMP)


def doubled(image):
    channels = image.shape[3]
    return oracles.resampled_convolution(image, np.eye(channels)[None, None], up=2)


CLAMP = 1.5


def expected_image(synthesis, w, noise_mode):
    """Paper figure 7, left column, by the oracles."""
    architecture, position, image = synthesis.config.architecture, 0, None
    for k, block in enumerate(synthesis.blocks):
        constants = [value(layer.noise.const) for layer in block.convolutions]
        noises = constants if noise_mode == "const" else [None] * 2
        if k == 0:
            x = np.repeat(value(block.const)[None], len(w), axis=0)
            x = styled(block.conv1, x, w[:, 0], noises[0])
            position = 1
        else:
            before = x
            x = styled(block.conv0, x, w[:, position], noises[0])
            x = styled(block.conv1, x, w[:, position + 1], noises[1])
            if architecture == "resnet":
                weight = value(block.skip.weight) / np.sqrt(before.shape[3])
                shortcut = oracles.resampled_convolution(before, weight, up=2)
                x = (x + shortcut) / np.sqrt(2)
            position += 2
        last = k == len(synthesis.blocks) - 1
        if architecture == "skip" or last:
            shown = to_rgb(block.to_rgb, x, w[:, position])
            image = shown if image is None else doubled(image) + shown
    assert position == w.shape[1] - 1
    return image


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("noise_mode", ["const", "none"])
def test_image_equals_the_paper(architecture, noise_mode):
    synthesis = network(config(architecture=architecture, conv_clamp=CLAMP))
    w = latents(synthesis.config)
    image = synthesis(w, noise_mode=noise_mode)
    equal(image, expected_image(synthesis, w, noise_mode))


def test_clamp_bounds_what_is_added_to_the_image():
    synthesis = network(config(conv_clamp=0.05))
    images = synthesis.images(latents(synthesis.config), "const")
    added = to_rgb_outputs(images, synthesis.config)
    assert all(np.abs(part).max() <= 0.05 + 1e-6 for part in added)
    assert any(np.abs(part).max() > 0.0499 for part in added)


def test_images_grow_by_what_to_rgb_adds():
    synthesis = network(config((24, 40)))
    w = latents(synthesis.config)
    images = synthesis.images(w, "const")
    sizes = [(level.height, level.width) for level in synthesis.config.levels]
    assert [tuple(image.shape[1:3]) for image in images] == sizes
    equal(images[-1], synthesis(w, noise_mode="const"), 1e-6)
    added = to_rgb_outputs(images, synthesis.config)
    total = added[0].numpy()
    for part in added[1:]:
        total = doubled(total) + part.numpy()
    equal(images[-1], total)


@pytest.mark.parametrize("architecture", ["resnet", "orig"])
def test_other_architectures_show_one_image(architecture):
    synthesis = network(config(architecture=architecture))
    images = synthesis.images(latents(synthesis.config), "const")
    assert len(images) == 1
    assert to_rgb_outputs(images, synthesis.config)[0] is images[0]


def test_random_noise_is_a_function_of_the_samples_seed():
    """A sample is the same in any batch, in any order, and in a graph."""
    synthesis = network(config())
    w = latents(synthesis.config, 5)
    seeds = tf.constant([[1, 2], [3, 4], [5, 6], [1, 2], [7, 8]])
    together = synthesis(w, noise_seeds=seeds).numpy()
    for n in range(5):
        alone = synthesis(w[n : n + 1], noise_seeds=seeds[n : n + 1])
        equal(alone, together[n : n + 1], 1e-5)
    run = tf.function(
        lambda w, seeds: synthesis(w, noise_seeds=seeds),
        input_signature=[tf.TensorSpec([None, *w.shape[1:]]), tf.TensorSpec([None, 2], tf.int32)],
    )
    equal(run(w[::-1], seeds[::-1]), together[::-1], 1e-5)
    same = np.repeat(w[:1], 5, axis=0)
    images = synthesis(same, noise_seeds=seeds).numpy()
    equal(images[3], images[0], 1e-5)
    assert np.abs(images[1] - images[0]).max() > 1e-3


def test_noise_without_seeds_follows_the_global_generator():
    synthesis = network(config())
    w = latents(synthesis.config)
    tf.random.set_seed(5)
    first, second = synthesis(w), synthesis(w)
    assert np.abs(first - second).max() > 1e-3
    tf.random.set_seed(5)
    equal(synthesis(w), first, 1e-6)


def test_layers_of_a_sample_get_independent_noise():
    synthesis = network(config())
    noises = synthesis._noises(latents(synthesis.config), "random", tf.constant([[1, 2]] * 3))
    sizes = [(level.height, level.width) for level in synthesis.config.levels]
    twice = [size for size in sizes[1:] for _ in range(2)]
    assert [tuple(noise.shape[1:]) for noise in noises] == [sizes[0], *twice]
    correlation = np.corrcoef(noises[-1][0].numpy().ravel(), noises[-2][0].numpy().ravel())
    assert abs(correlation[0, 1]) < 0.25


def test_const_noise_differs_from_none_by_the_strength():
    synthesis = network(config())
    w = latents(synthesis.config)
    assert np.abs(synthesis(w, noise_mode="const") - synthesis(w, noise_mode="none")).max() > 1e-3
    for block in synthesis.blocks:
        for layer in block.convolutions:
            layer.noise.strength.assign(0.0)
    equal(synthesis(w, noise_mode="const"), synthesis(w, noise_mode="none"), 1e-6)
    equal(synthesis(w, noise_mode="random"), synthesis(w, noise_mode="none"), 1e-6)


def test_each_w_reaches_its_own_layers():
    """The images of block k and later depend on w 2k and w 2k + 1.

    The base takes w 0 for its convolution and w 1 for ToRGB. The first convolution of the next
    block shares w 1, and so on.
    """
    synthesis = network(config())
    w = latents(synthesis.config)
    images = synthesis.images(w, "const")
    for i in range(synthesis.config.num_ws):
        moved = w.copy()
        moved[:, i] += 1
        changed = [
            bool(np.abs(a - b).max() > 1e-5)
            for a, b in zip(synthesis.images(moved, "const"), images, strict=True)
        ]
        assert changed == [k >= i // 2 for k in range(len(images))], i


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"noise_mode": "loud"}, "no noise mode 'loud'; take one of random, const, none"),
        ({"w": np.zeros((2, 5), np.float32)}, r"w has shape \(2, 5\); it must be \[N, 6, 5\]"),
        ({"w": np.zeros((2, 4, 5), np.float32)}, r"w has shape \(2, 4, 5\); it must be"),
    ],
)
def test_synthesis_refuses(call, message):
    synthesis = SynthesisNetwork(config())
    with pytest.raises(InputError, match=message):
        synthesis(**{"w": latents(synthesis.config), **call})

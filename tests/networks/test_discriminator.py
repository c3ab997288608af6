"""The discriminator: architectures, sizes, labels by projection, and its refusals."""

import numpy as np
import pytest
import tensorflow as tf

import oracles
from check_layer import randomised
from tf_sg2 import Discriminator, DiscriminatorConfig, InputError

ARCHITECTURES = ("resnet", "skip", "orig")
LABELS = np.random.default_rng(2).random((4, 3)).astype(np.float32)
CLAMP = 1.5


def config(image_size=(12, 20), architecture="resnet", **fields):
    small = {"channel_base": 64, "channel_max": 4, "minibatch_stddev_group": 2}
    return DiscriminatorConfig(image_size, architecture=architecture, **{**small, **fields})


def pictures(configuration, count=4):
    shape = (count, *configuration.image_size, configuration.image_channels)
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def network(configuration):
    inputs = [pictures(configuration)] + ([LABELS] if configuration.label_dim else [])
    return randomised(lambda: Discriminator(configuration), inputs, {})


def equal(actual, expected, tolerance=2e-5):
    np.testing.assert_allclose(actual, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(
    ("image_size", "channels"),
    [((48, 80), 3), ((24, 40), 4), ((28, 28), 1), ((20, 36), 3), ((6, 6), 1), ((32, 32), 3)],
)
def test_scores_are_one_a_picture(architecture, image_size, channels):
    configuration = config(image_size, architecture, image_channels=channels)
    scores = Discriminator(configuration)(pictures(configuration, 2))
    assert scores.shape == (2, 1)
    assert scores.dtype == tf.float32


def value(variable):
    return np.asarray(variable)


def convolution(layer, x, down=1, activation="lrelu"):
    """An equalised convolution; only the skip connection has neither bias nor activation."""
    weight = value(layer.weight)
    weight = weight / np.sqrt(np.prod(weight.shape[:3]))
    x = oracles.resampled_convolution(x, weight, down=down)
    if layer.bias is None:
        return x
    return oracles.bias_act(x, value(layer.bias), activation, clamp=CLAMP)


def halved(image):
    return oracles.resampled_convolution(image, np.eye(image.shape[3])[None, None], down=2)


def expected_scores(discriminator, image, labels=None):
    """Paper figure 7, right column, by the oracles."""
    configuration, x = discriminator.config, None
    for k, block in enumerate(discriminator.blocks):
        if configuration.architecture == "skip" or k == 0:
            seen = convolution(block.from_rgb, image)
            x = seen if x is None else x + seen
            image = halved(image)
        before = x
        x = convolution(block.conv1, convolution(block.conv0, x), down=2)
        if configuration.architecture == "resnet":
            x = (x + convolution(block.skip, before, down=2)) / np.sqrt(2)
    last = discriminator.epilogue
    if configuration.architecture == "skip":
        x = x + convolution(last.from_rgb, image)
    if configuration.minibatch_stddev_group:
        x = oracles.minibatch_stddev(x, configuration.minibatch_stddev_group)
    x = convolution(last.conv, x).reshape(len(x), -1)
    x = oracles.dense(x, value(last.fc.weight), value(last.fc.bias), "lrelu")
    x = oracles.dense(x, value(last.out.weight), value(last.out.bias))
    if labels is None:
        return x
    mapping = discriminator.mapping
    w = oracles.dense(labels, value(mapping.embed.weight), value(mapping.embed.bias))
    w = oracles.unit_second_moment(w)
    for fc in mapping.fc:
        w = oracles.dense(w, value(fc.weight), value(fc.bias), "lrelu", 0.01)
    return (x * w).sum(axis=1, keepdims=True) / np.sqrt(x.shape[1])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("label_dim", "group"), [(0, 2), (3, 4), (0, 0)])
def test_scores_equal_the_paper(architecture, label_dim, group):
    discriminator = network(
        config(
            architecture=architecture,
            label_dim=label_dim,
            minibatch_stddev_group=group,
            conv_clamp=CLAMP,
        )
    )
    x, labels = pictures(discriminator.config), LABELS if label_dim else None
    equal(discriminator(x, labels), expected_scores(discriminator, x, labels), 1e-4)


def test_scores_do_not_depend_on_the_split_over_replicas():
    """Samples dealt to two replicas by stride meet the same group as on one device."""
    discriminator = network(config())
    x = pictures(discriminator.config, 8)
    whole = discriminator(x).numpy()
    for replica in range(2):
        equal(discriminator(x[replica::2]), whole[replica::2])
    assert np.abs(discriminator(x[:4]) - whole[:4]).max() > 1e-4 * np.abs(whole).max()


def test_without_the_statistic_samples_do_not_meet():
    discriminator = network(config(minibatch_stddev_group=0))
    x = pictures(discriminator.config)
    equal(discriminator(x[1:2]), discriminator(x)[1:2])
    assert discriminator.epilogue.minibatch_stddev is None


def test_labels_move_the_score_of_a_conditional_model():
    discriminator = network(config(label_dim=3))
    x = pictures(discriminator.config)
    one_hot = np.eye(3, dtype=np.int32)[[0, 1, 2, 0]]
    first = discriminator(x, one_hot)
    assert np.abs(first - discriminator(x, one_hot[::-1])).max() > 1e-3
    equal(first, discriminator(x, one_hot.astype(np.float32)))


@pytest.mark.parametrize(
    ("label_dim", "shape", "labels", "message"),
    [
        (
            0,
            (2, 20, 12, 3),
            None,
            r"images have shape \(2, 20, 12, 3\); .* takes \[N, 12, 20, 3\]",
        ),
        (0, (2, 12, 20, 1), None, r"takes \[N, 12, 20, 3\]"),
        (0, (12, 20, 3), None, r"images have shape \(12, 20, 3\)"),
        (0, (4, 12, 20, 3), LABELS, "labels were given, but this model has label_dim 0"),
        (3, (4, 12, 20, 3), None, "model is conditional: give labels"),
        (3, (4, 12, 20, 3), LABELS[:, :2], r"labels have shape \(4, 2\); they must be \[N, 3\]"),
    ],
)
def test_discriminator_refuses(label_dim, shape, labels, message):
    discriminator = Discriminator(config(label_dim=label_dim))
    with pytest.raises(InputError, match=message):
        discriminator(np.zeros(shape, np.float32), labels)


def test_batch_that_does_not_divide_is_refused():
    discriminator = Discriminator(config(minibatch_stddev_group=4))
    with pytest.raises(InputError, match="batch of 6 does not divide"):
        discriminator(pictures(discriminator.config, 6))

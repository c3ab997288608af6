"""The 2015 Inception graph against torch-fidelity's, with weights made by a rule."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import softmax
from tensorflow import keras

import rule_weights
from tf_sg2.errors import InputError
from tf_sg2.metrics import features
from tf_sg2.metrics.features import inception as module

pytestmark = pytest.mark.stack

SIZES = ("64x96", "340x310", "299x299")


def test_the_rule_makes_the_recorded_weights():
    checks = rule_weights.load("weight_rule_check")
    shapes = rule_weights.names("inception_names.txt", "inception.")
    shapes |= rule_weights.names("lpips_trunk_names.txt")
    recorded = {name.rsplit("/", 1)[0] for name in checks}
    assert len(recorded) == 12
    for name in recorded:
        made = rule_weights.array(name, shapes[name])
        assert zlib.crc32(name.encode()) == checks[f"{name}/crc32"]
        assert zlib.crc32(made.tobytes()) == checks[f"{name}/data_crc32"], name
        np.testing.assert_array_equal(made.ravel()[:8], checks[f"{name}/first8"])
        exact = made.astype(np.float64)
        assert exact.sum() == pytest.approx(float(checks[f"{name}/sum64"]), rel=1e-9, abs=1e-9)
        assert np.square(exact).sum() == pytest.approx(float(checks[f"{name}/sumsq64"]), rel=1e-9)


@pytest.fixture(scope="module")
def weights():
    return rule_weights.inception()


@pytest.fixture(scope="module")
def inception(weights):
    return features.Inception(weights)


@pytest.fixture(scope="module")
def reference():
    return rule_weights.load("inception_rule_weights")


def images(reference, size):
    return reference[f"{size}/images"].transpose(0, 2, 3, 1)


def assert_close(values, expected):
    """1e-3 of the standard deviation: rounding is 3e-6, the usual mistakes 0.045 or more."""
    values = np.asarray(values)
    assert values.shape == expected.shape
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-3 * expected.std())


@pytest.mark.parametrize("size", SIZES)
def test_features_equal_the_reference(inception, reference, size):
    result = inception(images(reference, size))
    assert set(result) == {"64", "192", "768", "2048", "logits_unbiased", "logits"}
    for name, values in result.items():
        assert values.dtype == tf.float32
        assert_close(values, reference[f"{size}/{name}"])
    probabilities = softmax(np.asarray(result["logits_unbiased"], np.float64), axis=1)
    top = np.sort(probabilities, axis=1)[:, -5:]
    np.testing.assert_allclose(top, reference[f"{size}/probs_unbiased_top"], rtol=1e-3)


@pytest.mark.parametrize("size", SIZES)
def test_blocks_equal_the_reference(inception, reference, size):
    scaled = module.network_input(tf.constant(images(reference, size)))
    seen = scaled.numpy().transpose(0, 3, 1, 2)
    expected = reference[f"{size}/network_input_stride13"]
    np.testing.assert_allclose(seen[:, :, ::13, ::13], expected, atol=2e-6)
    layers = {
        "Conv2d_1a_3x3": ("Conv2d_1a_first2ch_stride8", np.s_[:, :2, ::8, ::8]),
        "Mixed_5b": ("Mixed_5b_last2ch_stride2", np.s_[:, -2:, ::2, ::2]),
        "Mixed_6d.branch1x1": ("Mixed_6d_branch1x1_first7ch", np.s_[:, :7]),
        "Mixed_6e": ("Mixed_6e_first4ch", np.s_[:, :4]),
        "Mixed_7c": ("Mixed_7c_last3ch", np.s_[:, -3:]),
    }
    outputs = [inception.model.get_layer(name).output for name in layers]
    maps = keras.Model(inception.model.inputs, outputs)(scaled, training=False)
    for values, (name, part) in zip(maps, layers.values(), strict=True):
        assert_close(values.numpy().transpose(0, 3, 1, 2)[part], reference[f"{size}/{name}"])


def test_weights_of_another_network_are_refused(weights):
    with pytest.raises(InputError, match=r"0 arrays named 'Conv2d_1a_3x3.conv.weight'"):
        features.Inception(rule_weights.trunk("alexnet."))
    torchvision = weights | {"inception.fc.bias": np.zeros(1000, np.float32)}
    with pytest.raises(InputError, match="1008 classes, not torchvision's"):
        features.Inception(torchvision)
    broken = dict(weights)
    del broken["inception.Mixed_5b.branch1x1.bn.running_var"]
    broken["inception.Mixed_5c.branch1x1.conv.weight"] = np.zeros((64, 255, 1, 1), np.float32)
    broken["inception.more"] = np.zeros(3)
    with pytest.raises(InputError) as caught:
        features.Inception(broken)
    message = str(caught.value)
    assert "Mixed_5b.branch1x1.bn.running_var is missing" in message
    assert "Mixed_5c.branch1x1.conv.weight has shape (64, 255, 1, 1)" in message
    assert "more is left over" in message


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((1, 8, 8, 3), np.float32),
        np.zeros((1, 8, 8, 1), np.uint8),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_images_that_are_no_uint8_rgb_are_refused(inception, bad):
    with pytest.raises(InputError, match="shape"):
        inception(bad)

"""Eyes of Inception and VGG16 from weight files, for the evaluator."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

import rule_weights
from tf_sg2.errors import InputError
from tf_sg2.metrics import features
from tf_sg2.metrics.features import eyes
from tf_sg2.metrics.features.weight_files import WeightFile, file_sha256

pytestmark = pytest.mark.stack

rng = np.random.default_rng(8)


@pytest.mark.slow
def test_inception_eye_gives_pool3_and_its_probabilities(tmp_path):
    weights = rule_weights.inception()
    path = tmp_path / "inception.npz"
    np.savez(path, **weights)
    eye = features.InceptionEye(path)
    reference = rule_weights.load("inception_rule_weights")
    images = reference["64x96/images"].transpose(0, 2, 3, 1)
    rows = eye(images)
    expected = reference["64x96/2048"]
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-3 * expected.std())
    probabilities = eye.probabilities(rows)
    expected = softmax(reference["64x96/logits_unbiased"].astype(np.float64), axis=1)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-3, atol=1e-7)
    assert eye.recipe["sha256"] == file_sha256(path)
    assert eye.recipe["eye"] == "inception"


def test_inception_eye_refuses_another_file(tmp_path):
    path = tmp_path / "inception.pth"
    path.write_bytes(b"something else")
    with pytest.raises(
        InputError, match=r"not 6726825d.*: fetch it again; the file for 'inception'"
    ):
        features.InceptionEye(path)


@pytest.mark.slow
def test_vgg16_eye_flattens_channels_first(monkeypatch):
    """Each first neuron of the classifier looks at one value of the last feature map."""
    trunk = rule_weights.trunk("vgg16.")
    state = {name.removeprefix("vgg16."): array for name, array in trunk.items()}
    first = np.zeros((4096, 512, 7, 7), np.float32)
    places = [(0, 0, 0), (5, 3, 6), (511, 6, 1)]
    for neuron, place in enumerate(places):
        first[(neuron, *place)] = 2
    state["classifier.0.weight"] = first.reshape(4096, -1)
    state["classifier.3.weight"] = np.eye(4096, dtype=np.float32)
    state["classifier.0.bias"] = state["classifier.3.bias"] = np.full(4096, 0.5, np.float32)
    state["classifier.6.weight"], state["classifier.6.bias"] = np.zeros((9, 4096)), np.zeros(9)
    # A file of it would be 0.5 GB.
    monkeypatch.setattr(eyes, "read_weights", lambda *_: WeightFile(state, "0" * 64))
    eye = features.VGG16Eye("vgg16.pth")
    images = rng.integers(0, 256, [1, 224, 224, 3], np.uint8)
    rows = eye(images)
    assert rows.shape == (1, 4096)
    assert eye.name == eye.recipe["eye"] == "vgg16"
    # LPIPS normalises [-1, 1] as ImageNet's constants do [0, 1].
    maps = features.LPIPS("vgg16", trunk).features(images.astype(np.float32) / 127.5 - 1)
    pooled = maps[-1].numpy().reshape(1, 7, 2, 7, 2, 512).max(axis=(2, 4))
    for neuron, (channel, row, column) in enumerate(places):
        expected = 2 * pooled[0, row, column, channel] + 1
        assert rows[0, neuron] == pytest.approx(expected, rel=1e-3)
    np.testing.assert_allclose(rows[0, len(places) :], 1)

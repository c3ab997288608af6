"""The mapping network: normalisation, labels, truncation and the running mean of w."""

import numpy as np
import pytest
import tensorflow as tf

import oracles
from check_layer import check_layer, randomised
from tf_sg2 import InputError
from tf_sg2.networks.mapping import MappingNetwork

RNG = np.random.default_rng(9)
Z = RNG.normal(size=(4, 6)).astype(np.float32)
LABELS = RNG.random((4, 3)).astype(np.float32)  # Soft labels.


def weights(z_dim=6, label_dim=0, w_dim=5, layers=2, w_avg=True):
    table = {"w_avg": ((w_dim,), False)} if w_avg else {}
    if label_dim:
        table |= {"embed.weight": ((label_dim, w_dim), True), "embed.bias": ((w_dim,), True)}
    width = z_dim + (w_dim if label_dim else 0)
    for i in range(layers):
        table |= {f"fc.{i}.weight": ((width, w_dim), True), f"fc.{i}.bias": ((w_dim,), True)}
        width = w_dim
    return table


def mapping(label_dim=0, z_dim=6, num_ws=3, layers=2, w_avg_beta=0.9):
    return MappingNetwork(z_dim, label_dim, 5, num_ws, layers, 0.1, w_avg_beta, name="mapping")


def expected_w(layer, z, labels=None):
    """Returns w as in the paper: parts are normalised and joined, then come leaky ReLU layers."""
    parts = [] if z is None else [oracles.unit_second_moment(z)]
    if labels is not None:
        embedded = oracles.dense(
            labels, np.asarray(layer.embed.weight), np.asarray(layer.embed.bias)
        )
        parts.append(oracles.unit_second_moment(embedded))
    x = np.concatenate(parts, axis=1)
    for fc in layer.fc:
        x = oracles.dense(x, np.asarray(fc.weight), np.asarray(fc.bias), "lrelu", 0.1)
    return x


def built(label_dim=0, **arguments):
    inputs = [Z, LABELS] if label_dim else [Z]
    return randomised(lambda: mapping(label_dim, **arguments), inputs, {})


def equal(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(actual, expected, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize("label_dim", [0, 3])
def test_mapping_proves_itself(label_dim, tmp_path):
    check_layer(
        lambda: mapping(label_dim),
        [Z, LABELS] if label_dim else [Z],
        weights(label_dim=label_dim),
        (4, 3, 5),
        tmp_path,
    )


@pytest.mark.parametrize("label_dim", [0, 3])
@pytest.mark.parametrize("layers", [1, 2, 8])
def test_mapping_equals_the_paper(label_dim, layers):
    layer = built(label_dim, layers=layers)
    labels = LABELS if label_dim else None
    w = layer(Z, labels)
    expected = expected_w(layer, Z, labels)
    assert w.shape == (4, 3, 5)
    for i in range(3):
        equal(w[:, i], expected)
    equal(layer.transform(tf.constant(Z), labels), expected)


def test_length_of_z_does_not_matter():
    layer = built()
    equal(layer(100 * Z), layer(Z), 1e-4)


def test_soft_labels_lie_between_the_hard_ones():
    """One-hot rows pick rows of the embedding; a mixture is embedded as the mixture."""
    layer = built(3)
    one_hot = np.eye(3, dtype=np.float32)[[0, 1, 2, 0]]
    equal(layer(Z, one_hot), layer(Z, tf.constant([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]])))
    assert not np.allclose(layer(Z, one_hot), layer(Z, LABELS))
    equal(layer(Z, LABELS)[:, 0], expected_w(layer, Z, LABELS))


@pytest.mark.parametrize("psi", [0.0, 0.7, 1.0, -1.0, 1.3])
@pytest.mark.parametrize("cutoff", [None, 0, 2, 3])
def test_truncation_moves_towards_the_mean(psi, cutoff):
    layer = built()
    w, mean = layer(Z).numpy(), np.asarray(layer.w_avg)
    expected = w.copy()
    expected[:, :cutoff] = mean + psi * (w[:, :cutoff] - mean)
    psis = (psi, tf.constant(psi), np.full(4, psi, np.float32))
    for given in psis:
        equal(layer(Z, truncation_psi=given, truncation_cutoff=cutoff), expected)


def test_psi_may_differ_by_sample():
    layer = built()
    psi = np.array([0, 0.5, 1, 2], np.float32)
    run = tf.function(
        lambda z, psi: layer(z, truncation_psi=psi),
        input_signature=[tf.TensorSpec([None, 6]), tf.TensorSpec([None])],
    )
    together = run(Z, psi)
    for n in range(4):
        equal(together[n : n + 1], layer(Z[n : n + 1], truncation_psi=float(psi[n])))


def test_mean_of_w_is_tracked():
    layer = built(w_avg_beta=0.9)
    before = np.asarray(layer.w_avg).copy()
    mean = np.arange(5, dtype=np.float32)
    tf.function(layer.track_w_avg)(tf.constant(mean))
    equal(np.asarray(layer.w_avg), 0.9 * before + 0.1 * mean)
    for _ in range(200):
        layer.track_w_avg(tf.constant(mean))
    np.testing.assert_allclose(np.asarray(layer.w_avg), mean, atol=1e-5)


def test_network_of_only_labels_takes_no_z():
    layer = mapping(3, z_dim=0, num_ws=1, w_avg_beta=None)
    layer.build()
    equal(layer.transform(None, LABELS), expected_w(layer, None, LABELS))
    assert not layer.non_trainable_weights


@pytest.mark.parametrize(
    ("label_dim", "z", "labels", "message"),
    [
        (3, Z, None, r"model is conditional: give labels, float32 \[N, 3\]"),
        (3, Z, LABELS[:, :2], r"labels have shape \(4, 2\); they must be \[N, 3\]"),
        (3, Z, LABELS[0], r"labels have shape \(3,\); they must be \[N, 3\]"),
        (0, Z, LABELS, "labels were given, but this model has label_dim 0; leave them out"),
        (0, Z[:, :4], None, r"z has shape \(4, 4\); it must be \[N, 6\]"),
        (0, Z[0], None, r"z has shape \(6,\); it must be \[N, 6\]"),
    ],
)
def test_mapping_refuses(label_dim, z, labels, message):
    layer = built(label_dim)
    with pytest.raises(InputError, match=message):
        layer(z, labels)


def test_labels_of_no_width_are_none():
    """A data set without labels yields such labels."""
    layer = built()
    equal(layer(Z, np.zeros((4, 0), np.float32)), layer(Z))


def test_truncation_without_a_mean_is_refused():
    layer = mapping(w_avg_beta=None)
    assert layer(Z).shape == (4, 3, 5)
    with pytest.raises(
        InputError,
        match=r"truncation_psi is 0\.5, but .* keeps no mean of w .*leave truncation_psi at 1",
    ):
        layer(Z, truncation_psi=0.5)

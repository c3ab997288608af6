"""The non-saturating logistic loss (Goodfellow et al. 2014; paper section 2, table 1)."""

from __future__ import annotations

import tensorflow as tf


def generator_loss(fake_scores: tf.Tensor) -> tf.Tensor:
    """Returns -log sigmoid(D(G(z))) for each sample: scores [N, 1] to losses [N]."""
    return tf.nn.softplus(-fake_scores)[:, 0]


def discriminator_loss_real(real_scores: tf.Tensor) -> tf.Tensor:
    """Returns -log sigmoid(D(x)) for each sample: scores [N, 1] to losses [N]."""
    return tf.nn.softplus(-real_scores)[:, 0]


def discriminator_loss_fake(fake_scores: tf.Tensor) -> tf.Tensor:
    """Returns -log(1 - sigmoid(D(G(z)))) for each sample: scores [N, 1] to losses [N]."""
    return tf.nn.softplus(fake_scores)[:, 0]

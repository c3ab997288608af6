"""R1 and path-length regularisation: penalties on gradients, which are differentiated again."""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf


def r1_penalties(
    discriminate: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the squared norm of the score's gradient by each image, [N], and the scores, [N, 1].

    Args:
        discriminate: images -> scores.
        images: real images, float [N, H, W, C].

    Source: Mescheder et al. 2018, equation 9 without the factor gamma / 2.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        scores = discriminate(images)
        total = tf.reduce_sum(scores)
    gradient = tape.gradient(total, images)  # [N, H, W, C]
    return tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3]), scores


def path_lengths(
    synthesize: Callable[[tf.Tensor], tf.Tensor], w: tf.Tensor, image_noise: tf.Tensor
) -> tf.Tensor:
    """Returns the length of J^T y for each sample, [N], with J the Jacobian of image by w.

    If an image does not depend on w, its length is 0 and the length's gradient is 0.

    Args:
        synthesize: w -> images.
        w: [N, num_ws, w_dim].
        image_noise: y before normalisation, standard normal, [N, H, W, C]; it is divided by
            √(H·W), so that the length does not depend on the resolution.

    Source: paper section 3.2 and appendix B; √ of the mean over layers of the squared norm.
    """
    with tf.GradientTape() as tape:
        tape.watch(w)
        images = synthesize(w)
        height, width = images.shape[1:3]
        projection = tf.reduce_sum(images * image_noise) / math.sqrt(height * width)
    gradient = tape.gradient(
        projection, w, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )  # [N, num_ws, w_dim]
    squares = tf.reduce_mean(tf.reduce_sum(tf.square(gradient), axis=2), axis=1)
    # The derivative of √x is infinite at 0. Both branches of `where` must be finite.
    positive = squares > 0
    return tf.where(positive, tf.sqrt(tf.where(positive, squares, 1.0)), 0.0)


def path_length_loss(
    lengths: tf.Tensor, mean: tf.Tensor, average: tf.Tensor, decay: float, count: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a loss with the gradient of the penalty, and the penalty, both for some samples.

    The penalty is P = 1/n sum_i (l_i - a')^2. Its target a' = a + decay * (m - a) moves with the
    mean length m, and the gradient flows through it, as in the official code. Hence

        dP/dl_i = 2/n [(l_i - a') - decay * 1/n sum_j (l_j - a')]
                = 2/n [(l_i - a') - decay * (m - a')].

    The loss is sum_i l_i * dP/dl_i, with the second factor constant. Its gradient is that of P.
    Of the other samples it needs only m, so parts of a batch and replicas can compute it each for
    their own samples.

    Args:
        lengths: l_i of some of the n samples, [N].
        mean: m, over all n samples; a constant.
        average: a, the running mean of the steps before.
        decay: how far a moves towards m in a step.
        count: n.

    Source: paper equation 4 and appendix B.
    """
    values, mean = tf.stop_gradient(lengths), tf.stop_gradient(mean)
    target = average + decay * (mean - average)
    slopes = 2 * ((values - target) - decay * (mean - target)) / count
    return tf.reduce_sum(slopes * lengths), tf.reduce_sum(tf.square(values - target)) / count

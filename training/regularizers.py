"""R1 and path-length regularisation: gradients that are differentiated once more."""

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

    Args:
        synthesize: w -> images.
        w: [N, num_ws, w_dim].
        image_noise: y before normalisation, standard normal, [N, H, W, C]; it is divided by
            √(H·W), which makes the length independent of the resolution.

    Source: paper section 3.2 and appendix B; √ of the mean over layers of the squared norm.
    """
    with tf.GradientTape() as tape:
        tape.watch(w)
        images = synthesize(w)
        height, width = images.shape[1:3]
        projection = tf.reduce_sum(images * image_noise) / math.sqrt(height * width)
    gradient = tape.gradient(projection, w)  # [N, num_ws, w_dim]
    return tf.sqrt(tf.reduce_mean(tf.reduce_sum(tf.square(gradient), axis=2), axis=1))

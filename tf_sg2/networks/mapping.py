"""The mapping network: latents and labels to w, with the running mean of w and truncation."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from tensorflow import keras

from tf_sg2.errors import InputError
from tf_sg2.networks import KERAS_PACKAGE
from tf_sg2.networks.equalized import EqualizedDense, channels_of
from tf_sg2.networks.statistics import normalize_second_moment


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class LabelMatrix(keras.layers.Layer):
    """Multiplies labels by a matrix that has neither a bias nor an equalised learning rate.

    Args:
        units: width of the output.

    Call: labels float [N, label_dim] -> [N, units].

    Example: `LabelMatrix(512)(labels)`.

    Source: Karras et al. 2018, the published networks with labels.
    """

    def __init__(self, units: int, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape: Sequence[int | None]) -> None:
        """Creates the weight for labels of this shape."""
        self.weight = self.add_weight(
            name="weight",
            shape=(channels_of(input_shape, self), self.units),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
        )
        self.built = True

    def call(self, labels: tf.Tensor) -> tf.Tensor:
        """Returns the sum of the matrix' rows, weighted by the labels."""
        return tf.matmul(labels, self.weight)  # [N, units]


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class MappingNetwork(keras.layers.Layer):
    """Maps z and labels to w: normalisation, then dense layers with leaky ReLU.

    Labels pass one linear layer (`embed`). They are normalised separately before they join z, or
    together with z if `label_input` is "concat".

    Args:
        z_dim: width of z; 0 for a network of only labels (in a conditional discriminator).
        label_dim: width of the labels; 0 without labels.
        w_dim: width of w.
        num_ws: copies of w that the synthesis network takes.
        layers: count of dense layers; 8 in the paper.
        lr_multiplier: factor on their learning rate; 0.01 in the paper.
        w_avg_beta: decay of the running mean `w_avg`; None keeps no mean and allows no truncation.
        label_input: "embed", or "concat" for labels that are as wide as z and normalised with it.
        label_width: width of the embedded labels; None for `w_dim`.
        width: width of all layers but the last; None for `w_dim`.
        activation_gain: where the activation's gain stands, "output" or "weight".

    Call: (z float [N, z_dim], labels=None, truncation_psi=1.0, truncation_cutoff=None)
    -> [N, num_ws, w_dim]. `truncation_psi` is a number or [N]. With `truncation_cutoff`, only that
    many copies are truncated, the first ones.

    Raises:
        InputError: if z or labels do not fit, for truncation without `w_avg`, or if there is no
            layer that makes the embedded labels `w_dim` wide.

    Source: Karras et al. 2018, section 2 and appendix B (truncation); paper appendix B.
    """

    def __init__(
        self,
        z_dim: int,
        label_dim: int,
        w_dim: int,
        num_ws: int = 1,
        layers: int = 8,
        lr_multiplier: float = 0.01,
        w_avg_beta: float | None = 0.995,
        label_input: str = "embed",
        label_width: int | None = None,
        width: int | None = None,
        activation_gain: str = "output",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.z_dim, self.label_dim, self.w_dim, self.num_ws = z_dim, label_dim, w_dim, num_ws
        self.w_avg_beta = w_avg_beta
        dtype = self.dtype_policy
        self.concat = label_input == "concat"
        self.label_width = z_dim if self.concat else label_width or w_dim
        self.embed: EqualizedDense | LabelMatrix | None = None
        if label_dim:
            kind = LabelMatrix if self.concat else EqualizedDense
            self.embed = kind(self.label_width, name="embed", dtype=dtype)
        widths = [width or w_dim] * (layers - 1) + [w_dim]
        self.fc = [
            EqualizedDense(
                widths[i],
                "lrelu",
                lr_multiplier,
                activation_gain=activation_gain,
                name=f"fc{i}",
                dtype=dtype,
            )
            for i in range(layers)
        ]
        if not layers and self.label_width != w_dim:
            raise InputError(
                f"a mapping network without layers makes labels {self.label_width} wide, but they "
                f"must be {w_dim} wide; set label_width to that, or mapping_layers to 1 or more"
            )

    def build(self, input_shape: object = None) -> None:
        """Creates the weights; their shapes follow from the arguments of the constructor."""
        if self.embed is not None:
            self.embed.build((None, self.label_dim))
        width = self.z_dim + (self.label_width if self.label_dim else 0)
        for layer in self.fc:
            layer.build((None, width))
            width = layer.units
        if self.w_avg_beta is not None:
            self.w_avg = self.add_weight(
                name="w_avg", shape=(self.w_dim,), initializer="zeros", trainable=False
            )
        self.built = True

    def transform(self, z: tf.Tensor | None, labels: tf.Tensor | None = None) -> tf.Tensor:
        """Returns w before it is copied and truncated, [N, w_dim].

        Raises:
            InputError: if z has another width, or if labels are missing, unexpected or of another
                width.
        """
        parts = []
        if self.z_dim:
            if z is None or z.shape.rank != 2 or z.shape[1] != self.z_dim:
                found = "is missing" if z is None else f"has shape {z.shape}"
                raise InputError(f"z {found}; it must be [N, {self.z_dim}]")
            parts.append(z if self.concat else normalize_second_moment(z))  # [N, z_dim]
        labels = checked_labels(labels, self.label_dim)
        if self.embed is not None:
            y = self.embed(labels)  # [N, label_width]
            parts.append(y if self.concat else normalize_second_moment(y))
        x = tf.concat(parts, axis=1) if len(parts) > 1 else parts[0]
        if self.concat:
            x = normalize_second_moment(x)
        for layer in self.fc:
            x = layer(x)  # [N, width], at last [N, w_dim]
        return x

    def call(
        self,
        z: tf.Tensor,
        labels: tf.Tensor | None = None,
        truncation_psi: float | tf.Tensor = 1.0,
        truncation_cutoff: int | None = None,
    ) -> tf.Tensor:
        """Returns the copies of w for the layers of the synthesis network."""
        w = self.transform(z, labels)[:, None, :]  # [N, 1, w_dim]
        copies = tf.repeat(w, self.num_ws, axis=1)  # [N, num_ws, w_dim]
        if isinstance(truncation_psi, (int, float)) and truncation_psi == 1:
            return copies
        if self.w_avg_beta is None:
            raise InputError(
                f"truncation_psi is {truncation_psi}, but this network keeps no mean of w "
                "(w_avg_beta is None); leave truncation_psi at 1"
            )
        psi = tf.reshape(tf.cast(truncation_psi, w.dtype), [-1, 1, 1])  # [1 or N, 1, 1]
        truncated = self.w_avg + psi * (copies - self.w_avg)  # [N, num_ws, w_dim]
        if truncation_cutoff is None:
            return truncated
        return tf.concat([truncated[:, :truncation_cutoff], copies[:, truncation_cutoff:]], axis=1)

    def track_w_avg(self, batch_mean: tf.Tensor) -> None:
        """Moves `w_avg` towards the mean of a batch of w, [w_dim]."""
        self.w_avg.assign(batch_mean + (self.w_avg - batch_mean) * self.w_avg_beta)


def checked_labels(labels: tf.Tensor | None, label_dim: int) -> tf.Tensor | None:
    """Returns `labels` as a floating tensor [N, label_dim]; None for a model without labels.

    Raises:
        InputError: if they are missing, unexpected or of another width.
    """
    if not label_dim:
        if labels is not None and tf.convert_to_tensor(labels).shape[-1] != 0:
            raise InputError("labels were given, but this model has label_dim 0; leave them out")
        return None
    if labels is None:
        raise InputError(
            f"this model is conditional: give labels, float32 [N, {label_dim}], one-hot or soft"
        )
    labels = tf.convert_to_tensor(labels)
    labels = labels if labels.dtype.is_floating else tf.cast(labels, tf.float32)
    if labels.shape.rank != 2 or labels.shape[1] != label_dim:
        raise InputError(f"labels have shape {labels.shape}; they must be [N, {label_dim}]")
    return labels

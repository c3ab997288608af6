"""The generator: mapping and synthesis network in one model."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow import keras

from tf_sg2.config import GeneratorConfig, from_dict, to_dict
from tf_sg2.networks import KERAS_PACKAGE
from tf_sg2.networks.mapping import MappingNetwork
from tf_sg2.networks.synthesis import SynthesisNetwork


@keras.utils.register_keras_serializable(KERAS_PACKAGE)
class Generator(keras.Model):
    """The generator of StyleGAN2 or of a predecessor, as the fields of its configuration say.

    Its weights exist as soon as it is constructed.

    Args:
        config: its configuration.

    Call: (z float [N, z_dim], labels=None, truncation_psi=1.0, truncation_cutoff=None,
    noise_mode="random", noise_seeds=None, lod=0.0)
    -> images float32 [N, H, W, image_channels], about -1 to 1. `labels` are float32
    [N, label_dim], one-hot or soft. The two parts are the attributes `mapping` and `synthesis`.
    `lod` is the level of detail of a growing network.

    Raises:
        InputError: for labels that do not fit, an unknown noise mode, or an unusable `lod`.

    Example:
        G = tf_sg2.Generator(tf_sg2.GeneratorConfig(image_size=(64, 64)))
        images = G(tf.random.normal([4, 512]), truncation_psi=0.7)

    Source: paper figure 2 (d).
    """

    def __init__(self, config: GeneratorConfig, **kwargs):
        kwargs.setdefault("name", "generator")
        super().__init__(**kwargs)
        self.config = config
        self.mapping = MappingNetwork(
            config.z_dim,
            config.label_dim,
            config.w_dim,
            config.num_ws,
            config.mapping_layers,
            config.mapping_lr_multiplier,
            config.w_avg_beta,
            config.label_input,
            config.label_width,
            config.mapping_width,
            config.activation_gain,
            name="mapping",
        )
        self.synthesis = SynthesisNetwork(config, name="synthesis")
        self.mapping.build()
        self.synthesis.build()
        self.built = True

    def call(
        self,
        z: tf.Tensor,
        labels: tf.Tensor | None = None,
        truncation_psi: float | tf.Tensor = 1.0,
        truncation_cutoff: int | None = None,
        noise_mode: str = "random",
        noise_seeds: tf.Tensor | None = None,
        lod: float | tf.Tensor = 0.0,
    ) -> tf.Tensor:
        """Returns the images."""
        w = self.mapping(
            z, labels, truncation_psi=truncation_psi, truncation_cutoff=truncation_cutoff
        )  # [N, num_ws, w_dim]
        return self.synthesis(
            w, noise_mode=noise_mode, noise_seeds=noise_seeds, lod=lod
        )  # [N, H, W, image_channels]

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration as plain data, for Keras."""
        return {"config": to_dict(self.config), "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Generator:
        """Returns a new generator of a configuration from `get_config`."""
        return cls(from_dict(config["config"], GeneratorConfig), name=config["name"])

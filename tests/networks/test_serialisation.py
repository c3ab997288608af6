"""`.keras` files that version 0.1 saved load, and compute the images and scores that they did."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow import keras

import tf_sg2
from checkout import REFERENCE

# TensorFlow 2.15 brings Keras 2.15, later ones Keras 3. Each reads the files that it wrote.
STACK = "keras2" if tf.__version__.startswith("2.15.") else "keras3"


def load(name, kind):
    """Loads a network; naming its class imports it, which registers it with Keras."""
    network = keras.models.load_model(REFERENCE / f"{name}_{STACK}.keras", compile=False)
    assert type(network) is kind
    return network


@pytest.fixture(scope="module")
def outputs():
    with np.load(REFERENCE / f"outputs_{STACK}.npz") as file:
        return dict(file)


def test_a_generator_saved_by_version_0_1_makes_the_same_images(outputs):
    generator = load("generator", tf_sg2.Generator)
    images = generator(outputs["z"], truncation_psi=0.7, noise_mode="const")
    np.testing.assert_allclose(images, outputs["images"], rtol=0, atol=1e-6)


def test_a_discriminator_saved_by_version_0_1_gives_the_same_scores(outputs):
    discriminator = load("discriminator", tf_sg2.Discriminator)
    np.testing.assert_allclose(
        discriminator(outputs["images"]), outputs["scores"], rtol=0, atol=1e-6
    )

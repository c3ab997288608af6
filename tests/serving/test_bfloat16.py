"""A synthesis network in bfloat16: the parts that stay in float32, and the reason."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from check_layer import dtype_policy
from tf_sg2 import Generator
from tf_sg2.compat import raw_variable
from tf_sg2.networks import modulated, synthesis
from tf_sg2.serving.export.bfloat16 import compare, in_bfloat16
from tiny_config import tiny_config

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def generator():
    """Returns a generator whose weights are all random."""
    config = tiny_config(generator__channel_base=512, generator__channel_max=32).generator
    generator = Generator(config)
    random = tf.random.Generator.from_seed(3)
    for weight in generator.weights:
        raw_variable(weight).assign_add(random.normal(weight.shape, stddev=0.1))
    return generator


@pytest.mark.parametrize("policy", ["bfloat16", "mixed_bfloat16", "mixed_float16"])
def test_the_images_and_the_styles_are_float32_in_any_16_bit_policy(generator, policy):
    with dtype_policy(policy):
        network = synthesis.SynthesisNetwork(generator.config)
        network.build()
    w = np.ones([2, generator.config.num_ws, generator.config.w_dim], np.float32)
    images = network.images(w, "const")
    assert {image.dtype for image in images} == {tf.float32}
    assert network(w, noise_mode="const").dtype == tf.float32
    for block in network.blocks:
        for layer in [*block.convolutions, block.to_rgb]:
            assert layer.affine.compute_dtype == layer.affine.variable_dtype == "float32"
            assert layer.affine(w[:, 0]).dtype == tf.float32
            assert layer.compute_dtype == layer.conv.compute_dtype != "float32"


def test_what_stays_in_float32_lowers_the_error(generator, monkeypatch):
    with_float32 = compare(generator, in_bfloat16(generator))["rms_levels"]
    for module in (modulated, synthesis):
        monkeypatch.setattr(module, "at_least_float32", lambda dtype: dtype)
    without = compare(generator, in_bfloat16(generator))["rms_levels"]
    assert 0 < with_float32 < 0.9 * without

"""A synthesis network in bfloat16: about half the memory, and faster on hardware that supports it.

The mapping network stays in float32: it takes little time, and every picture depends on its w. The
synthesis network's styles, demodulation and sum of images stay in float32 too.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf
from tensorflow import keras

from tf_sg2.compat import raw_variable
from tf_sg2.images import to_uint8
from tf_sg2.latent.seeds import latents
from tf_sg2.networks.generator import Generator
from tf_sg2.networks.synthesis import SynthesisNetwork
from tf_sg2.ops import use_implementation

COMPARED_SEEDS = 8
COMPARED_PSI = 0.7


def in_bfloat16(generator: Generator) -> SynthesisNetwork:
    """Returns a copy of the synthesis network with weights and convolutions in bfloat16.

    The parts that `tf_sg2.networks.precision.at_least_float32` protects stay in float32, and so do
    the weights of the affine layers.
    """
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("bfloat16")
    try:
        copy = SynthesisNetwork(generator.config, name="synthesis")
        copy.build()
    finally:
        keras.mixed_precision.set_global_policy(before)
    for ours, theirs in zip(copy.weights, generator.synthesis.weights, strict=True):
        ours, theirs = raw_variable(ours), raw_variable(theirs)
        ours.assign(tf.cast(theirs, ours.dtype))
    return copy


def compare(generator: Generator, synthesis: SynthesisNetwork) -> dict[str, float]:
    """Returns how far the pictures of `synthesis` differ from the generator's, in uint8 levels.

    It compares the pictures of `COMPARED_SEEDS` seeds at psi `COMPARED_PSI`; a conditional model
    takes its classes in turn. The PSNR is limited to 99 dB, because equal pictures have an infinite
    PSNR, which JSON cannot hold.
    """
    config = generator.config
    squares, largest = [], 0.0
    for seed in range(COMPARED_SEEDS):
        labels = None
        if config.label_dim:
            labels = tf.one_hot([seed % config.label_dim], config.label_dim)
        with use_implementation("tensorflow"):
            z = latents([seed], config.z_dim)
            w = generator.mapping(z, labels, truncation_psi=COMPARED_PSI)
            ours, theirs = (
                to_uint8(network(w, noise_mode="const")).numpy().astype(np.float64)
                for network in (synthesis, generator.synthesis)
            )
        squares.append(np.mean(np.square(ours - theirs)))
        largest = max(largest, float(np.max(np.abs(ours - theirs))))
    mean = float(np.mean(squares))
    return {
        "seeds": COMPARED_SEEDS,
        "truncation_psi": COMPARED_PSI,
        "rms_levels": round(mean**0.5, 3),
        "largest_levels": largest,
        "psnr_db": round(min(10 * math.log10(255**2 / mean), 99.0), 2) if mean else 99.0,
    }

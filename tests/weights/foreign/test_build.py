"""Foreign networks give the images and scores that their own programs computed."""

import numpy as np
import pytest
import tensorflow as tf

from foreign_files import outputs, unpack
from tf_sg2 import weights
from tf_sg2.weights.foreign.build import build

PICKLES = (
    *("ada_uncond", "ada_cond", "ada_uncond_nhwc", "ada_cond_orig", "sg3_uncond"),
    *("tf_sg2", "tf_sg2_e_orig_skip", "tf_ada_cond", "tf_sg2_cond", "tf_sg2_config_d"),
)
HALF_PRECISION = ("ada_cond", "ada_uncond_nhwc")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return unpack(tmp_path_factory.mktemp("files"))


def nhwc(images):
    return tf.constant(images.transpose(0, 2, 3, 1))


def nchw(images):
    return np.asarray(images).transpose(0, 3, 1, 2)


def assert_close(found, expected, tolerance=1e-4):
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", PICKLES)
def test_official_networks_give_the_official_numbers(files, name):
    state, numbers = weights.read(files / f"{name}.pkl"), outputs(name)
    built = build(state)
    assert built.notes == ()
    average, z = built.average, tf.constant(numbers["z"])
    labels = tf.constant(numbers["labels"]) if state["config"].generator.label_dim else None
    assert_close(average.mapping(z, labels), numbers["ws"])
    assert_close(average.mapping(z, labels, truncation_psi=0.7), numbers["ws_psi07"])
    ws = tf.constant(numbers["ws"])
    image = nchw(average.synthesis(ws, noise_mode="const"))
    assert_close(image, numbers["image"])
    assert_close(nchw(average.synthesis(ws[:1], noise_mode="none")), numbers["image_no_noise"])
    assert_close(built.discriminator(nhwc(numbers["image"]), labels), numbers["d_score"])
    if "image_from_G_not_ema" in numbers:
        other = built.generator(z[:1], None if labels is None else labels[:1], noise_mode="const")
        assert_close(nchw(other), numbers["image_from_G_not_ema"])
        score = built.discriminator(nhwc(numbers["d_input2"]), labels)
        assert_close(score, numbers["d_score2"])
        cutoff = int(numbers["truncation_cutoff"])
        w = average.mapping(z, labels, truncation_psi=0.5, truncation_cutoff=cutoff)
        assert_close(w, numbers["ws_psi05_cut"])
    else:
        eight = None if labels is None else tf.constant(numbers["d_labels"])
        score = built.discriminator(nhwc(numbers["d_input"]), eight)
        assert_close(score, numbers["d_score8_group4"])
    if name in HALF_PRECISION:
        assert_close(image, numbers["image_fp16"], 1e-2)
        score = built.discriminator(nhwc(numbers["image"]), labels)
        assert_close(score, numbers["d_score_fp16"], 1e-2)


@pytest.mark.parametrize("name", ["rosi_converted", "rosi_training", "rosi_legacy"])
def test_rosinality_networks_give_their_numbers(files, name):
    numbers, built = outputs("rosi"), build(weights.read(files / f"{name}.pt"))
    z = tf.constant(numbers["z"])
    assert_close(nchw(built.average(z, noise_mode="const")), numbers["image"])
    mixed = built.average.synthesis(tf.constant(numbers["latents_mix2"][:1]), noise_mode="const")
    assert_close(nchw(mixed), numbers["image_mix2"])
    if name == "rosi_training":
        assert built.notes == ("The file holds no mean of w; it was measured over random latents.",)
        w = built.average.mapping(tf.random.stateless_normal([10_000, 16], [1, 2]))
        assert_close(built.average.mapping.w_avg, tf.reduce_mean(w[:, 0], axis=0), 0.05)
    else:
        truncated = built.average.mapping(z, truncation_psi=0.7)
        assert_close(truncated, numbers["latents_trunc07"])
    if name == "rosi_legacy":
        assert built.notes == (
            "The file holds only the averaged generator; it is the trained one too.",
            "The file holds no discriminator; the one in this folder is untrained.",
        )
    else:
        assert_close(built.discriminator(nhwc(numbers["image"])), numbers["d_score"])

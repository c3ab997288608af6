"""The augmentation in training: controller, streams, resume, replicas."""

import json

import numpy as np
import pytest
import tensorflow as tf

from checkout import REFERENCE
from tf_sg2 import config as configuration
from tf_sg2.config import AugmentConfig
from tf_sg2.errors import InputError
from tf_sg2.training.augment.augmentation import augmentation_of, next_probability
from tf_sg2.training.draws import Phase
from tf_sg2.training.loop import train
from tiny_config import tiny_config

pytestmark = pytest.mark.stack

CONTROLLER = np.load(REFERENCE / "ada" / "controller.npz")
IMAGES = tf.constant(np.random.default_rng(2).uniform(-1, 1, [6, 24, 40, 3]).astype(np.float32))
POSITIONS = tf.range(100, 106, dtype=tf.int64)


def augmentation(probability=0.8, **fields):
    return augmentation_of(AugmentConfig(**fields), 7, tf.Variable(probability))


@pytest.mark.parametrize("case", "abc")
def test_controller_equals_official(case):
    batch, interval, kimg, target, r1_interval, p = CONTROLLER[f"{case}/settings"]
    config = AugmentConfig(mode="ada", interval=int(interval), kimg=kimg, target=target)
    main, reg = CONTROLLER[f"{case}/logits_main"], CONTROLLER[f"{case}/logits_reg"]
    p, signs = tf.constant(p, tf.float32), np.zeros(2, np.float32)
    for i in range(len(main)):
        shown = [main[i], reg[i]] if i % r1_interval == 0 else [main[i]]
        for scores in shown:
            signs += [np.sign(scores).sum(), scores.size]
        if (i + 1) % interval == 0:
            mean = CONTROLLER[f"{case}/sign_means"][(i + 1) // int(interval) - 1]
            assert abs(signs[0] / signs[1] - mean) < 1e-6
            p = next_probability(p, tf.constant(signs), config, int(batch))
            signs[:] = 0
        assert float(p) == pytest.approx(CONTROLLER[f"{case}/p_after_iteration"][i], abs=1e-7)


def test_probability_has_a_ceiling_and_stays_without_scores():
    config = AugmentConfig(mode="ada", kimg=0.001)
    up = next_probability(tf.constant(0.9), tf.constant([8.0, 8.0]), config, 8)
    assert float(up) == 1.0
    same = next_probability(tf.constant(0.3), tf.constant([0.0, 0.0]), config, 8)
    assert float(same) == pytest.approx(0.3)


@pytest.mark.parametrize("mode", ["fixed", "diffaugment"])
def test_image_depends_only_on_its_position(mode):
    augment = augmentation(mode=mode, pipe="bgcfnc")
    whole = augment(IMAGES, POSITIONS, Phase.R1)
    part = augment(IMAGES[2:4], POSITIONS[2:4], Phase.R1)
    np.testing.assert_allclose(part, whole[2:4], atol=2e-5)
    other = augment(IMAGES, POSITIONS, Phase.DISCRIMINATOR)
    assert np.abs(np.asarray(other) - whole).max() > 0.1


def test_mode_none_returns_the_images():
    assert augmentation(mode="none")(IMAGES, POSITIONS, Phase.R1) is IMAGES


def test_probability_0_leaves_the_images():
    out = augmentation(probability=0.0, mode="ada")(IMAGES, POSITIONS, Phase.R1)
    np.testing.assert_allclose(out, IMAGES, atol=5e-6)


@pytest.mark.parametrize("channels", [1, 4])
def test_one_and_four_channels_are_augmented(channels):
    images = tf.repeat(IMAGES[..., :1], channels, axis=3)
    for mode in ("fixed", "diffaugment"):
        out = augmentation(mode=mode, pipe="bgcfnc")(images, POSITIONS, Phase.R1)
        assert out.shape == images.shape
        assert np.isfinite(np.asarray(out)).all()


def test_strength_fields_reach_the_draws():
    still = {
        **{f"{name}_std": 0.0 for name in ("scale", "aniso", "xfrac")},
        "rotate_max": 0.0,
    }
    out = augmentation(1.0, mode="fixed", pipe="geom", **still)(IMAGES, POSITIONS, Phase.R1)
    np.testing.assert_allclose(out, IMAGES, atol=5e-6)


def test_diffaugment_translation_moves_whole_pixels():
    images = tf.ones([40, 16, 24, 3])
    out = np.asarray(
        augmentation(mode="diffaugment", policy="translation")(
            images, tf.range(40, dtype=tf.int64), Phase.R1
        )
    )
    assert set(np.unique(out)) == {0.0, 1.0}
    rows, columns = out.any(axis=(2, 3)).sum(axis=1), out.any(axis=(1, 3)).sum(axis=1)
    assert (rows.min(), rows.max()) == (14, 16)  # At most an eighth is lost.
    assert (columns.min(), columns.max()) == (21, 24)


def test_diffaugment_cutout_takes_at_most_a_quarter():
    images = tf.ones([40, 16, 24, 3])
    out = augmentation(mode="diffaugment", policy="cutout")(
        images, tf.range(40, dtype=tf.int64), Phase.R1
    )
    shares = 1 - np.asarray(out).mean(axis=(1, 2, 3))
    assert 0 < shares.min() < shares.max() <= 0.26


def test_diffaugment_color_keeps_the_ranges_of_the_paper():
    gray = tf.fill([400, 4, 4, 3], 0.0)
    augment = augmentation(mode="diffaugment", policy="color")
    out = np.asarray(augment(gray, tf.range(400, dtype=tf.int64), Phase.R1))
    assert -0.5 <= out.min() < -0.45
    assert 0.45 < out.max() <= 0.5
    assert np.ptp(out, axis=(1, 2, 3)).max() < 1e-6  # Grey stays grey and even.


def losses(run):
    lines = (run / "log.jsonl").read_text().splitlines()
    return [
        {k: v for k, v in json.loads(line).items() if "loss" in k or "augment" in k}
        for line in lines
    ]


def small(**fields):
    # The controller moves by 0.8 every second iteration.
    return tiny_config(
        **{
            "augment__mode": "ada",
            "augment__interval": 2,
            "augment__kimg": 0.02,
            "augment__probability": 0.4,
            "training__path_length_weight": 0.0,  # Nothing is augmented there.
            "training__total_kimg": 0.048,
            "training__checkpoint_kimg": 0.024,
            **fields,
        }
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    run = tmp_path_factory.mktemp("ada") / "run"
    return run, train(small(), run, devices="cpu:1", progress=False)


@pytest.mark.slow
def test_run_resumes_bit_for_bit_with_its_probability(trained, tmp_path):
    _, whole = trained
    half = small(training__total_kimg=0.024)
    train(half, tmp_path / "run", devices="cpu:1", progress=False)
    resumed = train(small(), tmp_path / "run", devices="cpu:1", progress=False)
    assert float(whole.augment_probability) != pytest.approx(0.4)
    for name, variable in whole.variables().items():
        np.testing.assert_array_equal(resumed.variables()[name], variable, err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "parts"), [("cpu:2", 1), ("cpu:1", 2)])
def test_replicas_and_parts_equal_one_device(trained, tmp_path, devices, parts):
    run, whole = trained
    other = train(
        small(training__accumulation_steps=parts), tmp_path / "run", devices=devices, progress=False
    )
    assert other.augment_probability.numpy() == whole.augment_probability.numpy()
    for ours, theirs in zip(losses(tmp_path / "run"), losses(run), strict=True):
        assert ours == pytest.approx(theirs, rel=2e-3, abs=1e-4)


@pytest.mark.parametrize(
    ("field", "value", "sentence"),
    [
        ("augment.mode", "adaa", "augment.mode is 'adaa'; it must be 'none', 'ada', 'fixed' or"),
        ("augment.pipe", "bcg", "augment.pipe is 'bcg'; it must be 'blit', 'geom', 'color'"),
        ("augment.policy", "color,hue", "it must be some of color, translation, cutout"),
        ("augment.probability", "2", "augment.probability is '2'; it must be less than or equal"),
    ],
)
def test_bad_fields_are_one_sentence(field, value, sentence):
    with pytest.raises(InputError, match=sentence):
        configuration.override(tiny_config(), {field: value})

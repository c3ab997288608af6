"""Scores of D: histograms, the area under the ROC curve, and the images that are scored."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from tf_sg2 import images as image_values
from tf_sg2.config import override
from tf_sg2.errors import InputError
from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator
from tf_sg2.training.monitor.samples import SampleGrid
from tf_sg2.training.monitor.scores import Scorer, Scores, area_under_roc
from tiny_config import IMAGE_SIZE, tiny_config

rng = np.random.default_rng(5)


class Pictures:
    """A source of images of one brightness each, with one-hot labels."""

    name = "pictures"
    image_size, image_channels, label_dim = IMAGE_SIZE, 3, 3

    def __init__(self, values, unreadable=()):
        self.values, self.unreadable = values, unreadable

    def __len__(self):
        return len(self.values)

    def image(self, index):
        if index in self.unreadable:
            raise InputError(f"{index}.png is broken")
        return np.full((*IMAGE_SIZE, 3), self.values[index], np.uint8)

    def label(self, index):
        return np.eye(3, dtype=np.float32)[index % 3]


def brightness_state(label_dim=0, group=4):
    """A D that scores the brightness, 100 more per class; a G of one brightness per latent."""

    def discriminator(images, labels=None):
        pixels = tf.reduce_mean(images, axis=[1, 2, 3]) * 127.5 + 127.5
        classes = 0.0 if labels is None else 100.0 * tf.cast(tf.argmax(labels, axis=1), tf.float32)
        return (pixels + classes)[:, None]

    discriminator.config = SimpleNamespace(label_dim=label_dim, minibatch_stddev_group=group)
    generator = SimpleNamespace(
        config=SimpleNamespace(z_dim=4),
        mapping=lambda z, labels: z,
        synthesis=lambda w, noise_mode, noise_seeds: tf.tile(
            w[:, :1, None, None], [1, *IMAGE_SIZE, 3]
        ),
    )
    return SimpleNamespace(discriminator=discriminator, generator=generator)


def test_area_under_roc_is_that_of_mann_and_whitney():
    for n, m, values in ((7, 5, 3), (40, 30, 10), (200, 100, 10_000)):
        positive = rng.integers(values, size=n).astype(np.float32) + 1
        negative = rng.integers(values, size=m).astype(np.float32)
        statistic = scipy.stats.mannwhitneyu(positive, negative).statistic
        assert area_under_roc(positive, negative) == pytest.approx(statistic / (n * m), abs=1e-12)
    assert area_under_roc(np.float32([2, 3]), np.float32([0, 1])) == 1
    assert area_under_roc(np.float32([1, 1]), np.float32([1])) == 0.5


def test_histograms_count_every_score_once_over_common_bins():
    scores = Scores(*(rng.normal(i, 1, 100).astype(np.float32) for i in range(3)))
    line = scores.line()
    assert list(line) == ["edges", "training", "heldout", "generated", "auc", "gap"]
    assert len(line["edges"]) == 65
    for name, values in scores._asdict().items():
        assert len(line[name]) == 64
        assert sum(line[name]) == 100
        expected = np.histogram(values.astype(np.float64), np.array(line["edges"]))[0]
        assert line[name] == expected.tolist()
    assert line["gap"] == pytest.approx(scores.training.mean() - scores.heldout.mean(), abs=1e-6)
    assert line["auc"] == area_under_roc(scores.training, scores.heldout)


def test_without_held_out_images_there_is_nothing_to_compare():
    line = Scores(np.zeros(4, np.float32), None, np.zeros(4, np.float32)).line()
    assert (line["heldout"], line["auc"], line["gap"]) == (None, None, None)
    assert sum(line["training"]) == sum(line["generated"]) == 4


def test_scores_are_those_of_the_images():
    training, heldout = Pictures(range(100, 140)), Pictures(range(20))
    scores = Scorer(brightness_state(), training, heldout, 40).scores()
    np.testing.assert_allclose(np.sort(scores.training), np.arange(100, 140), atol=1e-3)
    np.testing.assert_allclose(np.sort(scores.heldout), np.arange(20), atol=1e-3)
    assert scores.scalars()["scores/auc"] == 1
    assert scores.scalars()["scores/gap"] == pytest.approx(119.5 - 9.5, abs=1e-3)
    assert len(np.unique(scores.generated)) == len(scores.generated) == 40


def test_a_set_against_itself_has_no_gap():
    pictures = Pictures(range(30))
    scores = Scorer(brightness_state(), pictures, pictures, 20).scores()
    assert scores.scalars() == {"scores/auc": 0.5, "scores/gap": 0}


def test_the_same_images_are_scored_each_time_and_not_only_the_first():
    pictures = Pictures(range(250))
    first, again = (Scorer(brightness_state(), pictures, None, 16).scores() for _ in range(2))
    np.testing.assert_array_equal(first.training, again.training)
    np.testing.assert_array_equal(first.generated, again.generated)
    assert first.training.max() > 100, "a random choice"


def test_labels_reach_a_conditional_d():
    pictures = Pictures([0] * 30)
    scores = Scorer(brightness_state(label_dim=3), pictures, None, 30).scores()
    # 28 of the 30, in whole groups of 4.
    assert set(scores.training) == {0, 100, 200}
    assert len(scores.training) == 28
    fakes = Scorer(brightness_state(label_dim=0), pictures, None, 30).scores().generated
    classes = np.round((scores.generated - fakes) / 100)
    np.testing.assert_array_equal(classes * 100, scores.training)


@pytest.mark.parametrize(("count", "group", "scored"), [(3, 4, 3), (9, 4, 8), (21, 0, 21)])
def test_batches_are_whole_groups(count, group, scored):
    scores = Scorer(brightness_state(group=group), Pictures(range(count)), None, 500).scores()
    assert len(scores.training) == scored


def test_an_image_that_cannot_be_read_is_replaced_if_asked():
    pictures = Pictures(range(8), unreadable={3})
    with pytest.raises(InputError, match=r"3.png is broken"):
        Scorer(brightness_state(), pictures, None, 8).scores()
    bad = []
    scores = Scorer(
        brightness_state(), pictures, None, 8, lambda *found: bad.append(found)
    ).scores()
    assert {index for index, _ in bad} == {3}
    assert len(scores.training) == 8
    assert 3 not in np.round(scores.training)


def test_scores_of_real_networks_do_not_depend_on_the_process_and_are_d_of_the_images():
    config = override(tiny_config(label_dim=3), {"training.sample_columns": 2})
    generator, discriminator = Generator(config.generator), Discriminator(config.discriminator)
    state = SimpleNamespace(generator=generator, discriminator=discriminator)
    pictures = Pictures(range(0, 240, 20))
    scorer = Scorer(state, pictures, None, 12)
    indices = scorer.sources[0][1]
    images = image_values.from_uint8(np.stack([pictures.image(i) for i in indices]))
    expected = discriminator(images, np.stack([pictures.label(i) for i in indices]))[:, 0]
    np.testing.assert_allclose(scorer.scores().training, expected, atol=1e-5)


def test_a_grid_of_classes_has_a_row_per_class():
    config = tiny_config(label_dim=3)
    generator = Generator(config.generator)
    samples = SampleGrid(generator, config, np.eye(3, dtype=np.float32)[[0, 0]])
    rows = samples.class_images(0.7).reshape(3, 2, *IMAGE_SIZE, 3)
    # The first class is that of the other grid here, with the same latents and noise.
    difference = rows[0].astype(int) - samples.images(0.7)
    assert np.abs(difference).max() <= 1
    for row in rows[1:]:
        assert np.abs(row.astype(int) - rows[0]).max() > 1

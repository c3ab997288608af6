"""Known damage: the pictures that the benchmark compares, and what the default eye says of them."""

from __future__ import annotations

import numpy as np
import pytest

import damage
from tf_sg2 import metrics

rng = np.random.default_rng(6)


def test_blur_and_noise_are_as_large_as_their_names_say():
    line = np.zeros((1, 48, 80, 3), np.uint8)
    line[:, :, 40] = 255
    for name, sigma in (("blur, half a pixel", 0.5), ("blur, one pixel", 1)):
        profile = damage.DAMAGES[name](line)[0, 20, :, 0].astype(float)
        spread = np.sqrt((profile * np.square(np.arange(80) - 40)).sum() / profile.sum())
        assert spread == pytest.approx(sigma, rel=0.1), name
    grey = np.full((4, 48, 80, 3), 128, np.uint8)
    noisy = damage.DAMAGES["noise of 10 levels"](grey)
    assert noisy.dtype == np.uint8
    assert noisy.astype(float).std() == pytest.approx(10, rel=0.02)


def test_shuffled_tiles_are_the_same_tiles_elsewhere():
    images = rng.integers(0, 256, [3, 48, 80, 3], np.uint8)
    mixed = damage.DAMAGES["tiles of 4 × 4 pixels shuffled"](images)
    assert mixed.shape == images.shape
    assert not np.array_equal(mixed, images)

    def tiles(image):
        return sorted(
            image[y : y + 4, x : x + 4].tobytes() for y in range(0, 48, 4) for x in range(0, 80, 4)
        )

    for before, after in zip(images, mixed, strict=True):
        assert tiles(before) == tiles(after)


def test_cards_of_missing_layouts_are_left_out():
    layouts = damage.layouts_of(1, 40)
    assert len(layouts) > 5
    kept = set(layouts[::2])
    chosen = damage.drawn(1, 6, kept)
    source = damage.CardSource(count=60, seed=1, image_size=damage.SIZE)
    expected = [card.image for card in map(source.card, range(60)) if card.layout in kept][:6]
    np.testing.assert_array_equal(chosen, expected)


@pytest.mark.slow
def test_the_default_eye_orders_damage_as_a_person_does():
    """Each set against the same cards undamaged, so few are enough."""
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    eye = metrics.features.PPOCR()
    cards = damage.drawn(5, 24)
    whole = eye(cards)
    order = [
        "blur, half a pixel",
        "noise of 10 levels",
        "JPEG, quality 20",
        "blur, one pixel",
        "tiles of 4 × 4 pixels shuffled",
    ]
    assert order == list(damage.DAMAGES)
    distances = [
        metrics.frechet_distance(whole, eye(damage.DAMAGES[name](cards))) for name in order
    ]
    assert distances == sorted(distances)
    assert distances[0] < distances[1] / 2
    assert distances[-1] > 5 * distances[1]

"""The sixteen transforms against the official numbers."""

import numpy as np
import pytest
import tensorflow as tf

from checkout import REFERENCE
from tf_sg2.errors import InputError
from tf_sg2.training import augment
from tf_sg2.training.augment import color, filters, pipeline

pytestmark = pytest.mark.stack

DEBUG = np.load(REFERENCE / "ada" / "debug_24x40.npz")
RANDOM = {
    name: np.load(REFERENCE / "ada" / f"random_{name}.npz")
    for name in ("bgcfnc", "bg_24x40", "grey")
}
DEBUG_CASES = sorted(key.removesuffix("/out") for key in DEBUG if key.endswith("/out"))
RANDOM_NUMBERS = np.random.default_rng(0)


def nhwc(images):
    return np.transpose(images, [0, 2, 3, 1])


def official(name):
    data = RANDOM[name]
    parameters = {key: data[key] for key in data if key.startswith("param/")}
    return tf.constant(nhwc(data["in"])), parameters, data


def some_images(count=3, height=24, width=40, channels=3):
    return tf.constant(
        RANDOM_NUMBERS.uniform(-1, 1, [count, height, width, channels]).astype(np.float32)
    )


@pytest.mark.parametrize("case", DEBUG_CASES)
def test_percentiles_equal_official(case):
    pipe, percentile = case.split("/p")
    images = tf.constant(nhwc(DEBUG["in"]))
    parameters = augment.debug_parameters(pipe, float(percentile), 1, (24, 40))
    if f"{case}/noise_normal" in DEBUG:
        parameters["noise_normal"] = nhwc(DEBUG[f"{case}/noise_normal"])
    with tf.GradientTape() as tape:
        tape.watch(images)
        out = augment.apply(images, parameters)
        total = tf.reduce_sum(out * nhwc(DEBUG["grad_noise"]))
    np.testing.assert_allclose(out, nhwc(DEBUG[f"{case}/out"]), atol=1e-4)
    if f"{case}/grad" in DEBUG:
        gradient = tape.gradient(total, images)
        np.testing.assert_allclose(gradient, nhwc(DEBUG[f"{case}/grad"]), atol=5e-4)


@pytest.mark.parametrize("name", RANDOM)
def test_own_parameters_of_each_image_equal_official(name):
    images, parameters, data = official(name)
    with tf.GradientTape() as tape:
        tape.watch(images)
        out = augment.apply(images, parameters)
        total = tf.reduce_sum(out * nhwc(data["grad_noise"]))
    np.testing.assert_allclose(out, nhwc(data["out"]), atol=1e-4)
    np.testing.assert_allclose(tape.gradient(total, images), nhwc(data["grad"]), atol=5e-4)


def test_filters_equal_official():
    data = np.load(REFERENCE / "ada" / "filters.npz")
    np.testing.assert_allclose(filters.band_taps(), data["filter_bank"], atol=1e-7)
    np.testing.assert_allclose(filters.resampling_taps(), data["geom_filter"], atol=1e-7)


def test_colour_maps_equal_official():
    data = np.load(REFERENCE / "ada" / "colour_matrices.npz")
    for key in data:
        name, percentile = key.split("/p")
        pipe = "color" if name == "all" else name
        parameters = augment.debug_parameters(pipe, float(percentile), 1, (8, 8))
        parameters = {name: tf.constant(value) for name, value in parameters.items()}
        matrix, offset = color.color_maps(parameters, 1)
        found = np.concatenate([matrix[0], np.asarray(offset)[0][:, None]], axis=1)
        np.testing.assert_allclose(found, data[key], atol=1e-5, err_msg=key)


def test_second_derivative_equals_differences():
    images, parameters, _ = official("bgcfnc")

    def slope(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(tf.sin(augment.apply(x, parameters)))
        return tape.gradient(total, x)

    direction = tf.constant(RANDOM_NUMBERS.standard_normal(images.shape).astype(np.float32))
    with tf.GradientTape() as tape:
        tape.watch(images)
        product = tf.reduce_sum(slope(images) * direction)
    second = tape.gradient(product, images)
    step = 1e-2
    differences = (slope(images + step * direction) - slope(images - step * direction)) / (2 * step)
    error = tf.norm(second - differences) / tf.norm(differences)
    assert float(tf.norm(differences)) > 1
    assert float(error) < 5e-3


def test_image_does_not_depend_on_its_batch_in_training():
    images, parameters, _ = official("bgcfnc")
    parameters = {name: np.asarray(value) for name, value in parameters.items()}
    together = augment.apply(images, parameters, share_margins=False)
    for i in range(len(images)):
        own = {name: value[i : i + 1] for name, value in parameters.items()}
        alone = augment.apply(images[i : i + 1], own)
        np.testing.assert_allclose(together[i : i + 1], alone, atol=2e-5)


def test_mask_moves_but_keeps_its_colour():
    images = some_images(channels=4)
    parameters = augment.debug_parameters("bgcfn", 0.9, 3, (24, 40))
    parameters["noise_normal"] = RANDOM_NUMBERS.standard_normal(images.shape)
    out = augment.apply(images, parameters)
    moved = augment.apply(images[..., 3:], augment.debug_parameters("bg", 0.9, 3, (24, 40)))
    np.testing.assert_allclose(out[..., 3:], moved, atol=1e-5)
    seen = dict(parameters, noise_normal=parameters["noise_normal"][..., :3])
    np.testing.assert_allclose(out[..., :3], augment.apply(images[..., :3], seen), atol=1e-5)


def test_cutout_reaches_the_mask():
    images = some_images(channels=4)
    out = augment.apply(images, augment.debug_parameters("cutout", 0.5, 3, (24, 40)))
    is_cut = np.zeros([24, 40], bool)
    is_cut[6:18, 10:30] = True
    np.testing.assert_array_equal(np.asarray(out) == 0, np.tile(is_cut[..., None], [3, 1, 1, 4]))


def test_identity_parameters_return_the_input():
    images = some_images()
    identity = {
        **dict.fromkeys(["xflip_i", "rotate90_i", "rotate_pre", "rotate_post"], np.zeros(3)),
        **dict.fromkeys(["scale_s", "aniso_s", "contrast_c", "saturation_s"], np.ones(3)),
        **dict.fromkeys(["xint_t", "xfrac_t"], np.zeros([3, 2])),
        **dict.fromkeys(["brightness_b", "lumaflip_i", "hue_theta"], np.zeros(3)),
        "imgfilter_t": np.ones([3, 4]),
        "cutout_size": np.zeros(3),
        "cutout_center_xy": np.full([3, 2], 0.5),
    }
    np.testing.assert_allclose(augment.apply(images, identity), images, atol=5e-6)
    np.testing.assert_array_equal(augment.apply(images, {}), images)


def test_whole_pixels_move_exactly_inside():
    images = some_images()
    out = augment.apply(images, {"xint_pixels": np.tile([3.0, -2.0], [3, 1])})
    np.testing.assert_allclose(out[:, 8:14, 12:28], images[:, 10:16, 9:25], atol=1e-5)


def test_empty_batch_is_returned():
    parameters = augment.debug_parameters("bgc", 0.5, 0, (24, 40))
    assert augment.apply(np.zeros([0, 24, 40, 3]), parameters).shape == [0, 24, 40, 3]


@pytest.mark.parametrize(
    ("images", "parameters", "sentence"),
    [
        (
            np.zeros([2, 8, 8, 2]),
            {},
            "images to augment have shape (2, 8, 8, 2); it must be [N, H, W, C] with 1, 3 or 4 "
            "channels",
        ),
        (
            np.zeros([2, 8, 8, 3]),
            {"scale": np.ones(2)},
            "augmentation has no parameter 'scale'; the names are " + ", ".join(pipeline.NAMES),
        ),
        (
            np.zeros([2, 8, 8, 3]),
            {"scale_s": np.ones(3)},
            "the augmentation parameter scale_s has shape (3,); for these images it must be [2]",
        ),
        (
            np.zeros([2, 8, 8, 3]),
            {"noise_sigma": np.ones(2)},
            "noise_sigma and noise_normal belong together; give both or neither",
        ),
        (
            np.zeros([2, 21, 40, 3]),
            {"imgfilter_t": np.ones([2, 4])},
            "the augmentation imgfilter needs images of at least 22 pixels a side, and these are "
            "21x40; take a pipe without it, such as bgc",
        ),
    ],
)
def test_bad_input_is_one_sentence(images, parameters, sentence):
    with pytest.raises(InputError) as error:
        augment.apply(images, parameters)
    assert str(error.value) == sentence

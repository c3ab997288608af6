"""The draws of the parameters: gates, places and statistics."""

import numpy as np
import pytest
import tensorflow as tf

from checkout import REFERENCE
from tf_sg2.errors import InputError
from tf_sg2.training import augment
from tf_sg2.training.augment.parameters import PIPES, TRANSFORMS, parameters_of
from tf_sg2.training.draws import Phase, augmentation_seeds

pytestmark = pytest.mark.stack

# What the official code draws for each transform, in its order: values and gates.
OFFICIAL_ORDER = {
    "xflip": ["u_xflip", "u_gate_xflip"],
    "rotate90": ["u_rotate90", "u_gate_rotate90"],
    "xint": ["u_xint_x u_xint_y", "u_gate_xint"],
    "scale": ["n_scale", "u_gate_scale"],
    "rotate": ["u_rotate_pre", "u_gate_rotate_pre"],
    "aniso": ["n_aniso", "u_gate_aniso", "u_rotate_post", "u_gate_rotate_post"],
    "xfrac": ["n_xfrac_x n_xfrac_y", "u_gate_xfrac"],
    "brightness": ["n_brightness", "u_gate_brightness"],
    "contrast": ["n_contrast", "u_gate_contrast"],
    "lumaflip": ["u_lumaflip", "u_gate_lumaflip"],
    "hue": ["u_hue", "u_gate_hue"],
    "saturation": ["n_saturation", "u_gate_saturation"],
    "imgfilter": [f"{kind}imgfilter_{k}" for k in range(4) for kind in ("n_", "u_gate_")],
    "noise": ["n_noise", "u_gate_noise", "noise image"],
    "cutout": ["u_gate_cutout", "u_cutout_x u_cutout_y"],
}


def seeds_of(positions):
    return augmentation_seeds(tf.constant(positions, tf.int64), 5, Phase.R1)


SEEDS = seeds_of(range(2000))


def official_draws(data, members):
    order = [name for member in members for name in OFFICIAL_ORDER[member]]
    stored = {key[4:6]: data[key] for key in data if key.startswith("draw")}
    draws = {}
    for place, names in enumerate(order):
        if names == "noise image":
            continue
        values = stored[f"{place:02d}"].reshape([6, -1])
        for column, name in enumerate(names.split()):
            draws[name] = tf.constant(values[:, column])
    return draws


@pytest.mark.parametrize(("name", "without"), [("bgcfnc", ()), ("grey", ("hue", "saturation"))])
def test_official_random_numbers_give_the_official_parameters(name, without):
    data = np.load(REFERENCE / "ada" / f"random_{name}.npz")
    members = [member for member in data["members"] if member not in without]
    found = parameters_of(members, data["p"], official_draws(data, members))
    left_out = {"param/xint_pixels", "param/noise_normal"}
    assert {f"param/{key}" for key in found} == {
        key for key in data if key.startswith("param/")
    } - left_out
    for key, value in found.items():
        np.testing.assert_allclose(value, data[f"param/{key}"], atol=1e-5, err_msg=key)


@pytest.mark.parametrize("probability", [0.0, 0.3, 1.0])
def test_share_of_changed_images_is_the_probability(probability):
    drawn = augment.draw_parameters("bgcf", probability, SEEDS)

    def share_other_than(identity, *names):
        changed = [
            np.any(np.reshape(np.asarray(drawn[name]) != identity, [2000, -1]), axis=1)
            for name in names
        ]
        return np.mean(np.any(changed, axis=0))

    for names, identity, factor in (
        (["scale_s"], 1, 1),
        (["aniso_s"], 1, 1),
        (["rotate_pre", "rotate_post"], 0, 1),
        (["xfrac_t"], 0, 1),
        (["contrast_c"], 1, 1),
        (["xflip_i"], 0, 1 / 2),
        (["rotate90_i"], 0, 3 / 4),
    ):
        expected = factor * probability
        assert abs(share_other_than(identity, *names) - expected) < 0.03, names


def test_strengths_scale_the_values():
    weak = augment.draw_parameters("geom", 1.0, SEEDS, strengths={"xfrac": 0.01})
    strong = augment.draw_parameters("geom", 1.0, SEEDS, strengths={"xfrac": 0.1})
    np.testing.assert_allclose(np.std(weak["xfrac_t"]), 0.01, rtol=0.05)
    np.testing.assert_allclose(strong["xfrac_t"], 10 * np.asarray(weak["xfrac_t"]), rtol=1e-5)
    np.testing.assert_array_equal(strong["scale_s"], weak["scale_s"])


def test_sample_keeps_its_parameters_in_any_batch_and_pipe():
    shape = (24, 40, 3)
    whole = augment.draw_parameters("bgcfnc", 0.5, seeds_of(range(6)), image_shape=shape)
    part = augment.draw_parameters("bgcfnc", 0.5, seeds_of([2, 3]), image_shape=shape)
    fewer = augment.draw_parameters("geom", 0.5, seeds_of(range(6)))
    for name, value in part.items():
        np.testing.assert_array_equal(value, whole[name][2:4], err_msg=name)
    for name, value in fewer.items():
        np.testing.assert_array_equal(value, whole[name], err_msg=name)


def test_pipes_name_transforms():
    assert augment.transforms_of("bgc") == PIPES["bg"] + PIPES["color"]
    assert augment.transforms_of(["cutout", "xflip"]) == ("xflip", "cutout")
    assert set(augment.transforms_of("bgcfnc")) == set(TRANSFORMS)


def test_bad_input_is_one_sentence():
    with pytest.raises(InputError, match="there is no augmentation 'bcg'; the pipes are blit, "):
        augment.transforms_of("bcg")
    with pytest.raises(InputError, match="percentile is 1; it must be between 0 and 1"):
        augment.debug_parameters("bgc", 1, 2, (8, 8))
    with pytest.raises(InputError, match="the augmentation noise needs the image shape"):
        augment.draw_parameters("noise", 1.0, SEEDS)

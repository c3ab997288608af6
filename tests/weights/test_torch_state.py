"""Official names and layouts, in both directions, and errors that name every array."""

import numpy as np
import pytest

from tf_sg2 import Discriminator, DiscriminatorConfig, Generator, GeneratorConfig, InputError
from tf_sg2.weights import export_torch_state, load_torch_state

SMALL = {"image_size": (12, 20), "channel_base": 64, "channel_max": 4}


def networks(label_dim=0, architectures=("skip", "resnet"), **fields):
    generator = GeneratorConfig(
        z_dim=4,
        w_dim=5,
        mapping_layers=2,
        label_dim=label_dim,
        architecture=architectures[0],
        **SMALL | fields,
    )
    discriminator = DiscriminatorConfig(
        label_dim=label_dim, architecture=architectures[1], **SMALL | fields
    )
    return Generator(generator), Discriminator(discriminator)


def random_state(*pair):
    """Returns arrays of the right names and shapes with random values."""
    rng = np.random.default_rng(6)
    return {
        name: rng.normal(size=array.shape).astype(np.float32)
        for name, array in export_torch_state(*pair).items()
    }


def weights(*pair):
    return [array for network in pair for array in network.get_weights()]


@pytest.mark.parametrize("label_dim", [0, 3])
@pytest.mark.parametrize(
    "architectures", [("skip", "resnet"), ("resnet", "skip"), ("orig", "orig")]
)
def test_every_weight_survives_the_way_there_and_back(label_dim, architectures):
    pair = networks(label_dim, architectures)
    state = random_state(*pair)
    assert len(state) == sum(len(network.weights) for network in pair)
    load_torch_state(*pair, state)
    exported = export_torch_state(*pair)
    assert exported.keys() == state.keys()
    for name, array in state.items():
        np.testing.assert_array_equal(exported[name], array, err_msg=name)
    copies = networks(label_dim, architectures)
    load_torch_state(*copies, exported)
    for ours, theirs in zip(weights(*pair), weights(*copies), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_names_and_layouts_are_the_official_ones():
    """The shapes follow the official layouts: [out, in, k, k], [out, in], [C, H, W]."""
    shapes = {
        name: array.shape
        for name, array in export_torch_state(*networks(3, ("resnet", "resnet"))).items()
    }
    expected = {
        "G/mapping.embed.weight": (5, 3),
        "G/mapping.fc0.weight": (5, 9),
        "G/mapping.fc0.bias": (5,),
        "G/mapping.w_avg": (5,),
        "G/synthesis.b4.const": (4, 3, 5),
        "G/synthesis.b4.conv1.weight": (4, 4, 3, 3),
        "G/synthesis.b4.conv1.affine.weight": (4, 5),
        "G/synthesis.b4.conv1.noise_strength": (),
        "G/synthesis.b4.conv1.noise_const": (3, 5),
        "G/synthesis.b8.conv0.bias": (4,),
        "G/synthesis.b8.skip.weight": (4, 4, 1, 1),
        "G/synthesis.b16.torgb.weight": (3, 4, 1, 1),
        "G/synthesis.b16.torgb.affine.bias": (4,),
        "D/b16.fromrgb.weight": (4, 3, 1, 1),
        "D/b16.conv0.weight": (4, 4, 3, 3),
        "D/b8.skip.weight": (4, 4, 1, 1),
        "D/b4.conv.weight": (4, 5, 3, 3),
        "D/b4.fc.weight": (4, 60),
        "D/b4.out.weight": (4, 4),
        "D/mapping.fc7.weight": (4, 4),
    }
    assert {name: shapes.get(name) for name in expected} == expected


def test_first_dense_layer_of_the_discriminator_reads_channels_first_there():
    _, discriminator = networks()
    state = random_state(None, discriminator)
    load_torch_state(None, discriminator, state)
    official = state["D/b4.fc.weight"].reshape(4, 4, 3, 5)  # [out, C, H, W]
    ours = np.asarray(discriminator.epilogue.fc.weight).reshape(3, 5, 4, 4)  # [H, W, C, out]
    np.testing.assert_array_equal(ours, official.transpose(2, 3, 1, 0))


def test_either_half_may_be_missing_and_other_keys_are_ignored():
    generator, discriminator = networks()
    state = random_state(generator, discriminator)
    halves = {
        letter: {name: array for name, array in state.items() if name.startswith(letter)}
        for letter in "GD"
    }
    before = weights(discriminator)
    load_torch_state(generator, discriminator, {**halves["G"], "images": np.zeros(3)})
    for ours, theirs in zip(weights(discriminator), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    load_torch_state(None, discriminator, state)
    assert export_torch_state(None, discriminator).keys() == halves["D"].keys()
    assert export_torch_state(generator, None).keys() == halves["G"].keys()
    for name, array in export_torch_state(generator, discriminator).items():
        np.testing.assert_array_equal(array, state[name])


def test_resampling_filters_are_checked_not_loaded():
    pair = networks()
    state = random_state(*pair)
    kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    load_torch_state(*pair, {**state, "G/synthesis.b8.resample_filter": kernel})
    for wrong in (np.ones((4, 4)) / 16, np.ones((2, 2)) / 4):
        with pytest.raises(
            InputError, match=r"D/b8\.resample_filter is not the configured filter \(1.0,"
        ):
            load_torch_state(*pair, {**state, "D/b8.resample_filter": wrong})


def test_every_misfit_is_named_and_nothing_is_changed():
    pair = networks()
    state = random_state(*pair)
    before = weights(*pair)
    del state["G/synthesis.b4.const"], state["D/b4.out.bias"]
    state["G/synthesis.b32.const"] = np.zeros(3)
    state["D/b16.conv0.weight"] = np.zeros((4, 4, 1, 1))
    with pytest.raises(InputError) as caught:
        load_torch_state(*pair, state)
    message = str(caught.value)
    for part in (
        "G/synthesis.b4.const is missing",
        "D/b4.out.bias is missing",
        "G/synthesis.b32.const is left over",
        "D/b16.conv0.weight has shape (4, 4, 1, 1), expected (4, 4, 3, 3)",
    ):
        assert part in message
    assert message.count(";") == 3
    for ours, theirs in zip(weights(*pair), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_weights_of_another_architecture_are_refused_by_name():
    state = export_torch_state(*networks(architectures=("resnet", "resnet")))
    with pytest.raises(InputError, match=r"torgb\.weight is missing.*skip\.weight is left over"):
        load_torch_state(*networks(), state)


def test_labels_of_another_width_are_refused_by_name():
    state = export_torch_state(*networks(label_dim=3))
    with pytest.raises(InputError, match=r"G/mapping\.embed\.weight has shape \(5, 3\), expected"):
        load_torch_state(*networks(label_dim=2), state)


def test_arrays_of_neither_network_are_refused():
    with pytest.raises(
        InputError, match="no weights of these networks; names must begin with G/ or D/"
    ):
        load_torch_state(*networks(), {"synthesis.b4.const": np.zeros(3)})

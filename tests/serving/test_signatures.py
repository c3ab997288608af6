"""The signatures of a served model: independent rows, checks, and results."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from tf_sg2.compat import raw_variable
from tf_sg2.config import GeneratorConfig
from tf_sg2.images import to_uint8
from tf_sg2.latent.renderer import Renderer
from tf_sg2.networks.generator import Generator
from tf_sg2.ops import use_implementation
from tf_sg2.serving.export.signatures import ServedModel, inputs_of, signatures_of
from tf_sg2.serving.export.warmup import example_inputs

pytestmark = [pytest.mark.slow, pytest.mark.stack]

LABELS = 3


@pytest.fixture(scope="module")
def generator():
    """Wide enough: TensorFlow sums a batch of 8 in another order than a batch of 1."""
    config = GeneratorConfig(
        image_size=(16, 20), z_dim=128, w_dim=128, mapping_layers=2, channel_base=512,
        channel_max=64, label_dim=LABELS,
    )  # fmt: skip
    generator = Generator(config)
    normal = tf.random.Generator.from_seed(0)
    for weight in generator.weights:
        raw_variable(weight).assign_add(normal.normal(weight.shape, stddev=0.3))
    return generator


def served(generator, rows_at_once=1):
    with use_implementation("tensorflow"):
        model = ServedModel(generator, generator.synthesis, rows_at_once)
        model.concrete_functions()
    return model


@pytest.fixture(scope="module", params=[1, 4])
def model(request, generator):
    return served(generator, request.param)


@pytest.fixture(scope="module")
def single(generator):
    return served(generator)


def answer(model, signature, **inputs):
    functions = model.concrete_functions()  # As they are exported: for any number of rows.
    known = inputs_of(model.config)
    inputs = {key: tf.constant(value, known[key].dtype) for key, value in inputs.items()}
    (value,) = functions[signature](**inputs).values()
    return value.numpy()


def rows_of(inputs, which):
    return {key: value[which] for key, value in inputs.items()}


@pytest.mark.parametrize("signature", signatures_of(GeneratorConfig((16, 20))))
def test_a_row_is_the_same_in_any_company(model, signature):
    inputs = example_inputs(model.config, signature, 16)
    alone = np.concatenate(
        [answer(model, signature, **rows_of(inputs, slice(i, i + 1))) for i in range(16)]
    )
    for count in (2, 3, 5, 8, 16):
        together = answer(model, signature, **rows_of(inputs, slice(count)))
        np.testing.assert_array_equal(together, alone[:count])
    order = np.random.default_rng(0).permutation(16)
    np.testing.assert_array_equal(answer(model, signature, **rows_of(inputs, order)), alone[order])


def test_no_rows_give_no_rows(model):
    for name, signature in signatures_of(model.config).items():
        inputs = rows_of(example_inputs(model.config, name, 1), slice(0))
        found = answer(model, name, **inputs)
        assert found.shape == (0, *signature.row.shape), name


def pixels(pngs):
    return np.stack([tf.io.decode_png(png).numpy() for png in pngs]).astype(int)


def test_a_seed_is_the_picture_that_generate_makes(single, generator):
    seeds = [0, 7, 2**62]
    label = np.eye(LABELS, dtype=np.float32)[1]
    wanted = np.stack(list(Renderer(generator, label, 0.7).seed_images(seeds)))
    found = answer(single, "generate", seed=seeds, truncation_psi=[0.7] * 3, labels=[label] * 3)
    assert np.abs(pixels(found) - wanted).max() <= 1  # Of 255: another order of summation.


def test_the_ways_to_a_picture_agree(single, generator):
    inputs = example_inputs(single.config, "serving_default", 2)
    ones = np.ones([2], np.float32)
    images = answer(single, "serving_default", **inputs)
    w = answer(single, "map", truncation_psi=ones, **inputs)
    assert np.abs(answer(single, "synthesize", w=w).astype(int) - images).max() <= 1
    np.testing.assert_array_equal(
        pixels(answer(single, "synthesize_png", w=w)), answer(single, "synthesize", w=w)
    )
    direct = to_uint8(generator(*inputs.values(), noise_mode="const")).numpy().astype(int)
    assert np.abs(direct - images).max() <= 1


def test_mixing_takes_the_first_layers_from_a(single):
    last = single.config.num_ws
    shared = {"truncation_psi": [0.7] * 3, "labels": np.eye(LABELS)[:1].repeat(3, 0)}
    mixed = answer(
        single, "style_mix", seed_a=[4] * 3, seed_b=[9] * 3, cutoff=[0, 2, last], **shared
    )
    pure = answer(single, "generate", seed=[9, 4, 4], **shared)
    assert mixed[0] == pure[0]
    assert mixed[2] == pure[2]
    assert mixed[1] not in (mixed[0], mixed[2])


def test_truncation_is_each_rows_own(single):
    inputs = example_inputs(single.config, "map", 2)
    inputs["truncation_psi"] = np.array([0.0, 1.0], np.float32)
    w = answer(single, "map", **inputs)
    average = np.asarray(tf.convert_to_tensor(single.generator.mapping.w_avg))
    np.testing.assert_allclose(w[0], np.broadcast_to(average, w[0].shape), atol=1e-6)
    assert np.abs(w[1] - average).max() > 0.1


@pytest.mark.parametrize(
    ("signature", "name", "value", "sentence"),
    [
        (
            "serving_default", "z", np.nan,
            "z holds NaN or infinity, or a number beyond 1,000,000; give smaller ones",
        ),
        ("serving_default", "z", 1e20, "z holds NaN or infinity, or a number beyond 1,000,000"),
        ("generate", "truncation_psi", 3e38, "truncation_psi holds NaN or infinity, or a number"),
        ("style_mix", "truncation_psi", -3e38, "truncation_psi holds NaN or infinity, or a number"),
        ("synthesize_png", "w", 1.001e6, "w holds NaN or infinity, or a number beyond"),
        ("map", "truncation_psi", np.inf, "truncation_psi holds NaN or infinity"),
        ("map", "labels", np.nan, "labels holds NaN or infinity"),
        ("synthesize", "w", -np.inf, "w holds NaN or infinity"),
        ("generate", "seed", -1, "seed holds a negative number; seeds are 0 or more"),
        ("style_mix", "seed_b", -5, "seed_b holds a negative number"),
        ("style_mix", "cutoff", -1, "cutoff is not in 0...6, the layers of this model"),
        ("style_mix", "cutoff", 7, "cutoff is not in 0...6"),
    ],
)  # fmt: skip
def test_unusable_values_are_refused_in_a_sentence(single, signature, name, value, sentence):
    inputs = example_inputs(single.config, signature, 2)
    inputs[name] = inputs[name].copy()
    inputs[name].flat[-1] = value
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        answer(single, signature, **inputs)
    assert sentence in str(caught.value)


def test_the_largest_numbers_still_give_pictures(single):
    """The values are extreme, but depend on the input."""
    inputs = example_inputs(single.config, "generate", 2)
    inputs["truncation_psi"] = np.array([1e6, -1e6], np.float32)
    pictures = pixels(answer(single, "generate", **inputs))
    assert all(len(np.unique(picture)) > 1 for picture in pictures)
    w = single.generator.mapping(
        *example_inputs(single.config, "serving_default", 2).values(), truncation_psi=1e6
    )
    assert np.isfinite(single.generator.synthesis(w, noise_mode="const")).all()


def test_an_unconditional_model_takes_no_labels():
    config = GeneratorConfig((16, 20))
    assert not any("labels" in signature.inputs for signature in signatures_of(config).values())


def test_every_input_and_output_is_batched(single):
    for name, function in single.concrete_functions().items():
        inputs, outputs = function.structured_input_signature[1], function.structured_outputs
        for key, spec in {**inputs, **outputs}.items():
            assert spec.shape.rank >= 1, (name, key)
            assert spec.shape[0] is None, (name, key)
            assert None not in spec.shape[1:], (name, key)

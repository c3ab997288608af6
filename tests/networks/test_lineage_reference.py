"""Configs A to E and the progressive GAN against numbers of the official TensorFlow 1 code."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tf_sg2
from checkout import REFERENCE
from tf_sg2.weights.tf1_state import _discriminator_entries, _generator_entries

pytestmark = pytest.mark.stack
FILES = sorted(path.stem for path in (REFERENCE / "lineage").glob("*.npz"))
SECOND_ORDER = 1e-3  # Norms of second-order gradients; everything else is held to 1e-4.

STYLEGAN = {
    "architecture": "orig",
    "growing": True,
    "activation_gain": "weight",
    "resampling": "nearest",
    "resample_filter": (1, 2, 1),
}
GENERATORS = {
    "A": {**STYLEGAN, "normalization": "adain"},
    "B": {"architecture": "orig", "growing": True},
    "P": {
        **STYLEGAN,
        "normalization": "pixel",
        "mapping_layers": 0,
        "resample_filter": (0, 1, 0),
        "fused_scaling": "always",
    },
}
DISCRIMINATORS = {
    "A": STYLEGAN,
    "B": {"architecture": "orig", "growing": True},
    "P": {**STYLEGAN, "resample_filter": (0, 1, 0)},
}


def networks(numbers, g_fields=None, d_fields=None):
    """Networks of the fields that a file stands for, with its weights."""
    meta = json.loads(str(numbers["meta_json"]))
    kind, *architectures = meta["kind"].split(":")
    g = GENERATORS.get(kind) or {"architecture": architectures[0]}
    d = DISCRIMINATORS.get(kind) or {"architecture": architectures[1]}
    shared = {
        "image_size": (meta["resolution"], meta["resolution"]),
        "label_dim": meta["label_size"],
        "channel_base": 2 * meta["fmap_base"],
        "channel_max": meta["fmap_max"],
    }
    generator = tf_sg2.Generator(
        tf_sg2.GeneratorConfig(
            **{"z_dim": 16, "w_dim": 16, "label_input": "concat", **shared, **g, **(g_fields or {})}
        )
    )
    discriminator = tf_sg2.Discriminator(
        tf_sg2.DiscriminatorConfig(**{"label_output": "dot", **shared, **d, **(d_fields or {})})
    )
    tf_sg2.weights.load_tf1_state(generator, discriminator, numbers)
    return generator, discriminator


def read(name):
    with np.load(REFERENCE / "lineage" / f"{name}.npz") as archive:
        return {key: archive[key] for key in archive.files}


@pytest.fixture(scope="module", params=FILES)
def case(request):
    numbers = read(request.param)
    generator, discriminator = networks(numbers)
    labels = tf.constant(numbers["labels"]) if "labels" in numbers else None
    return generator, discriminator, labels, numbers


def nhwc(images):
    return tf.constant(images.transpose(0, 2, 3, 1))


def nchw(images):
    return np.asarray(images).transpose(0, 3, 1, 2)


def close(actual, expected, relative=1e-4, message=""):
    """Compares the largest error with the largest value of the reference."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.shape == expected.shape, message
    error = np.abs(actual - expected).max() / np.abs(expected).max()
    assert error <= relative, (message, error)


def lods_of(numbers, prefix):
    """The levels of detail with a key `prefix`/lod...: the text of each and its number."""
    texts = {key.split("/")[1] for key in numbers if key.startswith(f"{prefix}/lod")}
    return [(text, float(text.removeprefix("lod"))) for text in sorted(texts)]


def lod_argument(generator, lod):
    return {"lod": lod} if generator.config.growing else {}


def latents(generator, numbers, labels):
    if "ws" in numbers:
        return tf.constant(numbers["ws"])
    return generator.mapping(tf.constant(numbers["z"]), labels)


def test_mapping_equals_official(case):
    generator, _, labels, numbers = case
    if "ws" in numbers:
        close(generator.mapping(tf.constant(numbers["z"]), labels), numbers["ws"])
    truncated = [("ws_psi0.7_cut4", 0.7, 4), ("ws_psi0.5_cutNone", 0.5, None)]
    for key, psi, cutoff in truncated:
        if key in numbers:
            w = generator.mapping(
                tf.constant(numbers["z"]), labels, truncation_psi=psi, truncation_cutoff=cutoff
            )
            close(w, numbers[key], message=key)


def test_images_equal_official_at_every_lod(case):
    generator, _, labels, numbers = case
    w = latents(generator, numbers, labels)
    for text, lod in lods_of(numbers, "img"):
        image = generator.synthesis(w, noise_mode="const", **lod_argument(generator, lod))
        close(nchw(image), numbers[f"img/{text}"], message=text)
    for text, lod in lods_of(numbers, "img_layers"):
        image = generator.synthesis(
            tf.constant(numbers["ws_layers"]), noise_mode="const", **lod_argument(generator, lod)
        )
        close(nchw(image), numbers[f"img_layers/{text}"], message=f"layers {text}")
    if "img_no_noise/lod0" in numbers:
        close(nchw(generator.synthesis(w, noise_mode="none")), numbers["img_no_noise/lod0"])


def test_scores_equal_official_at_every_lod(case):
    generator, discriminator, labels, numbers = case
    for text, lod in lods_of(numbers, "score_real"):
        given = lod_argument(generator, lod)
        for key, images in (("score_real", "real"), ("score_fake", f"img/{text}")):
            scores = discriminator(nhwc(numbers[images]), labels, **given)
            close(scores, numbers[f"{key}/{text}"], message=f"{key} {text}")
    if "score_real_first3/lod0" in numbers:
        first = None if labels is None else labels[:3]
        scores = discriminator(nhwc(numbers["real"][:3]), first)
        close(scores, numbers["score_real_first3/lod0"])


def test_gradients_by_latents_equal_official(case):
    generator, _, labels, numbers = case
    synthesis, direction = generator.synthesis, nhwc(numbers["image_noise"])
    z, w = tf.constant(numbers["z"]), latents(generator, numbers, labels)
    source = z if generator.config.num_ws == 1 else w
    for text, lod in lods_of(numbers, "dw"):
        with tf.GradientTape() as tape:
            tape.watch(source)
            given = generator.mapping(z) if source is z else w
            image = synthesis(given, noise_mode="const", **lod_argument(generator, lod))
            total = tf.reduce_sum(image * direction)
        close(tape.gradient(total, source), numbers[f"dw/{text}"], message=text)


def parameter_gradients(tape, target, entries, numbers, prefix):
    """Compares the norm of the gradient by each variable."""
    expected = {key.removeprefix(prefix): numbers[key] for key in numbers if key.startswith(prefix)}
    entries = [entry for entry in entries if entry.name in expected]
    assert len(entries) == len(expected) > 0
    gradients = tape.gradient(target, [entry.variable for entry in entries])
    largest = max(norm for norm, _ in expected.values())
    for entry, gradient in zip(entries, gradients, strict=True):
        norm, _ = expected[entry.name]
        size = 0.0 if gradient is None else tf.norm(gradient)
        assert abs(size - norm) <= SECOND_ORDER * norm + 1e-6 * largest, entry.name


def test_r1_equals_official_to_second_order(case):
    generator, discriminator, labels, numbers = case
    real = nhwc(numbers["real"])
    for text, lod in lods_of(numbers, "r1_penalty"):
        given = lod_argument(generator, lod)
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(real)
                total = tf.reduce_sum(discriminator(real, labels, **given))
            gradient = inner.gradient(total, real)
            penalty = tf.reduce_sum(tf.square(gradient), axis=[1, 2, 3])
            loss = 5 * tf.reduce_mean(penalty)
        close(penalty, numbers[f"r1_penalty/{text}"], message=text)
        if f"r1_grad/{text}" in numbers:
            close(nchw(gradient), numbers[f"r1_grad/{text}"], message=text)
        prefix = f"r1_dtheta/{text}/"
        if any(key.startswith(prefix) for key in numbers):
            parameter_gradients(outer, loss, _discriminator_entries(discriminator), numbers, prefix)


def test_path_lengths_equal_official_to_second_order(case):
    generator, _, labels, numbers = case
    z, w = tf.constant(numbers["z"]), latents(generator, numbers, labels)
    source = z if generator.config.num_ws == 1 else w
    size = generator.config.image_size[0]
    direction = nhwc(numbers["image_noise"]) / size
    for text, lod in lods_of(numbers, "pl_lengths"):
        with tf.GradientTape() as outer:
            with tf.GradientTape() as inner:
                inner.watch(source)
                given = generator.mapping(z) if source is z else w
                image = generator.synthesis(
                    given, noise_mode="const", **lod_argument(generator, lod)
                )
                total = tf.reduce_sum(image * direction)
            squares = tf.reduce_sum(tf.square(inner.gradient(total, source)), axis=-1)
            squares = squares if source is z else tf.reduce_mean(squares, axis=1)
            lengths = tf.sqrt(squares)
            loss = tf.reduce_mean(tf.square(lengths - 0.3))
        close(lengths, numbers[f"pl_lengths/{text}"], message=text)
        prefix = f"pl_dtheta/{text}/"
        if any(key.startswith(prefix) for key in numbers):
            parameter_gradients(outer, loss, _generator_entries(generator), numbers, prefix)


@pytest.mark.parametrize("name", ["configA_res32", "configBCD_res32", "pggan_res16"])
def test_lod_as_a_tensor_equals_official(name):
    """One graph serves every lod; each block is computed, with its share."""
    numbers = read(name)
    generator, discriminator = networks(numbers)
    w = latents(generator, numbers, None)

    @tf.function
    def both(lod):
        images = generator.synthesis(w, noise_mode="const", lod=lod)
        return images, discriminator(nhwc(numbers["real"]), lod=lod)

    for text, lod in lods_of(numbers, "img"):
        images, scores = both(tf.constant(lod))
        close(nchw(images), numbers[f"img/{text}"], message=text)
        close(scores, numbers[f"score_real/{text}"], message=text)


@pytest.mark.parametrize(
    ("file", "key", "fields"),
    [
        ("configA_res32", "fused_true", {"fused_scaling": "always"}),
        ("configA_cond3_res16", "fused_true", {"fused_scaling": "always"}),
        ("configA_res32", "no_blur", {"resample_filter": (0, 1, 0)}),
        ("configA_cond3_res16", "no_blur", {"resample_filter": (0, 1, 0)}),
    ],
)
def test_variants_of_config_a_equal_official(file, key, fields):
    numbers = read(file)
    d_fields = {name: value for name, value in fields.items() if name == "resample_filter"}
    generator, discriminator = networks(numbers, fields, d_fields)
    labels = tf.constant(numbers["labels"]) if "labels" in numbers else None
    found = lods_of(numbers, f"img_{key}")
    assert found
    for text, lod in found:
        image = generator.synthesis(tf.constant(numbers["ws"]), noise_mode="const", lod=lod)
        close(nchw(image), numbers[f"img_{key}/{text}"], message=text)
        scores = discriminator(nhwc(numbers["real"]), labels, lod=lod)
        close(scores, numbers[f"score_real_{key}/{text}"], message=text)


@pytest.mark.parametrize("name", [name for name in FILES if "auto" not in name])
def test_stddev_groups_of_two_equal_official(name):
    numbers = read(name)
    _, discriminator = networks(numbers, None, {"minibatch_stddev_group": 2})
    labels = tf.constant(numbers["labels"]) if "labels" in numbers else None
    scores = discriminator(nhwc(numbers["real"]), labels)
    close(scores, numbers["score_real_group2/lod0"])


# With demodulation, the epsilon of the official TensorFlow code stands beside weights that are
# divided by the square root of their fan-in, and ours, as in the PyTorch code, beside raw ones.
@pytest.mark.parametrize("name", ["configA_res32", "configA_cond3_res16", "pggan_res16"])
def test_small_numbers_that_need_the_epsilons_equal_official(name):
    numbers = read(name)
    generator, _ = networks(numbers)
    z = tf.constant(numbers["z"] * np.float32(1e-4))
    labels = tf.zeros_like(numbers["labels"]) if "labels" in numbers else None
    if "ws_epsilon_probe" in numbers:
        close(generator.mapping(z, labels), numbers["ws_epsilon_probe"])
    kind = generator.config.normalization
    if kind == "pixel":
        image = generator(z, noise_mode="const")
    else:
        for part in ("Const/const", "Const/bias", "Const/Noise/weight"):
            key = f"G/G_synthesis/4x4/{part}"
            numbers = {**numbers, key: numbers[key] * np.float32(1e-3)}
        generator, _ = networks(numbers)
        image = generator.synthesis(tf.constant(numbers["ws"]), noise_mode="const")
    close(nchw(image), numbers["img_epsilon_probe/lod0"])

"""Configurations as data: JSON, texts from the command line, differences, refusals."""

import dataclasses
import json
import math

import pytest

from tf_sg2 import config
from tf_sg2.config import (
    Config,
    DataConfig,
    DiscriminatorConfig,
    GeneratorConfig,
    OptimizerConfig,
    TrainingConfig,
    presets,
)
from tf_sg2.errors import InputError

SMALL = presets.get("cards", image_channels=4, label_dim=3)


@pytest.mark.parametrize(
    ("text", "size"),
    [("96x160", (96, 160)), ("64", (64, 64)), (" 48X80 ", (48, 80)), ("1024x1024", (1024, 1024))],
)
def test_image_size_is_read(text, size):
    assert config.parse_image_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "x", "96x", "96x160x3", "-4x4", "0", "9.5", "96,160", "big", "²", "9" * 5000],
)
def test_image_size_is_refused(text):
    with pytest.raises(InputError, match=f"image size {text!r} is not HEIGHTxWIDTH"):
        config.parse_image_size(text)


def test_image_size_beyond_any_picture_is_refused():
    with pytest.raises(InputError, match="'64x1000000000000': a side is at most 65536 pixels"):
        config.parse_image_size("64x1000000000000")


@pytest.mark.parametrize(
    ("size", "base", "doublings"),
    [
        ((64, 64), (4, 4), 4),
        ((1024, 1024), (4, 4), 8),
        ((96, 160), (3, 5), 5),
        ((48, 80), (3, 5), 4),
        ((384, 640), (3, 5), 7),
        ((28, 28), (7, 7), 2),
        ((20, 36), (5, 9), 2),
        ((160, 96), (5, 3), 5),
        ((6, 6), (3, 3), 1),
        ((8, 40), (4, 20), 1),
    ],
)
def test_base_is_where_halving_stops(size, base, doublings):
    assert config.base_size(size) == (base, doublings)


@pytest.mark.parametrize("size", [(5, 5), (100, 100), (63, 64), (18, 18), (4, 4), (0, 0), (-8, 8)])
def test_size_that_is_no_doubled_base_is_refused(size):
    with pytest.raises(InputError, match=rf"image size {size[0]}x{size[1]} is not base \* 2\^k"):
        config.base_size(size)


def test_levels_double_and_their_width_follows_the_square_equivalent():
    levels = GeneratorConfig((48, 80), channel_base=1024, channel_max=96).levels
    assert [(level.height, level.width) for level in levels] == [
        (3, 5),
        (6, 10),
        (12, 20),
        (24, 40),
        (48, 80),
    ]
    assert [level.square for level in levels] == [4, 8, 16, 32, 64]
    assert [level.channels for level in levels] == [96, 96, 64, 32, 16]
    assert GeneratorConfig((48, 80)).num_ws == 10
    assert GeneratorConfig((1024, 1024)).num_ws == 18
    assert DiscriminatorConfig((64, 64), channel_base=8).levels[-1].channels == 1


@pytest.mark.parametrize("name", presets.names())
def test_json_is_read_back_the_same(name, tmp_path):
    ours = presets.get(name)
    path = tmp_path / "config.json"
    path.write_text(config.to_json(ours), encoding="utf-8")
    assert config.load(path) == ours
    assert config.from_dict(json.loads(config.to_json(ours))) == ours
    assert config.to_json(ours).endswith("}\n")


def test_every_field_has_one_dotted_name():
    names = [name for name, _ in config.flatten(SMALL)]
    assert names == list(config.field_names())
    assert len(names) == len(set(names))
    assert {"generator.image_size", "training.r1_gamma", "data.mirror"} <= set(names)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("generator.image_size", "96x160", (96, 160)),
        ("training.batch_size", "64", 64),
        ("training.r1_gamma", "0.5", 0.5),
        ("training.r1_gamma", "2", 2.0),
        ("training.ema_rampup", "none", None),
        ("training.ema_rampup", "0.05", 0.05),
        ("generator.conv_clamp", "256", 256.0),
        ("data.mirror", "true", True),
        ("data.mirror", "False", False),
        ("data.mirror", "1", True),
        ("data.source", "folder/of cards", "folder/of cards"),
        ("generator.architecture", "resnet", "resnet"),
        ("generator.resample_filter", "1,2,2,1", (1.0, 2.0, 2.0, 1.0)),
        ("generator_optimizer.arguments", '{"clipnorm": 1}', {"clipnorm": 1}),
    ],
)
def test_field_is_set_by_text(name, text, value):
    values = {name: text}
    if name == "generator.image_size":
        values["discriminator.image_size"] = text
    changed = config.override(presets.get("cards"), values)
    actual = dict(config.flatten(changed))[name]
    assert actual == value
    assert type(actual) is type(value)
    unchanged = {key for key, _ in config.flatten(changed)} - set(values)
    before = dict(config.flatten(presets.get("cards")))
    assert all(dict(config.flatten(changed))[key] == before[key] for key in unchanged)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training.speed": "9"}, "unknown configuration field 'training.speed'"),
        ({"training": "9"}, "unknown configuration field 'training'"),
        (
            {"training.batch_size": "many"},
            "configuration field 'training.batch_size' cannot be 'many'; it is a whole number",
        ),
        (
            {"training.batch_size": "8.5"},
            "configuration field 'training.batch_size' cannot be '8.5'; it is a whole number",
        ),
        (
            {"training.batch_size": True},
            "configuration field 'training.batch_size' cannot be True; it is a whole number",
        ),
        (
            {"training.batch_size": math.inf},
            "configuration field 'training.batch_size' cannot be inf; it is a whole number",
        ),
        (
            {"training.r1_gamma": "nan"},
            "configuration field 'training.r1_gamma' cannot be 'nan'; it is a number",
        ),
        (
            {"training.r1_gamma": "inf"},
            "configuration field 'training.r1_gamma' cannot be 'inf'; it is a number",
        ),
        (
            {"data.mirror": "perhaps"},
            "configuration field 'data.mirror' cannot be 'perhaps'; it is true or false",
        ),
        (
            {"data.source": 3},
            "configuration field 'data.source' cannot be 3; it is a text",
        ),
        (
            {"generator.image_size": "9by9"},
            "image size '9by9' is not HEIGHTxWIDTH, such as 96x160, nor one number",
        ),
    ],
)
def test_override_is_refused(values, message):
    with pytest.raises(InputError) as caught:
        config.override(SMALL, values)
    assert str(caught.value) == message


def generator(**fields):
    return lambda: GeneratorConfig(**{"image_size": (64, 64), **fields})


def discriminator(**fields):
    return lambda: DiscriminatorConfig(**{"image_size": (64, 64), **fields})


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            generator(image_size=(60, 100)),
            "image size 60x100 is not base * 2^k with the smaller base side in 3...7 "
            "and k above 0 (halving stops at 15x25); take a size such as 64x64, 96x160 or 256x256",
        ),
        (
            generator(image_size=(64, 64, 3)),
            "generator.image_size is (64, 64, 3); it must be a height and a width in whole pixels",
        ),
        (
            discriminator(image_size=(64.0, 64.0)),
            "discriminator.image_size is (64.0, 64.0); "
            "it must be a height and a width in whole pixels",
        ),
        (generator(image_channels=2), "generator.image_channels is 2; it must be 1, 3 or 4"),
        (
            generator(architecture="dense"),
            "generator.architecture is 'dense'; it must be one of skip, resnet, orig",
        ),
        (
            discriminator(architecture="dense"),
            "discriminator.architecture is 'dense'; it must be one of resnet, skip, orig",
        ),
        (generator(channel_base=0), "generator.channel_base is 0; it must be at least 1"),
        (discriminator(channel_max=0), "discriminator.channel_max is 0; it must be at least 1"),
        (generator(label_dim=-1), "generator.label_dim is -1; it must not be negative"),
        (
            generator(conv_clamp=0.0),
            "generator.conv_clamp is 0.0; it must be positive, or none for no clamp",
        ),
        (
            discriminator(resample_filter=(1,)),
            "discriminator.resample_filter (1,) needs two or more taps and a sum above 0",
        ),
        (
            generator(resample_filter=(1, -1)),
            "generator.resample_filter (1, -1) needs two or more taps and a sum above 0",
        ),
        (
            generator(resample_filter=(-1, -1)),
            "generator.resample_filter (-1, -1) needs two or more taps and a sum above 0",
        ),
        (generator(z_dim=0), "generator.z_dim is 0; it must be at least 1"),
        (generator(mapping_layers=0), "generator.mapping_layers is 0; it must be at least 1"),
        (generator(w_avg_beta=1.0), "generator.w_avg_beta is 1.0; it must be in [0, 1)"),
        (
            generator(mapping_lr_multiplier=0),
            "generator.mapping_lr_multiplier is 0; it must be positive",
        ),
        (
            discriminator(minibatch_stddev_group=-1),
            "discriminator.minibatch_stddev_group is -1; "
            "it must be 0 (no such layer) or the group's size",
        ),
        (
            lambda: OptimizerConfig(learning_rate=0),
            "learning rate 0 of optimiser Adam must be positive",
        ),
        (lambda: OptimizerConfig(beta_2=1), "beta_2 1 of optimiser Adam must be in [0, 1)"),
        (lambda: OptimizerConfig(epsilon=0), "epsilon 0 of optimiser Adam must be positive"),
        (lambda: OptimizerConfig(epsilon=-1), "epsilon -1 of optimiser Adam must be positive"),
        (
            lambda: OptimizerConfig(arguments={"beta_1": 0.5}),
            "argument 'beta_1' of optimiser Adam has a field of its own; set that, so that it is "
            "corrected for lazy regularisation",
        ),
        (
            lambda: OptimizerConfig(arguments={"clipnorm": math.nan}),
            "argument 'clipnorm' of optimiser Adam is nan; it must be a finite number, true, "
            "false, null or a text",
        ),
        (
            lambda: OptimizerConfig(arguments={"clipnorm": [1]}),
            "argument 'clipnorm' of optimiser Adam is [1]; it must be a finite number, true, "
            "false, null or a text",
        ),
        (
            lambda: TrainingConfig(ema_rampup=-0.1),
            "training.ema_rampup is -0.1; it must be positive, or none for no ramp-up",
        ),
        (
            lambda: TrainingConfig(ema_rampup=0.0),
            "training.ema_rampup is 0.0; it must be positive, or none for no ramp-up",
        ),
        (
            lambda: TrainingConfig(seed=2**32),
            "training.seed is 4294967296; it must be below 2^32 = 4294967296",
        ),
        (
            lambda: TrainingConfig(sample_truncation_psi=math.nan),
            "training.sample_truncation_psi is nan; it must be a finite number",
        ),
        (
            lambda: TrainingConfig(total_kimg=math.inf),
            "training.total_kimg is inf; it must be positive",
        ),
        (lambda: TrainingConfig(tick_kimg=0), "training.tick_kimg is 0; it must be positive"),
        (lambda: TrainingConfig(batch_size=0), "training.batch_size is 0; it must be at least 1"),
        (
            lambda: TrainingConfig(r1_gamma=-1),
            "training.r1_gamma is -1; it must not be negative",
        ),
        (
            lambda: TrainingConfig(style_mixing_probability=1.5),
            "training.style_mixing_probability is 1.5; it must be in [0, 1]",
        ),
        (
            lambda: TrainingConfig(batch_size=32, accumulation_steps=3),
            "training.batch_size 32 is not a multiple of training.accumulation_steps 3",
        ),
        (
            lambda: Config(GeneratorConfig((64, 64)), DiscriminatorConfig((32, 32))),
            "generator.image_size is (64, 64) but discriminator.image_size is (32, 32); "
            "they must be the same",
        ),
        (
            lambda: Config(GeneratorConfig((64, 64), label_dim=2), DiscriminatorConfig((64, 64))),
            "generator.label_dim is 2 but discriminator.label_dim is 0; they must be the same",
        ),
        (
            lambda: config.from_dict({"generator": {}, "discriminator": {}}),
            "configuration field 'generator.image_size' is missing",
        ),
        (
            lambda: config.from_dict({"generator": {"image_size": 64}}),
            "configuration field 'generator.image_size' cannot be 64; it is a list of numbers",
        ),
        (
            lambda: config.from_dict({"data": {"sauce": ""}}),
            "unknown configuration field 'data.sauce'; data has source, mirror",
        ),
        (
            lambda: config.from_dict({"model": {}}),
            "unknown configuration field 'model'; the top level has generator, discriminator, "
            "generator_optimizer, discriminator_optimizer, data, training",
        ),
        (
            lambda: config.from_dict({"data": []}),
            "data. must be an object of fields, not []",
        ),
        (
            lambda: config.from_dict([]),
            "the configuration must be an object of fields, not []",
        ),
    ],
)
def test_configuration_is_refused(build, message):
    with pytest.raises(InputError) as caught:
        build()
    assert str(caught.value) == message


def test_file_is_refused_by_name(tmp_path):
    missing, text, wrong = (tmp_path / name for name in ("missing.json", "text.json", "wrong.json"))
    text.write_text("generator: yes")
    wrong.write_text('{"training": {"batch_size": 0}}')
    with pytest.raises(InputError, match="missing.json cannot be read: No such file"):
        config.load(missing)
    with pytest.raises(InputError, match="text.json is not JSON"):
        config.load(text)
    with pytest.raises(InputError, match="wrong.json: training.batch_size is 0"):
        config.load(wrong)


def test_a_file_without_newer_fields_is_read_with_their_defaults(tmp_path):
    values = config.to_dict(SMALL)
    assert values["training"].pop("tf32") is False
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert config.load(tmp_path / "config.json") == SMALL


def test_a_file_nested_beyond_measure_is_refused_by_name(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="deep.json is not JSON"):
        config.load(tmp_path / "deep.json")


def test_differences_name_both_values():
    other = config.override(
        SMALL, {"training.batch_size": 16, "generator.conv_clamp": 256, "data.source": "a.zip"}
    )
    assert config.differences(SMALL, SMALL) == []
    assert config.differences(SMALL, other) == [
        "generator.conv_clamp: None -> 256.0",
        f"data.source: {SMALL.data.source!r} -> 'a.zip'",
        "training.batch_size: 8 -> 16",
    ]


def test_configurations_are_frozen():
    for part in (SMALL, SMALL.generator, SMALL.training, DataConfig()):
        with pytest.raises(dataclasses.FrozenInstanceError):
            part.source = "other"


def test_every_field_has_a_meaning_and_no_meaning_lacks_a_field():
    from tf_sg2.config.meanings import MEANINGS

    assert set(MEANINGS) == set(config.field_names())

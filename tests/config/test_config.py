"""Configurations as data: JSON, texts from the command line, differences, refusals."""

import dataclasses
import json
import math

import pydantic
import pytest

from checkout import REFERENCE
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
        ("training.metrics", "fd, pr", ("fd", "pr")),
        ("training.metrics", "none", ()),
        ("training.metrics", "", ()),
        ("training.metrics_kimg", "none", None),
        ("training.metrics_samples", "2000", 2000),
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
            "training.batch_size is 'many'; it must be a valid integer (images per "
            "iteration, over all devices)",
        ),
        (
            {"training.batch_size": "8.5"},
            "training.batch_size is '8.5'; it must be a valid integer (images per iteration, "
            "over all devices)",
        ),
        (
            {"training.batch_size": True},
            "training.batch_size is True; it must be a number (images per iteration, over "
            "all devices)",
        ),
        (
            {"training.batch_size": math.inf},
            "training.batch_size is inf; it must be a finite number (images per iteration, "
            "over all devices)",
        ),
        (
            {"training.r1_gamma": "nan"},
            "training.r1_gamma is 'nan'; it must be a finite number (weight of R1, 0 for none)",
        ),
        (
            {"training.r1_gamma": "inf"},
            "training.r1_gamma is 'inf'; it must be a finite number (weight of R1, 0 for none)",
        ),
        (
            {"training.metrics": "fd,,pr"},
            "training.metrics is 'fd,,pr'; it must name each one once, separated by commas "
            "(metrics that are computed during training, such as fd,pr; none without)",
        ),
        (
            {"training.metrics": "fd,pr,fd"},
            "training.metrics is 'fd,pr,fd'; it must name each one once, separated by commas "
            "(metrics that are computed during training, such as fd,pr; none without)",
        ),
        (
            {"data.mirror": "perhaps"},
            "data.mirror is 'perhaps'; it must be a valid boolean (true mirrors images left "
            "to right, at random)",
        ),
        (
            {"data.source": 3},
            "data.source is 3; it must be a valid string (the same as --data)",
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
            "generator.image_size is (64, 64, 3); tuple should have at most 2 items after "
            "validation, not 3 (HxW in pixels; default: that of the data set)",
        ),
        (
            discriminator(image_size=(64.0, 64.0)),
            "discriminator.image_size.0 is 64.0; it must be a valid integer (HxW in pixels; "
            "default: that of the data set)",
        ),
        (
            generator(image_channels=2),
            "generator.image_channels is 2; it must be 1, 3 or 4 (channels of the images: 1, "
            "3 or 4; default: those of the data set)",
        ),
        (
            generator(architecture="dense"),
            "generator.architecture is 'dense'; it must be 'skip', 'resnet' or 'orig' "
            "(connections between levels: skip, resnet or orig)",
        ),
        (
            discriminator(architecture="dense"),
            "discriminator.architecture is 'dense'; it must be 'resnet', 'skip' or 'orig' "
            "(connections between levels: resnet, skip or orig)",
        ),
        (
            generator(channel_base=0),
            "generator.channel_base is 0; it must be greater than or equal to 1 (a level has "
            "channel_base / its square size channels)",
        ),
        (
            discriminator(channel_max=0),
            "discriminator.channel_max is 0; it must be greater than or equal to 1 (most "
            "channels per level)",
        ),
        (
            generator(label_dim=-1),
            "generator.label_dim is -1; it must be greater than or equal to 0 (width of the "
            "labels, 0 without)",
        ),
        (
            generator(conv_clamp=0.0),
            "generator.conv_clamp is 0.0; it must be greater than 0 (largest absolute "
            "activation, or none for no limit)",
        ),
        (
            discriminator(resample_filter=(1,)),
            "discriminator.resample_filter is (1,); it must have two or more taps and a sum "
            "above 0 (taps of the up- and downsampling filter)",
        ),
        (
            generator(resample_filter=(1, -1)),
            "generator.resample_filter is (1, -1); it must have two or more taps and a sum "
            "above 0 (taps of the up- and downsampling filter)",
        ),
        (
            generator(resample_filter=(-1, -1)),
            "generator.resample_filter is (-1, -1); it must have two or more taps and a sum "
            "above 0 (taps of the up- and downsampling filter)",
        ),
        (
            generator(z_dim=0),
            "generator.z_dim is 0; it must be greater than or equal to 1 (width of the latent z)",
        ),
        (
            generator(mapping_layers=0),
            "generator.mapping_layers is 0 but normalization is demodulation; it must be greater "
            "than or equal to 1 (only normalization pixel takes 0)",
        ),
        (
            generator(growing=True),
            "growing is true but architecture is skip; set architecture to orig, or growing to "
            "false",
        ),
        (
            generator(normalization="adain"),
            "generator.resampling is filter but normalization is adain; set resampling to nearest",
        ),
        (
            generator(resampling="nearest", architecture="orig"),
            "resampling is nearest but resample_filter has 4 taps; a blur needs an odd number of "
            "taps, such as 1,2,1, or 0,1,0 for none",
        ),
        (
            generator(activation_gain="weight"),
            "generator.activation_gain is weight but normalization is demodulation; set "
            "activation_gain to output",
        ),
        (
            generator(w_avg_beta=1.0),
            "generator.w_avg_beta is 1.0; it must be less than 1 (decay of the running mean "
            "of w, for truncation)",
        ),
        (
            generator(mapping_lr_multiplier=0),
            "generator.mapping_lr_multiplier is 0; it must be greater than 0 (factor of the "
            "learning rate in the mapping network)",
        ),
        (
            discriminator(minibatch_stddev_group=-1),
            "discriminator.minibatch_stddev_group is -1; it must be greater than or equal to "
            "0 (samples per group of the minibatch-stddev layer, 0 for no such layer)",
        ),
        (
            lambda: OptimizerConfig(learning_rate=0),
            "optimizer.learning_rate is 0; it must be greater than 0 (learning rate before "
            "the correction for lazy regularisation)",
        ),
        (
            lambda: OptimizerConfig(beta_2=1),
            "optimizer.beta_2 is 1; it must be less than 1 (decay of the second moment)",
        ),
        (
            lambda: OptimizerConfig(epsilon=0),
            "optimizer.epsilon is 0; it must be greater than 0 (small number in the denominator)",
        ),
        (
            lambda: OptimizerConfig(epsilon=-1),
            "optimizer.epsilon is -1; it must be greater than 0 (small number in the denominator)",
        ),
        (
            lambda: OptimizerConfig(arguments={"beta_1": 0.5}),
            "argument 'beta_1' of optimiser Adam has a field of its own; set that field, "
            "because it is corrected for lazy regularisation",
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
            "training.ema_rampup is -0.1; it must be greater than 0 (limits the half-life to "
            "this share of the run so far; none for no limit)",
        ),
        (
            lambda: TrainingConfig(ema_rampup=0.0),
            "training.ema_rampup is 0.0; it must be greater than 0 (limits the half-life to "
            "this share of the run so far; none for no limit)",
        ),
        (
            lambda: TrainingConfig(seed=2**32),
            "training.seed is 4294967296; it must be less than 4294967296 (seed of weights, "
            "latents, noise and the order of the images)",
        ),
        (
            lambda: TrainingConfig(sample_truncation_psi=math.nan),
            "training.sample_truncation_psi is nan; it must be a finite number (truncation "
            "psi of the samples; samples with psi 1 are written too)",
        ),
        (
            lambda: TrainingConfig(total_kimg=math.inf),
            "training.total_kimg is inf; it must be a finite number (length of the training "
            "in kimg)",
        ),
        (
            lambda: TrainingConfig(tick_kimg=0),
            "training.tick_kimg is 0; it must be greater than 0 (kimg between lines of the log)",
        ),
        (
            lambda: TrainingConfig(batch_size=0),
            "training.batch_size is 0; it must be greater than or equal to 1 (images per "
            "iteration, over all devices)",
        ),
        (
            lambda: TrainingConfig(r1_gamma=-1),
            "training.r1_gamma is -1; it must be greater than or equal to 0 (weight of R1, 0 "
            "for none)",
        ),
        (
            lambda: TrainingConfig(style_mixing_probability=1.5),
            "training.style_mixing_probability is 1.5; it must be less than or equal to 1 "
            "(share of the samples that mix the styles of two latents)",
        ),
        (
            lambda: TrainingConfig(batch_size=32, accumulation_steps=3),
            "training.batch_size 32 is not a multiple of training.accumulation_steps 3; "
            "change one of them",
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
            generator(depth=3),
            "unknown configuration field 'generator.depth'; generator has image_size, "
            "image_channels, label_dim, channel_base, channel_max, conv_clamp, resample_filter, "
            "resampling, activation_gain, growing, architecture, normalization, fused_scaling, "
            "z_dim, w_dim, mapping_layers, mapping_lr_multiplier, mapping_width, "
            "label_input, label_width, use_noise, w_avg_beta",
        ),
        (
            lambda: TrainingConfig(batch_size="many"),
            "training.batch_size is 'many'; it must be a valid integer (images per iteration, "
            "over all devices)",
        ),
        (lambda: GeneratorConfig(), "configuration field 'generator.image_size' is missing"),
        (
            lambda: OptimizerConfig(arguments="[1]"),
            "optimizer.arguments is [1]; it must be a valid dictionary (further arguments of "
            "the optimiser, a JSON object)",
        ),
        (
            lambda: OptimizerConfig(arguments="{"),
            "optimizer.arguments is '{'; it must be a JSON object (further arguments of the "
            "optimiser, a JSON object)",
        ),
        (
            lambda: config.from_dict({"generator": {}, "discriminator": {}}),
            "configuration field 'generator.image_size' is missing",
        ),
        (
            lambda: config.from_dict({"generator": {"image_size": 64}}),
            "generator.image_size is 64; it must be a valid tuple (HxW in pixels; default: "
            "that of the data set)",
        ),
        (
            lambda: config.from_dict({"data": {"sauce": ""}}),
            "unknown configuration field 'data.sauce'; data has source, mirror, holdout, group, "
            "heldout",
        ),
        (
            lambda: config.from_dict({"model": {}}),
            "unknown configuration field 'model'; the top level has generator, discriminator, "
            "generator_optimizer, discriminator_optimizer, data, training, augment",
        ),
        (
            lambda: config.from_dict({"data": []}),
            "data is []; it must be a dictionary or an instance of DataConfig",
        ),
        (
            lambda: config.from_dict([]),
            "the configuration is []; it must be a dictionary or an instance of Config",
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
    with pytest.raises(InputError, match=r"missing\.json cannot be read: No such file"):
        config.load(missing)
    with pytest.raises(InputError, match=r"text\.json is not JSON"):
        config.load(text)
    with pytest.raises(InputError, match=r"wrong\.json: training.batch_size is 0"):
        config.load(wrong)


def test_a_file_without_newer_fields_is_read_with_their_defaults(tmp_path):
    values = config.to_dict(SMALL)
    assert values["training"].pop("tf32") is False
    (tmp_path / "config.json").write_text(json.dumps(values))
    assert config.load(tmp_path / "config.json") == SMALL


def test_a_file_nested_beyond_measure_is_refused_by_name(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match=r"deep\.json is not JSON"):
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


def test_every_field_has_a_help_text():
    texts = config.help_texts()
    assert list(texts) == list(config.field_names())
    assert all(texts.values())


def test_a_file_of_version_0_1_is_read(tmp_path):
    path = REFERENCE / "config_0.1.json"
    loaded = config.load(path)
    stored, read = json.loads(path.read_text(encoding="utf-8")), config.to_dict(loaded)
    # Fields of later versions take their defaults, as in the preset below.
    assert {part: {name: read[part][name] for name in stored[part]} for part in stored} == stored
    assert loaded == config.override(
        presets.get("cards", image_channels=4, label_dim=3),
        {
            "training.ema_rampup": 0.05,
            "training.seed": 2**32 - 1,
            "generator_optimizer.arguments": {"clipnorm": 1},
            "generator.conv_clamp": 256,
            "data.mirror": True,
        },
    )


def test_equal_configurations_have_equal_hashes():
    one, other = (GeneratorConfig(size, conv_clamp=256) for size in ((64, 64), [64, 64]))
    assert one == other
    assert hash(one) == hash(other)
    assert one != GeneratorConfig((64, 64))


def test_json_schema_holds_types_bounds_and_help_texts():
    schema = pydantic.TypeAdapter(Config).json_schema()
    batch_size = schema["$defs"]["TrainingConfig"]["properties"]["batch_size"]
    assert (batch_size["type"], batch_size["minimum"], batch_size["default"]) == ("integer", 1, 32)
    assert batch_size["description"] == config.help_texts()["training.batch_size"]
    assert schema["required"] == ["generator", "discriminator"]

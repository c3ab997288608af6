"""The presets against the published numbers, and the networks they build."""

import numpy as np
import pytest

from tf_sg2 import Discriminator, Generator, InputError, config
from tf_sg2.config import presets

# Published values. Columns: total kimg, batch, stddev group, width factor of channel_base 32768,
# learning rate, R1 gamma, EMA kimg, EMA ramp-up, mapping layers, clamp.
# config-e, config-f: hyper-parameters of the paper's code for 1024x1024; the others: of the
# configurations released with Karras et al. 2020 (ADA).
PUBLISHED = {
    "config-e": (25000, 32, 4, 0.5, 0.002, 100, 10, None, 8, None),
    "config-f": (25000, 32, 4, 1, 0.002, 10, 10, None, 8, None),
    "paper256": (25000, 64, 8, 0.5, 0.0025, 1, 20, None, 8, 256),
    "paper512": (25000, 64, 8, 1, 0.0025, 0.5, 20, None, 8, 256),
    "paper1024": (25000, 32, 4, 1, 0.002, 2, 10, None, 8, 256),
    "cifar": (100000, 64, 32, 1, 0.0025, 0.01, 500, 0.05, 2, 256),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_preset_holds_the_published_numbers(name):
    preset = presets.get(name)
    training, g, d = preset.training, preset.generator, preset.discriminator
    assert (
        training.total_kimg,
        training.batch_size,
        d.minibatch_stddev_group,
        g.channel_base / 32768,
        preset.generator_optimizer.learning_rate,
        training.r1_gamma,
        training.ema_kimg,
        training.ema_rampup,
        g.mapping_layers,
        g.conv_clamp,
    ) == PUBLISHED[name]


# Rows A to D of the paper's table 1, table 2, and the progressive GAN. They differ in more fields.
PREDECESSORS = ("config-a", "config-b", "config-c", "config-d", "pggan")
TABLE_2 = [name for name in presets.names() if name.startswith("config-e-")]


@pytest.mark.parametrize(
    "name", [n for n in presets.names() if n not in ("cards", *PREDECESSORS, *TABLE_2)]
)
def test_what_all_official_configurations_share(name):
    preset = presets.get(name)
    g, d, training = preset.generator, preset.discriminator, preset.training
    for key in ("channel_base", "channel_max", "conv_clamp", "image_channels", "label_dim"):
        assert getattr(g, key) == getattr(d, key)
    assert preset.generator_optimizer == preset.discriminator_optimizer
    optimizer = preset.generator_optimizer
    assert (optimizer.name, optimizer.beta_1, optimizer.beta_2) == ("Adam", 0, 0.99)
    assert optimizer.epsilon == 1e-8
    assert (training.r1_interval, training.path_length_interval) == (16, 4)
    assert (training.path_length_decay, training.path_length_batch_divisor) == (0.01, 2)
    assert (g.mapping_lr_multiplier, g.w_avg_beta, g.architecture) == (0.01, 0.995, "skip")
    if name != "cifar":
        assert d.architecture == "resnet"
        assert (training.path_length_weight, training.style_mixing_probability) == (2, 0.9)
    assert (g.z_dim, g.w_dim, g.channel_max) == (512, 512, 512)


def test_cifar_has_no_path_length_no_mixing_and_a_plain_discriminator():
    preset = presets.get("cifar")
    assert preset.training.path_length_weight == preset.training.style_mixing_probability == 0
    assert preset.discriminator.architecture == "orig"
    assert [level.channels for level in preset.generator.levels] == [512] * 4


# (resolution, devices): batch, stddev group, width factor, learning rate, R1 gamma, EMA kimg.
AUTO = {
    (128, 1): (32, 4, 0.5, 0.0025, 0.1024, 10),
    (256, 1): (16, 4, 0.5, 0.0025, 0.8192, 5),
    (256, 2): (32, 4, 0.5, 0.0025, 0.4096, 10),
    (256, 8): (64, 4, 0.5, 0.0025, 0.2048, 20),
    (512, 1): (8, 4, 1, 0.0025, 6.5536, 2.5),
    (1024, 1): (4, 4, 1, 0.002, 52.4288, 1.25),
    (1024, 8): (32, 4, 1, 0.002, 6.5536, 10),
    (64, 100): (100, 1, 0.5, 0.0025, 0.008192, 31.25),
}


@pytest.mark.parametrize(("resolution", "replicas"), AUTO)
def test_auto_follows_its_formulas(resolution, replicas):
    preset = presets.get("auto", (resolution, resolution), replicas=replicas)
    training = preset.training
    batch, group, width, rate, gamma, ema = AUTO[resolution, replicas]
    assert training.batch_size == batch
    assert preset.discriminator.minibatch_stddev_group == group
    assert preset.generator.channel_base == 32768 * width
    assert preset.generator_optimizer.learning_rate == rate
    assert training.r1_gamma == pytest.approx(gamma)
    assert (training.ema_kimg, training.ema_rampup) == (ema, 0.05)
    assert (preset.generator.mapping_layers, preset.generator.conv_clamp) == (2, 256)


def test_auto_counts_a_rectangle_as_its_square_equivalent():
    square, wide = presets.get("auto", (128, 128)), presets.get("auto", (96, 160))
    assert square.training == wide.training


@pytest.mark.parametrize("name", [name for name in presets.names() if name != "pggan"])
def test_preset_takes_another_size_channels_and_labels(name):
    preset = presets.get(name, (24, 40), image_channels=4, label_dim=7)
    for network in (preset.generator, preset.discriminator):
        assert network.image_size == (24, 40)
        assert (network.image_channels, network.label_dim) == (4, 7)


def test_unusable_arguments_are_refused():
    with pytest.raises(
        InputError, match="no preset 'config-z'; the presets are config-a, config-b"
    ):
        presets.get("config-z")
    with pytest.raises(InputError, match="image size 100x100 is not"):
        presets.get("auto", (100, 100))
    with pytest.raises(InputError, match="image_channels is 5"):
        presets.get("cards", image_channels=5)


@pytest.mark.parametrize("name", presets.names())
def test_networks_of_the_preset_build(name):
    """At the preset's own size and architecture, with few channels."""
    preset = config.override(
        presets.get(name, label_dim=0 if name == "pggan" else 2),
        {f"{part}.channel_max": 4 for part in ("generator", "discriminator")},
    )
    generator, discriminator = Generator(preset.generator), Discriminator(preset.discriminator)
    if name in ("cifar", "cards"):
        z = np.zeros((2, preset.generator.z_dim), np.float32)
        labels = np.eye(2, dtype=np.float32)
        scores = discriminator(generator(z, labels), labels)
        assert scores.shape == (2, 1)
        assert np.all(np.isfinite(scores))


def channels(resolution):
    return min(32768 // resolution, 512)


RESOLUTIONS = [4 * 2**k for k in range(9)]


def generator_parameters():
    """Trained numbers of config F at 1024x1024, summed layer by layer."""

    def styled(fan_in, filters):
        return 9 * fan_in * filters + filters + 1 + (512 + 1) * fan_in

    total = 8 * (512 + 1) * 512 + 4 * 4 * 512
    for r in RESOLUTIONS:
        total += styled(channels(r // 2), channels(r)) if r > 4 else 0
        total += styled(channels(r), channels(r))
        total += 3 * channels(r) + 3 + (512 + 1) * channels(r)
    return total


def discriminator_parameters():
    total = (3 + 1) * channels(1024)
    for r in RESOLUTIONS[:0:-1]:
        here, below = channels(r), channels(r // 2)
        total += (9 * here + 1) * here + (9 * here + 1) * below + here * below
    return total + (9 * 513 + 1) * 512 + (16 * 512 + 1) * 512 + 513


@pytest.mark.slow
def test_config_f_has_the_official_number_of_parameters():
    preset = presets.get("config-f")
    generator, discriminator = Generator(preset.generator), Discriminator(preset.discriminator)
    counts = [
        sum(int(np.prod(w.shape)) for w in network.trainable_weights)
        for network in (generator, discriminator)
    ]
    assert counts == [generator_parameters(), discriminator_parameters()]
    assert counts == [30_370_060, 29_012_513]


# Trainable parameters of G and D at 1024x1024 and 64x64, counted in the official code.
PARAMETERS = {
    ("config-a", 1024): (26219627, 23087249),
    ("config-a", 64): (25137935, 22498049),
    ("config-d", 1024): (24900764, 23087249),
    ("config-d", 64): (23819544, 22498049),
    ("config-e", 1024): (24900764, 24038161),
    ("config-f", 64): (27032600, 26488833),
    ("pggan", 1024): (23079115, 23087249),
    ("pggan", 64): (22490383, 22498049),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "size"), PARAMETERS)
def test_networks_have_the_official_count_of_parameters(name, size):
    preset = presets.get(name, (size, size))
    networks = Generator(preset.generator), Discriminator(preset.discriminator)
    counts = tuple(
        sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)
        for network in networks
    )
    assert counts == PARAMETERS[name, size]


def test_rows_a_to_d_differ_in_their_regularisers_and_a_in_its_networks():
    a, b, c, d = (presets.get(f"config-{row}") for row in "abcd")
    assert (b.generator, b.discriminator) == (c.generator, c.discriminator)
    assert (c.generator, c.discriminator) == (d.generator, d.discriminator)
    assert a.generator.normalization == "adain"
    assert d.generator.normalization == "demodulation"
    assert [p.training.r1_interval for p in (a, b, c, d)] == [1, 1, 16, 16]
    assert [p.training.path_length_weight for p in (a, b, c, d)] == [0, 0, 0, 2]
    # The correction of Adam hangs on the interval, which C has without the regulariser.
    assert [p.training.path_length_interval for p in (a, b, c, d)] == [0, 0, 4, 4]


def test_table_2_has_every_pair_of_architectures():
    rows = [presets.get(name) for name in TABLE_2]
    pairs = {(row.generator.architecture, row.discriminator.architecture) for row in rows}
    assert len(TABLE_2) == len(pairs) == 9
    changed = {"generator.architecture": "skip", "discriminator.architecture": "resnet"}
    for row in rows:
        assert config.override(row, changed) == presets.get("config-e")


def test_progressive_gan_takes_no_labels():
    with pytest.raises(InputError, match="set mapping_layers and label_dim to 0, and w_dim to"):
        presets.get("pggan", label_dim=3)

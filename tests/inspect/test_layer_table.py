"""The tables of layers against counts made by hand, for every architecture."""

import math

import pytest
import tensorflow as tf

from tf_sg2.config import Config, DiscriminatorConfig, GeneratorConfig, presets
from tf_sg2.inspect import layer_table
from tf_sg2.inspect.multiply_adds import count
from tf_sg2.networks.discriminator import Discriminator
from tf_sg2.networks.generator import Generator

SIZES = {"channel_base": 128, "channel_max": 16}  # 16, 16, 8 channels at the levels 4, 8, 16.
NARROW = {"z_dim": 6, "w_dim": 10, "mapping_layers": 2}


def network(architecture="skip", image_size=(16, 16), **fields):
    return Generator(
        GeneratorConfig(image_size, architecture=architecture, **SIZES, **NARROW, **fields)
    )


def critic(architecture="resnet", image_size=(16, 16), **fields):
    return Discriminator(
        DiscriminatorConfig(image_size, architecture=architecture, **SIZES, **fields)
    )


def by_name(table):
    return {row.name: row for row in table.rows}


def test_generator_rows_equal_counts_by_hand():
    rows = by_name(layer_table.generator_table(network()))
    assert list(rows) == [
        *("mapping.fc0", "mapping.fc1", "mapping.w_avg", "synthesis.b4.const"),
        *("synthesis.b4.conv1", "synthesis.b4.torgb"),
        *(f"synthesis.b8.{layer}" for layer in ("conv0", "conv1", "torgb", "image")),
        *(f"synthesis.b16.{layer}" for layer in ("conv0", "conv1", "torgb", "image")),
    ]
    row = rows["mapping.fc0"]
    assert (row.output_shape, row.parameters, row.multiply_adds) == ((10,), 6 * 10 + 10, 6 * 10)
    row = rows["synthesis.b16.conv0"]  # Transposed: counted on the smaller grid, then filtered.
    assert row.output_shape == (16, 16, 8)
    affine, demodulation = 10 * 16, 16 * 8
    assert row.multiply_adds == 8 * 8 * 9 * 16 * 8 + affine + demodulation
    assert row.filtering == 16 * 16 * 8 * 16
    # Weight, bias, noise strength, affine weight and bias; the noise image is a buffer.
    assert row.parameters == 9 * 16 * 8 + 8 + 1 + 10 * 16 + 16
    assert row.buffers == 16 * 16
    row = rows["synthesis.b16.conv1"]
    assert row.multiply_adds == 16 * 16 * 9 * 8 * 8 + 10 * 8 + 8 * 8
    row = rows["synthesis.b16.torgb"]
    assert row.output_shape == (16, 16, 3)
    assert (row.multiply_adds, row.filtering) == (16 * 16 * 8 * 3 + 10 * 8, 0)
    # Upsampling by a transposed depthwise convolution: all taps for each smaller pixel.
    assert rows["synthesis.b16.image"].filtering == 8 * 8 * 3 * 16


def test_discriminator_rows_equal_counts_by_hand():
    rows = by_name(layer_table.discriminator_table(critic()))
    assert list(rows) == [
        *("b16.fromrgb", "b16.skip", "b16.conv0", "b16.conv1"),
        *("b8.skip", "b8.conv0", "b8.conv1", "b4.mbstd", "b4.conv", "b4.fc", "b4.out"),
    ]
    row = rows["b16.fromrgb"]
    assert (row.parameters, row.multiply_adds) == (3 * 8 + 8, 16 * 16 * 3 * 8)
    row = rows["b16.conv1"]  # Filtered at full size with a margin, then strided.
    assert row.output_shape == (8, 8, 16)
    assert row.multiply_adds == 8 * 8 * 9 * 8 * 16
    assert row.filtering == 17 * 17 * 8 * 16
    row = rows["b16.skip"]
    assert (row.multiply_adds, row.filtering) == (8 * 8 * 8 * 16, 8 * 8 * 8 * 16)
    assert rows["b4.mbstd"].output_shape == (4, 4, 17)
    assert rows["b4.conv"].multiply_adds == 16 * 9 * 17 * 16
    assert (rows["b4.fc"].output_shape, rows["b4.fc"].multiply_adds) == ((16,), 256 * 16)
    assert (rows["b4.out"].parameters, rows["b4.out"].multiply_adds) == (17, 16)


@pytest.mark.slow
@pytest.mark.parametrize("label_dim", [0, 5])
@pytest.mark.parametrize("image_size", [(16, 16), (12, 20)])
@pytest.mark.parametrize("architecture", ["skip", "resnet", "orig"])
def test_totals_equal_the_whole_networks(architecture, image_size, label_dim):
    generator = network(architecture, image_size, label_dim=label_dim)
    discriminator = critic(architecture, image_size, label_dim=label_dim)
    labels = [tf.TensorSpec([1, label_dim])] if label_dim else []
    for model, inputs, table in (
        (generator, tf.TensorSpec([1, 6]), layer_table.generator_table(generator)),
        (
            discriminator,
            tf.TensorSpec([1, *image_size, 3]),
            layer_table.discriminator_table(discriminator),
        ),
    ):
        counted = count(tf.function(model).get_concrete_function(inputs, *labels))
        assert table.multiply_adds == counted.convolution + counted.matrix
        assert table.filtering == counted.filtering
        assert table.parameters == sum(math.prod(v.shape) for v in model.trainable_variables)
        assert table.buffers == sum(math.prod(v.shape) for v in model.non_trainable_variables)
        assert layer_table.ELSEWHERE not in by_name(table)
        for row in table.rows:
            if row.name.endswith(("conv1", "fromrgb", "torgb", "fc0", "embed", "out")):
                assert row.multiply_adds > 0, row.name
    assert ("mapping.fc7" in by_name(table)) == bool(label_dim)


def test_multiply_adds_in_no_listed_layer_are_still_in_the_total():
    generator = network()
    counted = count(tf.function(generator).get_concrete_function(tf.TensorSpec([1, 6])))
    parts = [part for part in layer_table._generator_parts(generator) if "b8" not in part.name]
    table = layer_table._table("Generator", parts, counted)
    assert by_name(table)[layer_table.ELSEWHERE].multiply_adds > 0
    assert table.multiply_adds == counted.convolution + counted.matrix


def test_describe_prints_both_networks_with_totals():
    config = Config(
        GeneratorConfig((16, 16), **SIZES, **NARROW), DiscriminatorConfig((16, 16), **SIZES)
    )
    text = layer_table.describe(config)
    generator, discriminator = layer_table.tables(config)
    assert text == "\n\n".join(map(layer_table.format_table, (generator, discriminator)))
    totals = [line.split() for line in text.splitlines() if line.startswith("Total")]
    assert [line[1:] for line in totals] == [
        [f"{getattr(table, key):,}" if getattr(table, key) else "-" for key in keys]
        for table in (generator, discriminator)
        for keys in [("parameters", "buffers", "multiply_adds", "filtering")]
    ]
    assert "8 x 8 x 16" in text


def test_discriminator_of_config_f_has_the_published_parameter_count():
    config = presets.get("config-f", image_size=(1024, 1024))
    table = layer_table.discriminator_table(Discriminator(config.discriminator))
    assert table.parameters == 29_012_513  # As the official training logs print it.

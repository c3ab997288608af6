"""The scaling model beside the traced training step, closed formulas, and published times."""

from __future__ import annotations

import math

import pytest
import tensorflow as tf

import scaling_model
from scaling_model import FAST, NVLINK, SLOW, Accelerator, Cluster, Layer, Link, Pass
from tf_sg2 import config as configs
from tf_sg2.compat import raw_variable
from tf_sg2.config import presets
from tf_sg2.inspect.multiply_adds import count
from tf_sg2.training.state import create_state
from tf_sg2.training.step import TrainStep

pytestmark = pytest.mark.slow

GPU = Accelerator("test", 1e12, 1e12, host_seconds=0.0)
# A network of two layers of 0.5 s each, forward. The passes take 2 s and 1 s per image. The second
# runs on half the images in every fourth iteration.
LAYERS = (Layer(0.5e12, 0, 300_000_000), Layer(0, 0.5e12, 100_000_000))
PASSES = (
    Pass("generator", 1, 1, ((LAYERS, 2),), LAYERS, 1),
    Pass("path length", 4, 0.5, ((LAYERS, 1),), LAYERS, 1),
)
ONE_A_MACHINE = Cluster(1, SLOW, SLOW)


@pytest.mark.parametrize(("generator", "discriminator"), [("skip", "resnet"), ("resnet", "orig")])
def test_passes_cost_what_the_traced_step_costs(generator, discriminator):
    config = configs.override(
        presets.get("config-e", (16, 16)),
        {
            "generator.architecture": generator,
            "discriminator.architecture": discriminator,
            "generator.channel_base": 1024,
            "discriminator.channel_base": 1024,
            "training.batch_size": 8,
        },
    )
    strategy = tf.distribute.get_strategy()
    state = create_state(config, strategy)
    step = TrainStep(state, config, strategy)
    inputs = (
        tf.TensorSpec([8], tf.int64),
        tf.TensorSpec([8, 16, 16, 3], tf.uint8),
        tf.TensorSpec([8, 0]),
    )
    functions = {
        "generator": step.generator_main,
        "path length": step.generator_regularize,
        "discriminator": step.discriminator_main,
        "R1": step.discriminator_regularize,
    }
    passes = scaling_model.training_passes(config)
    assert [entry.name for entry in passes] == list(functions)
    for entry in passes:
        traced = count(functions[entry.name].get_concrete_function(*inputs))
        # The ends differ: for example, the first layer needs no gradient by its input.
        expected = (traced.convolution + traced.matrix) / 8
        assert entry.operations / 2 * entry.images == pytest.approx(expected, rel=0.03), entry.name
        network = state.discriminator if entry.name in ("discriminator", "R1") else state.generator
        sizes = [math.prod(raw_variable(v).shape) for v in network.trainable_variables]
        assert entry.bytes == 4 * sum(sizes)


def test_passes_follow_the_configuration():
    config = presets.get("cards")
    assert [p.name for p in scaling_model.training_passes(config)] == [
        "generator",
        "discriminator",
        "R1",
    ]
    config = configs.override(config, {"training.r1_gamma": 0})
    passes = scaling_model.training_passes(config)
    assert [p.name for p in passes] == ["generator", "discriminator"]
    assert scaling_model.without_regularizers(passes) == passes


def test_gradients_are_complete_in_order_and_at_the_end():
    gradients = scaling_model.gradients_ready(PASSES[0], GPU)
    assert gradients == [(0.75, 100_000_000), (1.0, 300_000_000)]
    for entry in scaling_model.training_passes(presets.get("cards")):
        shares = [share for share, _ in scaling_model.gradients_ready(entry, GPU)]
        assert shares == sorted(shares)
        assert shares[0] > 0
        assert shares[-1] == pytest.approx(1)


def test_a_layer_takes_the_longer_of_arithmetic_and_memory():
    gpu = Accelerator("test", flops=10.0, elements=2.0)
    assert gpu.seconds([Layer(20, 1), Layer(10, 8)]) == 2 + 4


def test_amortised_sums():
    # Operations: 0.5e12 of the first layer, twice; half of it, every fourth iteration.
    assert scaling_model.operations_per_image(PASSES) == 1e12 + 0.5e12 * 0.5 / 4
    assert scaling_model.bytes_per_iteration(PASSES) == 400e6 * 1.25
    assert scaling_model.bytes_per_iteration(scaling_model.every_iteration(PASSES)) == 800e6


def test_a_ring_sends_twice_the_bytes_and_starts_every_message():
    link = Link("test", 1e9, 1e-3)
    cluster = Cluster(4, Link("inside", 1e12, 0.0), link)
    assert scaling_model.all_reduce_seconds(1e9, 1, cluster) == 0
    assert scaling_model.all_reduce_seconds(1e9, 4, cluster) == pytest.approx(1.5e-3)
    assert scaling_model.all_reduce_seconds(1e9, 8, cluster) == pytest.approx(1.75 + 14e-3)


def test_a_pass_is_never_shorter_than_its_launch():
    slow_host = Accelerator("test", 1e12, 1e12, host_seconds=5.0)
    assert scaling_model.compute_seconds(PASSES[0], 4, slow_host) == 8
    assert scaling_model.compute_seconds(PASSES[0], 1, slow_host) == 5
    assert scaling_model.compute_seconds(PASSES[0], 4, slow_host, parts=4) == 20


@pytest.mark.parametrize("gpus", [1, 2, 16])
@pytest.mark.parametrize("parts", [1, 4])
def test_simulation_of_equal_gpus_is_the_model_on_paper(gpus, parts):
    arguments = (PASSES, 4, gpus, GPU, ONE_A_MACHINE, parts)
    paper, simulated = scaling_model.expected(*arguments), scaling_model.simulate(*arguments)
    for name in ("compute", "waiting", "sending", "total"):
        assert getattr(simulated, name) == pytest.approx(getattr(paper, name))
    assert scaling_model.efficiency(paper, PASSES, 4, GPU) == pytest.approx(
        paper.compute / paper.total
    )


def test_sending_while_computing_hides_what_is_ready_early():
    entry = PASSES[:1]
    arguments = (entry, 1, 2, GPU, Cluster(1, Link("", 1e9, 0.0), Link("", 1e9, 0.0)))
    assert scaling_model.simulate(*arguments).sending == pytest.approx(0.4)
    # The 0.1 s of the last layer pass during the final half second; the first layer's remain.
    overlapped = scaling_model.simulate(*arguments, bucket_bytes=1)
    assert overlapped.sending == pytest.approx(0.3)
    # A bucket is complete when its last layer is complete.
    assert scaling_model.simulate(*arguments, bucket_bytes=2e8).sending == pytest.approx(0.4)


def test_jitter_makes_everybody_wait_for_the_slowest():
    arguments = (PASSES[:1], 1, 64, GPU, Cluster(64, NVLINK, NVLINK))
    jittered = scaling_model.simulate(*arguments, jitter=0.05, iterations=400)
    assert jittered.compute == pytest.approx(2, rel=0.01)
    # The largest of 64 normal numbers lies 2.37 deviations above the mean, on average.
    assert jittered.waiting == pytest.approx(2.37 * 0.05 * 2, rel=0.1)
    assert jittered == scaling_model.simulate(*arguments, jitter=0.05, iterations=400)
    stalled = scaling_model.simulate(
        *arguments, stall_probability=1 / 64, stall_seconds=1.0, iterations=4000
    )
    # A stall of any GPU delays all of them: in 1 - (63/64)^64 of the passes.
    assert stalled.waiting + stalled.compute == pytest.approx(2 + 1 - (63 / 64) ** 64, rel=0.02)


@pytest.fixture(scope="module")
def config_f():
    return scaling_model.training_passes(presets.get("config-f"))


def test_config_f_sends_its_published_parameters(config_f):
    # 30,370,060 and 29,012,513: the official networks' printed totals.
    assert [entry.bytes for entry in config_f] == [4 * 30_370_060] * 2 + [4 * 29_012_513] * 2
    assert scaling_model.bytes_per_iteration(config_f) == pytest.approx(275.2e6, rel=1e-3)


def test_published_days_of_config_f(config_f):
    """25,000 kimg on V100: 69 days 23 hours on one, 9 days 18 hours on the eight of a DGX-1."""
    v100 = scaling_model.ACCELERATORS["v100"]
    one, eight = (
        scaling_model.days(
            25000,
            scaling_model.expected(config_f, 32 // gpus, gpus, v100, scaling_model.CLUSTERS[0]),
            32 // gpus,
            gpus,
        )
        for gpus in (1, 8)
    )
    assert one == pytest.approx(69 + 23 / 24, rel=0.01)
    # The model has no other cost of distribution than sums of gradients: it is a tenth too fast.
    assert 0.88 < eight / (9 + 18 / 24) < 1


def test_published_speed_of_config_e(config_f):
    """61 images per second on 8 V100, and 31 of config F.

    The model is too fast by 24% and 6%.
    """
    v100, dgx = scaling_model.ACCELERATORS["v100"], scaling_model.CLUSTERS[0]
    passes = scaling_model.training_passes(presets.get("config-e"))
    speeds = [32 / scaling_model.expected(p, 4, 8, v100, dgx).total for p in (passes, config_f)]
    assert speeds == pytest.approx([61 * 1.24, 31 * 1.06], rel=0.02)


def test_slower_networks_lose_more(config_f):
    v100 = scaling_model.ACCELERATORS["v100"]
    found = [
        scaling_model.efficiency(
            scaling_model.expected(config_f, 4, 64, v100, Cluster(8, NVLINK, between)),
            config_f,
            4,
            v100,
        )
        for between in (NVLINK, FAST, SLOW)
    ]
    assert 1 > found[0] > found[1] > found[2] > 0

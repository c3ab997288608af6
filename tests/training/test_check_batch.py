"""Which batches can be shared among devices and accumulation steps."""

import re

import pytest

from tf_sg2 import InputError
from tf_sg2.config import override, presets
from tf_sg2.training.run.batch import check_batch
from tiny_config import tiny_config


def config_of(batch, steps=1, group=4, divisor=2, weight=2.0):
    return override(
        tiny_config(),
        {
            "training.batch_size": batch,
            "training.accumulation_steps": steps,
            "training.path_length_batch_divisor": divisor,
            "training.path_length_weight": weight,
            "discriminator.minibatch_stddev_group": group,
        },
    )


@pytest.mark.parametrize(
    ("batch", "steps", "replicas", "group", "divisor", "weight"),
    [
        (8, 2, 1, 4, 2, 2),
        (8, 1, 2, 4, 2, 2),
        (32, 2, 4, 4, 2, 2),
        (2, 1, 1, 4, 2, 2),  # The whole batch is one smaller group.
        (1, 1, 1, 4, 2, 2),
        (3, 1, 1, 0, 2, 2),
        (4, 4, 1, 1, 2, 0),  # Without a path-length term, shares of 1 are correct.
        (4, 4, 1, 0, 1, 2),
        (6, 2, 1, 3, 3, 2),
    ],
)
def test_share_that_computes_what_the_batch_does_is_accepted(
    batch, steps, replicas, group, divisor, weight
):
    check_batch(config_of(batch, steps, group, divisor, weight), replicas)


@pytest.mark.parametrize(
    ("batch", "steps", "replicas", "group", "divisor", "sentences"),
    [
        (8, 4, 1, 4, 2, ["shares of 2 images", "groups of 4", "batch_size 16", "steps 1 or 2;"]),
        (8, 1, 4, 4, 2, ["shares of 2 images", "batch_size 16", "1 or 2 device(s)"]),
        (2, 2, 1, 4, 2, ["shares of 1 images", "groups of 2", "accumulation_steps 1"]),
        (
            4,
            4,
            1,
            1,
            2,
            ["shares of 1 images", "by 2", "batch_divisor", "steps 1 or 2"],
        ),
        (6, 2, 1, 3, 2, ["shares of 3 images", "by 2", "batch_size 12", "accumulation_steps 1"]),
        (9, 3, 1, 2, 1, ["minibatch-stddev groups of 2", "batch_size 12"]),
        (8, 1, 3, 4, 2, ["do not divide evenly", "batch_size 12", "1 or 2 device(s)"]),
    ],
)
def test_share_that_would_change_the_objective_is_refused_with_what_works(
    batch, steps, replicas, group, divisor, sentences
):
    with pytest.raises(InputError, match="cannot be shared") as found:
        check_batch(config_of(batch, steps, group, divisor), replicas)
    said = str(found.value)
    assert all(sentence in said for sentence in sentences), said
    # The numbers that it names do work.
    (larger,) = re.findall(r"batch_size (\d+);?(?: |$)", said.split("take one of")[1])
    check_batch(config_of(int(larger), steps, group, divisor), replicas)
    for number in re.findall(r"accumulation_steps ([\d or]+)", said):
        for steps_that_work in number.split(" or "):
            check_batch(config_of(batch, int(steps_that_work), group, divisor), replicas)


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_starts_on_one_device(name):
    check_batch(presets.get(name), 1)


@pytest.mark.parametrize(
    ("name", "replicas"),
    [
        *((name, 8) for name in ("config-e", "config-f", "paper256", "paper512", "paper1024")),
        ("cifar", 2),
        ("cards", 2),
    ],
)
def test_preset_starts_on_the_devices_it_is_published_for(name, replicas):
    check_batch(presets.get(name), replicas)


@pytest.mark.parametrize("replicas", [1, 2, 4, 8, 16, 32, 64, 100])
@pytest.mark.parametrize("resolution", [64, 1024])
def test_auto_starts_on_the_devices_it_is_made_for(resolution, replicas):
    check_batch(presets.get("auto", (resolution, resolution), replicas=replicas), replicas)

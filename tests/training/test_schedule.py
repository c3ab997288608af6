"""Durations in kimg become iterations, and what is due in an iteration."""

import pytest

from tf_sg2.training.schedule import Schedule, is_due, is_lasting, schedule_of, steps_for
from tiny_config import tiny_config


def test_steps_for_rounds_up_and_is_at_least_one():
    assert steps_for(1, 32) == 32  # 31.25
    assert steps_for(0.0001, 32) == 1


def test_schedule_counts_the_durations_of_a_configuration_in_iterations():
    expected = Schedule(total=12, tick=2, checkpoint=6, sample=6, metrics=6, lasting=0)
    assert schedule_of(tiny_config().training) == expected


@pytest.mark.parametrize(
    ("interval", "expected"), [(0, []), (1, [0, 1, 2, 3, 4, 5, 6]), (3, [0, 3, 6]), (9, [0])]
)
def test_what_has_an_interval_is_due_in_its_multiples(interval, expected):
    assert [iteration for iteration in range(7) if is_due(iteration, interval)] == expected


@pytest.mark.parametrize(
    ("every_kimg", "checkpoint_kimg", "lasting"),
    [
        (None, 0.016, []),
        (0.016, 0.016, [2, 4, 6, 8, 10, 12]),
        (0.032, 0.016, [4, 8, 12]),
        (0.008, 0.016, [2, 4, 6, 8, 10, 12]),  # Each checkpoint there is.
        (0.04, 0.016, [6, 10]),  # The first one at or after iterations 5 and 10.
        (1000, 0.016, []),
    ],
)
def test_lasting_checkpoints_are_the_first_after_each_interval(
    every_kimg, checkpoint_kimg, lasting
):
    training = tiny_config(
        training__checkpoints_every_kimg=every_kimg, training__checkpoint_kimg=checkpoint_kimg
    ).training
    schedule = schedule_of(training)
    assert [number for number in range(1, 13) if is_lasting(number, schedule)] == lasting


def test_measurements_come_with_the_samples_unless_told():
    assert schedule_of(tiny_config(training__sample_kimg=0.024).training).metrics == 3
    assert schedule_of(tiny_config(training__metrics_kimg=0.04).training).metrics == 5

"""Durations in kimg become iterations, and what is due in an iteration."""

import pytest

from tf_sg2.training.schedule import Schedule, is_due, schedule_of, steps_for
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

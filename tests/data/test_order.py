"""The order of an epoch: the same on every platform, another one for each seed and epoch."""

from __future__ import annotations

import numpy as np

from tf_sg2.data.order import SampleOrder, epoch_coins, epoch_order


def test_order_is_the_same_on_every_platform():
    """Golden values: if they change, resumed runs would see other images."""
    assert epoch_order(10, 0, 0).tolist() == [3, 2, 1, 8, 6, 0, 7, 4, 5, 9]
    assert epoch_order(10, 1, 2).tolist() == [5, 6, 9, 3, 2, 1, 0, 8, 4, 7]
    assert epoch_coins(8, 1, 2).astype(int).tolist() == [1, 0, 1, 0, 0, 0, 1, 1]


def test_seeds_differ():
    assert not np.array_equal(epoch_order(50, 0, 1), epoch_order(50, 1, 0))


def test_positions_cross_epochs_in_any_order():
    order = SampleOrder(7, 3, mirror=True)
    positions = np.array([20, 0, 6, 7, 13, 14, 1])
    indices, coins = order.at(positions)
    for position, index, coin in zip(positions.tolist(), indices, coins, strict=True):
        assert index == epoch_order(7, 3, position // 7)[position % 7]
        assert coin == epoch_coins(7, 3, position // 7)[position % 7]
    assert not SampleOrder(7, 3, mirror=False).at(positions)[1].any()

"""The rule that chooses the tile of a native convolution, or TensorFlow's convolution.

The rule is a table, measured once with `benchmarks/ops.py --convolutions`. So a result depends on
the shape, and neither on the day nor on the machine's load. The batch is no part of the rule: a
batch and its halves are computed in the same way.
"""

from __future__ import annotations

import tensorflow as tf

# Channels below which TensorFlow's convolution is faster: transforms cost as much as products.
MINIMUM_CHANNELS = 16
# Pixels of the shorter side from which on a tile is used, the larger tile first. A tile that is
# larger than the image computes pixels that nobody reads, and its weights take longer to transform.
TILES = ((8, 4), (5, 2))


def tile_for(x: tf.TensorShape, weight: tf.TensorShape) -> int | None:
    """Returns the tile of the native convolution: 4, 2, or None for TensorFlow's.

    It is the same for input and output channels in exchange, so a gradient takes the same tile.

    Args:
        x: [N, H, W, C]; sizes that are unknown when a function is traced count as large.
        weight: [3, 3, C, filters]. Unknown channels are left to TensorFlow.
    """
    channels = [None, None] if weight.rank is None else weight[2:].as_list()
    if None in channels or min(channels) < MINIMUM_CHANNELS:
        return None
    if tf.config.list_logical_devices("GPU"):  # There, cuDNN is faster.
        return None
    sides = [] if x.rank is None else [side for side in x[1:3].as_list() if side is not None]
    shorter = min(sides, default=TILES[0][0])
    return next((tile for least, tile in TILES if shorter >= least), None)

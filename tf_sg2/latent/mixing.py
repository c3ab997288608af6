"""The style-mixing table (Karras et al. 2018, section 3.1 and figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from tf_sg2.errors import InputError
from tf_sg2.images import PADDING_VALUE

if TYPE_CHECKING:
    from tf_sg2.latent.renderer import Renderer


def mixing_table(
    renderer: Renderer, rows: Sequence[int], columns: Sequence[int], layers: Sequence[int]
) -> np.ndarray:
    """Returns the pictures of the table, uint8 [1 + rows, 1 + columns, H, W, C].

    The corner is white. With random noise, a picture has the noise of its row seed; the first row
    has the noise of the column seeds.

    Args:
        renderer: makes the pictures.
        rows: seeds of the rows.
        columns: seeds of the columns.
        layers: layers whose w comes from the column.

    Raises:
        InputError: for a layer that the model does not have.
    """
    num_ws = renderer.generator.config.num_ws
    beyond = [layer for layer in layers if not 0 <= layer < num_ws]
    if beyond:
        raise InputError(f"there is no layer {beyond[0]}; this model has layers 0...{num_ws - 1}")
    row_w, column_w = renderer.map_seeds(rows), renderer.map_seeds(columns)
    taken = np.isin(np.arange(num_ws), layers)[None, :, None]  # [1, num_ws, 1]
    table_rows, noise = [column_w], [*columns]  # each [pictures, num_ws, w_dim]
    for seed, own in zip(rows, row_w[:, None], strict=True):
        table_rows += [own, np.where(taken, column_w, own)]
        noise += [seed] * (1 + len(columns))
    w = np.concatenate(table_rows)
    pictures = list(
        tqdm(renderer.images(w, noise), total=len(w), unit="image", leave=False, disable=None)
    )
    corner = np.full_like(pictures[0], PADDING_VALUE)
    table = np.stack([corner, *pictures])
    return table.reshape(1 + len(rows), 1 + len(columns), *corner.shape)

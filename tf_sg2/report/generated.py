"""Pictures that the report generates from a checkpoint: truncation sweep and style mixing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_sg2.errors import InputError
from tf_sg2.latent.mixing import mixing_table
from tf_sg2.latent.renderer import Renderer
from tf_sg2.runs.load import LoadedRun

PSIS = (0.0, 0.3, 0.5, 0.7, 0.85, 1.0, 1.2)
SWEEP_SEEDS = (0, 1, 2, 3)
ROW_SEEDS = (0, 1, 2)
COLUMN_SEEDS = (10, 11, 12, 13)
MIXING_PSI = 0.7
BATCH = 16
# A renderer is compiled for each class.
MOST_CLASSES = 16


@dataclass(frozen=True)
class Mixing:
    """A style-mixing table: uint8 [1 + rows, 1 + columns, H, W, C], and its layers."""

    name: str
    layers: range
    images: np.ndarray


@dataclass(frozen=True)
class Generated:
    """What a checkpoint generates: the sweep, uint8 [seeds, psis, H, W, C], and the mixings."""

    sweep: np.ndarray
    mixings: Sequence[Mixing]


def generate(run: LoadedRun, label: np.ndarray | None = None) -> Generated:
    """Generates the pictures of one checkpoint.

    Args:
        run: the loaded run.
        label: float32 [label_dim] of every picture; None for an unconditional model.

    Raises:
        InputError: if the generator makes values that are not finite.
    """
    plain = Renderer(run.generator, label)
    w = plain.map_seeds(SWEEP_SEEDS)  # [seeds, num_ws, w_dim]
    # The truncation trick is a line through the mean of w (Karras et al. 2018, appendix B).
    mean = Renderer(run.generator, label, truncation_psi=0.0).map_seeds(SWEEP_SEEDS[:1])
    if not (np.isfinite(w).all() and np.isfinite(mean).all()):
        raise InputError(
            f"checkpoint {run.checkpoint} holds weights that are not finite; choose another one "
            "with --checkpoint"
        )
    line = np.stack([mean + psi * (w - mean) for psi in PSIS], axis=1)
    images = np.stack(list(plain.images(line.reshape(-1, *w.shape[1:]))))
    sweep = images.reshape(len(SWEEP_SEEDS), len(PSIS), *images.shape[1:])

    renderer = Renderer(run.generator, label, truncation_psi=MIXING_PSI)
    mixings = [
        Mixing(name, layers, mixing_table(renderer, ROW_SEEDS, COLUMN_SEEDS, layers))
        for name, layers in layer_groups(run.generator.config.num_ws)
    ]
    return Generated(sweep, mixings)


def layer_groups(num_ws: int) -> list[tuple[str, range]]:
    """Returns the coarse, middle and fine layers: thirds of all layers, at least one each."""
    first = max(1, round(num_ws / 3))
    second = max(first + 1, round(2 * num_ws / 3))
    groups = (("coarse", 0, first), ("middle", first, second), ("fine", second, num_ws))
    return [(name, range(start, stop)) for name, start, stop in groups if start < stop]


def variety(run: LoadedRun, seeds: Sequence[int]) -> list[np.ndarray]:
    """Returns one image per seed without truncation, uint8 [H, W, C] each.

    Labels of a conditional model are the classes in turn.

    Args:
        run: the loaded run.
        seeds: of the images.
    """
    label_dim = run.config.generator.label_dim
    if not label_dim:
        return list(Renderer(run.generator, batch_size=BATCH).seed_images(seeds))
    classes = min(label_dim, MOST_CLASSES)
    images: dict[int, np.ndarray] = {}
    for number in range(classes):
        label = np.eye(label_dim, dtype=np.float32)[number]
        some = list(seeds)[number::classes]
        renderer = Renderer(run.generator, label, batch_size=BATCH)
        images.update(zip(some, renderer.seed_images(some), strict=True))
    return [images[seed] for seed in seeds]

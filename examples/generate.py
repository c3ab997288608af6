"""Writes images of a trained run into one PNG.

python examples/generate.py runs/cards sheet.png
"""

from __future__ import annotations

import sys

import tf_sg2
from tf_sg2.images import grid, save_png, to_uint8
from tf_sg2.latent.seeds import latents


def generate(run_path: str, out: str, truncation_psi: float = 0.7) -> None:
    """Writes the images of seeds 0 to 7 as two rows of four."""
    run = tf_sg2.load_run(run_path)
    z = latents(range(8), run.config.generator.z_dim)  # [8, z_dim]
    images = run.generator(z, truncation_psi=truncation_psi, noise_mode="const")  # [8, H, W, C]
    save_png(out, grid(to_uint8(images.numpy()), rows=2, columns=4))


if __name__ == "__main__":
    generate(*sys.argv[1:])

"""Tiny runs with everything that a report shows, as training and evaluation write it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from tf_sg2 import config as configuration
from tf_sg2.images import grid, save_png
from tf_sg2.runs.directory import RunDirectory
from tiny_run import make_tiny_run

KIMG = (0.0, 0.016, 0.032, 0.048)


def make_run(path: str | Path, label_dim: int = 0, **data: object) -> RunDirectory:
    """Writes a run with a log, samples, metrics, scores and a best checkpoint.

    Args:
        path: its folder.
        label_dim: width of the labels.
        data: fields of the data configuration.
    """
    run = make_tiny_run(path, label_dim)
    fields = {f"data.{name}": value for name, value in data.items()}
    config = configuration.override(run.read_config(), fields)
    run.write_config(config)
    rng = np.random.default_rng(0)
    size = config.generator.image_size
    lines, metrics, scores = [], [], []
    for kimg in KIMG:
        lines.append({"kimg": kimg, "to_rgb_share/0004": 0.75, "to_rgb_share/0008": 0.25})
        images = rng.integers(0, 256, (2, *size, 3), dtype=np.uint8)
        for family in ("fakes_psi0.7", "fakes_psi1"):
            name = f"{family}_000000_{round(1000 * kimg):03d}" if kimg else f"{family}_000000"
            save_png(run.samples / f"{name}.png", grid(images, 1, 2))
        if not kimg:
            save_png(run.samples / "reals_000000.png", grid(images[::-1], 1, 2))
            continue
        names = ("loss/generator", "loss/discriminator", "scores/real_sign", "r1/penalty")
        values = {name: float(value) for name, value in zip(names, rng.random(4), strict=True)}
        lines.append({"kimg": kimg, "timing/seconds_per_kimg": 3600.0, **values})
        results = {"fd_ppocr": 10 - 100 * kimg, "fd_ppocr_floor": 0.25}
        metrics.append({"kimg": kimg, "results": results})
        counts = {
            key: rng.integers(0, 9, 8).tolist() for key in ("training", "heldout", "generated")
        }
        edges = np.linspace(-2, 2, 9).tolist()
        scores.append({"kimg": kimg, "edges": edges, **counts, "auc": 0.5 + kimg, "gap": kimg})
    (run.path / "data.json").write_text(json.dumps({"images": 28, "heldout": {"images": 12}}))
    run.metrics.mkdir()
    for file, found in (
        (run.log_path, lines),
        (run.metrics / "metric-fd.jsonl", metrics),
        (run.metrics / "scores.jsonl", scores),
    ):
        file.write_text("".join(json.dumps(line) + "\n" for line in found))
    return run

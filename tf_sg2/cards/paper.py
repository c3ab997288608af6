"""The background of a card: printed bands and lines, and the grain and light of the paper."""

from __future__ import annotations

import random

import numpy as np
from PIL import Image, ImageDraw

from tf_sg2.cards.design import Design, luminance, mix


def print_ground(canvas: Image.Image, design: Design, scale: float, rng: random.Random) -> None:
    """Paints band, border and fibres on an empty card; `scale` is in pixels per mm."""
    draw = ImageDraw.Draw(canvas)
    width, height = canvas.size
    if design.texture == "washi":
        _fibres(draw, design, width, height, scale, rng)
    if design.band is not None:
        _band(draw, design, width, height, scale)
    if design.border is not None:
        colour = mix(design.paper, design.ink, 0.4)
        if design.border == "accent":
            colour = design.accent
        insets = (1.8, 2.8) if design.border == "double" else (2.2,)
        for inset in insets:
            d = round(inset * scale)
            line = max(1, round(0.22 * scale))
            draw.rectangle((d, d, width - 1 - d, height - 1 - d), outline=colour, width=line)


def _band(draw: ImageDraw.ImageDraw, design: Design, width: int, height: int, s: float) -> None:
    thick = (1.6 + 1.6 * design.coin[0]) * s
    accent, companion = design.accent, design.companion
    if design.band == "left":
        draw.rectangle((0, 0, thick, height), fill=accent)
    elif design.band == "right":
        draw.rectangle((width - 1 - thick, 0, width, height), fill=accent)
    elif design.band == "top":
        draw.rectangle((0, 0, width, thick), fill=accent)
    elif design.band == "bottom":
        draw.rectangle((0, height - 1 - thick, width, height), fill=accent)
    elif design.band == "double":
        draw.rectangle((0, height - 1 - thick, width, height), fill=accent)
        line = height - 1 - thick
        draw.rectangle((0, line - 0.8 * s, width, line), fill=companion)
    elif design.band == "corner":
        # The triangle is small enough to lie outside the text area.
        leg = 9.0 * s
        if design.coin[1] < 0.5:
            draw.polygon((width, 0, width - leg, 0, width, leg), fill=accent)
            draw.polygon((0, height, leg, height, 0, height - leg), fill=companion)
        else:
            draw.polygon((0, 0, leg, 0, 0, leg), fill=accent)
            draw.polygon((width, height, width - leg, height, width, height - leg), fill=accent)
    else:  # A large pale disc under the text.
        r = (20 + 12 * design.coin[1]) * s
        x = width if design.coin[2] < 0.6 else 0
        y = height if design.coin[3] < 0.7 else 0
        draw.ellipse((x - r, y - r, x + r, y + r), fill=mix(design.paper, design.accent, 0.08))


def _fibres(
    draw: ImageDraw.ImageDraw,
    design: Design,
    width: int,
    height: int,
    scale: float,
    rng: random.Random,
) -> None:
    light = 0.07 if luminance(design.paper) > 0.5 else 0.05
    colour = mix(design.paper, design.ink, light)
    for _ in range(26):
        x, y = rng.random() * width, rng.random() * height
        dx, dy = (rng.uniform(-4, 4) * scale for _ in range(2))
        bend = rng.uniform(-1, 1) * scale
        middle = (x + dx / 2 + bend, y + dy / 2 - bend)
        draw.line((x, y, *middle, x + dx, y + dy), fill=colour, width=max(1, round(0.18 * scale)))


def shade(pixels: np.ndarray, design: Design, seed: int) -> np.ndarray:
    """Returns a printed card with light and grain.

    The light is the same at every image size. The grain is drawn per pixel, because paper is rough
    at every scale.

    Args:
        pixels: the printed card, uint8 [H, W, 3].
        design: its design.
        seed: seed of the light and the grain.

    Returns:
        uint8 [H, W, 3].
    """
    height, width = pixels.shape[:2]
    # NumPy promises that the numbers of `RandomState` never change.
    rng = np.random.RandomState([seed & 0xFFFFFFFF, seed >> 32])
    slope = np.asarray(rng.uniform(-3.0, 3.0, 2), np.float32)
    rows = slope[0] * np.linspace(-1, 1, height, dtype=np.float32)
    columns = slope[1] * np.linspace(-1, 1, width, dtype=np.float32)
    # The light only darkens: otherwise white would clip on one side.
    rows, columns = rows - abs(slope[0]), columns - abs(slope[1])
    if design.texture in ("linen", "laid"):
        rows = rows + np.asarray(rng.normal(0, 1.4, height), np.float32)
    if design.texture == "linen":
        columns = columns + np.asarray(rng.normal(0, 1.4, width), np.float32)
    relief = rows[:, None] + columns[None, :]
    amplitude = {"plain": 0.35, "grain": 1.6}.get(design.texture, 0.7)
    relief += amplitude * rng.standard_normal((height, width)).astype(np.float32)
    shaded = pixels + (relief + 0.5)[:, :, None]
    return np.clip(shaded, 0, 255, out=shaded).astype(np.uint8)

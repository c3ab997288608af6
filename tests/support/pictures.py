"""Small image files for tests of data sets."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

RNG = np.random.default_rng(0)


def noise(height=12, width=20, channels=3):
    """Returns random pixels, uint8 [H, W, C]."""
    return RNG.integers(0, 256, (height, width, channels), dtype=np.uint8)


def to_image(pixels):
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def save(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    to_image(pixels).save(path, **options)


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def zoo():
    """Returns name -> (bytes of an unusual file, part of the message when it is read directly)."""
    rgb = Image.fromarray(noise())
    frames = [Image.fromarray(noise()) for _ in range(2)]
    jpeg = encoded(Image.fromarray(noise(64, 64)), "JPEG")
    png = encoded(Image.fromarray(noise(64, 64)))
    transparent = rgb.quantize(16)
    transparent.info["transparency"] = 3
    return {
        "cmyk.jpg": (encoded(rgb.convert("CMYK"), "JPEG"), "CMYK converted to RGB"),
        "sixteen.png": (
            encoded(Image.fromarray((noise()[..., 0]).astype(np.uint16) * 257)),
            "16 bits per channel",
        ),
        "transparent.png": (encoded(transparent, transparency=3), "composited over white"),
        "truncated.jpg": (jpeg[: len(jpeg) // 2], "is broken"),
        "truncated.png": (png[: len(png) // 2], "is broken"),
        "zero.png": (b"", "is empty"),
        "text.png": (b"this is not an image", "not a readable PNG, JPEG, WebP or BMP"),
        "animated.png": (encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), "not"),
        "animated.webp": (
            encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
            "first frame",
        ),
        "large.png": (encoded(Image.new("1", (10_000, 10_000))), "more than 89 megapixels"),
    }

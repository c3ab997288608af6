"""Image sizes: any base * 2^k with a small base, not only squares."""

from __future__ import annotations

from tf_sg2.config.whole_number import whole_number
from tf_sg2.errors import InputError

SMALLEST_BASE_SIDE, LARGEST_BASE_SIDE = 3, 7
LARGEST_SIDE = 65_536


def parse_image_size(text: str) -> tuple[int, int]:
    """Returns (height, width) in pixels from "HxW" or from one number for a square.

    Raises:
        InputError: if `text` has another form, or a side is above `LARGEST_SIDE`.
    """
    parts = text.strip().lower().split("x")
    if len(parts) == 1:
        parts = parts * 2
    sides = [whole_number(part) or 0 for part in parts]
    if len(sides) != 2 or not all(sides):
        raise InputError(f"image size {text!r} is not HEIGHTxWIDTH, such as 96x160, nor one number")
    if max(sides) > LARGEST_SIDE:
        raise InputError(f"image size {text!r}: a side is at most {LARGEST_SIDE} pixels")
    return sides[0], sides[1]


def base_size(image_size: tuple[int, int]) -> tuple[tuple[int, int], int]:
    """Returns ((base height, base width), doublings) with image_size = base * 2^doublings.

    The base is what remains after halving the image as often as possible. Both sides must stay
    whole numbers, and the smaller one must stay at least 3.

    Raises:
        InputError: if the smaller side of the base is not in 3...7.
    """
    height, width = image_size
    doublings = 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) // 2 >= SMALLEST_BASE_SIDE:
        height, width, doublings = height // 2, width // 2, doublings + 1
    if not SMALLEST_BASE_SIDE <= min(height, width) <= LARGEST_BASE_SIDE or doublings == 0:
        raise InputError(
            f"image size {image_size[0]}x{image_size[1]} is not base * 2^k with the smaller base "
            f"side in {SMALLEST_BASE_SIDE}...{LARGEST_BASE_SIDE} and k above 0 "
            f"(halving stops at {height}x{width}); take a size such as 64x64, 96x160 or 256x256"
        )
    return (height, width), doublings

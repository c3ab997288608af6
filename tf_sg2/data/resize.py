"""Crops and resizes an image to a given size, with Lanczos resampling."""

from __future__ import annotations

from PIL import Image

from tf_sg2.errors import InputError

CROPS = ("center", "stretch", "none")
CROPPED = "cropped to the centre"
REDUCED = "reduced"
ENLARGED = "enlarged"
STRETCHED = "stretched to another aspect ratio"
TREATMENTS = frozenset({CROPPED, REDUCED, ENLARGED, STRETCHED})


def fit(
    image: Image.Image, name: str, size: tuple[int, int], crop: str
) -> tuple[Image.Image, list[str]]:
    """Returns an image of `size` (height, width), cropped and resampled.

    Args:
        image: an image of mode "L", "RGB" or "RGBA". Resampling weights colour by alpha.
        name: name of the image in messages.
        size: (height, width) of the result.
        crop: "center" cuts out the largest centred part of the aspect ratio of `size`. "stretch"
            takes the whole image and changes its aspect ratio. "none" refuses an image of
            another aspect ratio.

    Returns:
        The image and its treatments (constants of this module). If a crop is enough, no pixel is
        resampled.

    Raises:
        InputError: if the aspect ratio differs and `crop` is "none".
    """
    height, width = size
    if (image.height, image.width) == size:
        return image, []
    treatments: list[str] = []
    box = (0.0, 0.0, float(image.width), float(image.height))
    scale = min(image.width / width, image.height / height)
    cut_width, cut_height = image.width - width * scale, image.height - height * scale
    # A cut of less than a pixel per side is rounding, not another aspect ratio.
    if max(cut_width, cut_height) >= 2 or (scale == 1 and max(cut_width, cut_height) >= 1):
        if crop == "none":
            raise InputError(
                f"{name} is {image.height}x{image.width} (height x width), another aspect "
                f"ratio than {height}x{width}; choose --crop=center or --crop=stretch"
            )
        treatments.append(CROPPED if crop == "center" else STRETCHED)
    if crop == "center":
        left, top = cut_width / 2, cut_height / 2
        if scale == 1:  # Cut at whole pixels: nothing is resampled.
            left, top = int(left), int(top)
            return image.crop((left, top, left + width, top + height)), treatments
        # Rounding may move the box slightly over the edge, which Pillow refuses.
        right, bottom = left + width * scale, top + height * scale
        box = (left, top, min(right, image.width), min(bottom, image.height))
    treatments.append(REDUCED if scale > 1 else ENLARGED)
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box), treatments

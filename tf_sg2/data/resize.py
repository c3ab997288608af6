"""Brings an image to a wanted size: crop, and Lanczos resampling."""

from __future__ import annotations

from PIL import Image

from tf_sg2.errors import InputError

CROPS = ("center", "stretch", "none")
CROPPED = "cropped to the centre"
REDUCED = "made smaller"
ENLARGED = "made larger"
STRETCHED = "stretched to another aspect ratio"
TREATMENTS = frozenset({CROPPED, REDUCED, ENLARGED, STRETCHED})


def fit(
    image: Image.Image, name: str, size: tuple[int, int], crop: str
) -> tuple[Image.Image, list[str]]:
    """Brings an image to `size` (height, width) by cropping and Lanczos resampling.

    Args:
        image: of mode "L", "RGB" or "RGBA"; alpha is respected in resampling.
        name: what messages call the image.
        size: (height, width) wanted.
        crop: "center" cuts the largest centred part of the wanted aspect ratio; "stretch"
            takes the whole image and changes its aspect ratio; "none" refuses an image of another
            aspect ratio.

    Returns:
        The image and the treatments that applied, of those named above; where only a crop is
        needed, no pixel is resampled.

    Raises:
        InputError: with crop "none", if the aspect ratio differs.
    """
    height, width = size
    if (image.height, image.width) == size:
        return image, []
    treatments = []
    box = (0.0, 0.0, float(image.width), float(image.height))
    scale = min(image.width / width, image.height / height)
    cut_width, cut_height = image.width - width * scale, image.height - height * scale
    # A cut of less than a pixel a side is rounding, not another aspect ratio.
    if max(cut_width, cut_height) >= 2 or (scale == 1 and max(cut_width, cut_height) >= 1):
        if crop == "none":
            raise InputError(
                f"{name} is {image.height}x{image.width} (height x width), another aspect "
                f"ratio than {height}x{width}; choose a crop to take it"
            )
        treatments.append(CROPPED if crop == "center" else STRETCHED)
    if crop == "center":
        left, top = cut_width / 2, cut_height / 2
        if scale == 1:  # cut at whole pixels, so that nothing is resampled
            left, top = int(left), int(top)
            return image.crop((left, top, left + width, top + height)), treatments
        # Rounding may push the box a hair over the edge, which Pillow refuses.
        right, bottom = left + width * scale, top + height * scale
        box = (left, top, min(right, image.width), min(bottom, image.height))
    treatments.append(REDUCED if scale > 1 else ENLARGED)
    return image.resize((width, height), Image.Resampling.LANCZOS, box=box), treatments

"""Encoded image files to pixels: the one place that says what happens to an unusual image.

Accepted are PNG, JPEG, WebP and BMP, by content, not by file name. The rules:

| image | becomes | treatment |
|---|---|---|
| EXIF (or XMP) orientation | turned upright | `TURNED` |
| palette | RGB, or RGBA if a palette entry is transparent | `PALETTE` |
| gray, where colour is wanted | the gray value in all three channels | `GRAY_TO_COLOUR` |
| alpha channel that is opaque everywhere, where none is wanted | dropped | `OPAQUE_ALPHA_DROPPED` |
| colour with equal channels, where gray is wanted | one of the channels | `ONE_CHANNEL_KEPT` |
| no alpha, where alpha is wanted | an opaque alpha channel is added | `ALPHA_ADDED` |
| transparent, where no alpha is wanted | laid over white | `OVER_WHITE` |
| CMYK | RGB by Pillow's formula, without a colour profile | `CMYK` |
| 16 bits a channel | 8 bits: gray is scaled by 255/65535 and rounded, \
colour keeps its high byte (Pillow's way) | `SIXTEEN_BITS` |
| colour, where gray is wanted | ITU-R 601-2 luma | `COLOUR_TO_GRAY` |
| animated | its first frame | `FIRST_FRAME` |
| empty, truncated, broken, of another format or pixel type, over 89 megapixels | \
refused by name | |

The first six keep every pixel value and happen wherever images are read. The others
(`LOSSY`) are done by `tf-sg2 dataset` alone, which counts them in its report; a source that
is read directly refuses such an image by name.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from tf_sg2.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_PIXELS = 89_478_485  # Pillow's own threshold for a suspected decompression bomb
MAX_BYTES = 2**30  # of a file: more than `MAX_PIXELS` pixels of 64 bits, not compressed

TURNED = "turned upright as its EXIF orientation says"
PALETTE = "palette replaced by its colours"
GRAY_TO_COLOUR = "gray turned to colour"
OPAQUE_ALPHA_DROPPED = "opaque alpha channel dropped"
ONE_CHANNEL_KEPT = "gray stored as colour, one channel kept"
ALPHA_ADDED = "opaque alpha channel added"
OVER_WHITE = "transparent, laid over white"
CMYK = "CMYK turned to RGB"
SIXTEEN_BITS = "16 bits a channel reduced to 8"
COLOUR_TO_GRAY = "colour turned to gray"
FIRST_FRAME = "animated, first frame taken"
LOSSY = frozenset({OVER_WHITE, CMYK, SIXTEEN_BITS, COLOUR_TO_GRAY, FIRST_FRAME})

CHANNEL_COUNTS = (1, 3, 4)
_ORIENTATION = 0x0112  # the EXIF tag
_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True)
class Decoded:
    """Pixels and what was done to get them.

    Attributes:
        image: a loaded image of mode "L", "RGB" or "RGBA".
        treatments: the constants of this module that applied, in order.
    """

    image: Image.Image
    treatments: tuple[str, ...]

    @property
    def channels(self) -> int:
        """1, 3 or 4."""
        return len(self.image.getbands())

    def array(self) -> np.ndarray:
        """The pixels, uint8 [H, W, C]."""
        pixels = np.asarray(self.image)
        return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def too_large(name: str) -> InputError:
    """The error for an image file of more than `MAX_BYTES` bytes."""
    return InputError(f"{name} is larger than {MAX_BYTES >> 20} MiB; it is no image to train on")


@dataclass(frozen=True)
class Header:
    """What a file's header tells without decoding: (height, width), gray or not, alpha or not."""

    size: tuple[int, int]
    is_gray: bool
    has_alpha: bool


def open_image(data: bytes, name: str) -> Image.Image:
    """Opens an image file's bytes without decoding its pixels.

    Raises:
        InputError: names the image; for an empty or unreadable file, another format, or more
            than `MAX_PIXELS` pixels.
    """
    if not data:
        raise InputError(f"{name} is empty (0 bytes); delete or replace it")
    too_large = f"{name} has more than {MAX_PIXELS // 10**6} megapixels; make it smaller first"
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise InputError(
            f"{name} is not a readable PNG, JPEG, WebP or BMP image; delete or replace it"
        ) from None
    except Image.DecompressionBombError:
        raise InputError(too_large) from None
    except Exception as error:  # Pillow's plugins raise many kinds on a malformed header
        raise _broken(name, error) from error
    if image.width * image.height > MAX_PIXELS:
        raise InputError(too_large)
    return image


def read_header(data: bytes, name: str) -> Header:
    """Reads the size and the kind of an image from its header; raises as `open_image` does."""
    image = open_image(data, name)
    # Pillow would decode a whole PNG to look for EXIF data behind its pixels.
    late = image.format == "PNG" and "exif" not in image.info
    try:
        turned = not late and image.getexif().get(_ORIENTATION, 1) in (5, 6, 7, 8)
    except Exception as error:
        raise _broken(name, error) from error
    return Header(
        size=(image.width, image.height) if turned else (image.height, image.width),
        is_gray=image.mode in ("1", "L", "LA") or image.mode.startswith("I"),
        has_alpha=image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info,
    )


def decode(data: bytes, name: str, channels: int | None = None) -> Decoded:
    """Decodes an image file by the rules at the top of this module.

    Args:
        data: the file's bytes.
        name: what messages call the image.
        channels: 1, 3 or 4 channels to convert to; None keeps gray, colour or colour with
            alpha as it is stored.

    Raises:
        InputError: names the image, if it is one that the rules refuse.
    """
    image = open_image(data, name)
    treatments = []
    # A multi-picture JPEG (MPO) is one photograph and its previews, not an animation.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        treatments.append(FIRST_FRAME)
    # Pillow reads 16-bit colour as 8-bit without a word; only the raw mode betrays it.
    if ";16" in image.mode or any(";16" in str(tile[3]) for tile in image.tile):
        treatments.append(SIXTEEN_BITS)
    try:
        image.load()
        if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
            image = ImageOps.exif_transpose(image)
            treatments.append(TURNED)
        image = _plain_mode(image, name, treatments)
    except InputError:
        raise
    except Exception as error:  # truncated or rotten data raises almost anything
        raise _broken(name, error) from error
    if channels is not None:
        image = _with_channels(image, channels, treatments)
    return Decoded(image, tuple(treatments))


def verify(data: bytes, name: str) -> None:
    """Checks the checksums that decoding skips (those of PNG chunks).

    Raises:
        InputError: names the image, if a checksum is wrong.
    """
    image = open_image(data, name)
    if image.format != "PNG":
        return
    try:
        image.verify()
    except Exception as error:
        raise _broken(name, error) from error


def convert_channels(image: Image.Image, channels: int) -> Decoded:
    """Converts a loaded "L", "RGB" or "RGBA" image to 1, 3 or 4 channels, by the same rules."""
    treatments: list[str] = []
    return Decoded(_with_channels(image, channels, treatments), tuple(treatments))


def _broken(name: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{name} is broken ({reason}); delete or replace it")


def _plain_mode(image: Image.Image, name: str, treatments: list[str]) -> Image.Image:
    """An image of mode "L", "RGB" or "RGBA" with the same content."""
    mode = image.mode
    if mode.startswith("I;16") or (mode == "I" and image.format == "PNG"):
        if SIXTEEN_BITS not in treatments:
            treatments.append(SIXTEEN_BITS)
        values = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if mode in ("P", "PA"):
        treatments.append(PALETTE)
        transparent = mode == "PA" or "transparency" in image.info
        return image.convert("RGBA" if transparent else "RGB")
    if mode == "LA" or (mode in ("L", "RGB") and "transparency" in image.info):
        return image.convert("RGBA")
    if mode == "CMYK":
        treatments.append(CMYK)
        return image.convert("RGB")
    if mode == "1":
        return image.convert("L")
    if mode not in ("L", "RGB", "RGBA"):
        raise InputError(f"{name} has pixels of type {mode}, which is not supported; replace it")
    return image


def _with_channels(image: Image.Image, channels: int, treatments: list[str]) -> Image.Image:
    if channels not in CHANNEL_COUNTS:
        raise InputError(f"images have 1, 3 or 4 channels, not {channels}")
    if channels == 4:
        if image.mode == "RGBA":
            return image
        treatments.append(ALPHA_ADDED)
        return image.convert("RGBA")
    if image.mode == "RGBA":
        if image.getextrema()[3][0] == 255:
            treatments.append(OPAQUE_ALPHA_DROPPED)
        else:
            treatments.append(OVER_WHITE)
            image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
        image = image.convert("RGB")
    if channels == 1 and image.mode == "RGB":
        red, green, blue = (band.tobytes() for band in image.split())
        treatments.append(ONE_CHANNEL_KEPT if red == green == blue else COLOUR_TO_GRAY)
        return image.convert("L")
    if channels == 3 and image.mode == "L":
        treatments.append(GRAY_TO_COLOUR)
        return image.convert("RGB")
    return image

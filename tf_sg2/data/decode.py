"""Decodes image files, and holds the rules for unusual images in one place.

PNG, JPEG, WebP and BMP are accepted; the content decides, not the file name. The rules:

| Image | Result | Treatment |
|---|---|---|
| EXIF (or XMP) orientation | rotated upright | `TURNED` |
| palette | RGB, or RGBA if a palette entry is transparent | `PALETTE` |
| gray, colour is wanted | the gray value in all three channels | `GRAY_TO_COLOUR` |
| fully opaque alpha channel, no alpha is wanted | alpha is dropped | `OPAQUE_ALPHA_DROPPED` |
| colour with equal channels, gray is wanted | one of the channels | `ONE_CHANNEL_KEPT` |
| no alpha, alpha is wanted | an opaque alpha channel is added | `ALPHA_ADDED` |
| transparent, no alpha is wanted | composited over white | `OVER_WHITE` |
| CMYK | RGB by Pillow's formula, without a colour profile | `CMYK` |
| 16 bits per channel | 8 bits: gray is scaled by 255/65535 and rounded, \
colour keeps its high byte (as Pillow does) | `SIXTEEN_BITS` |
| colour, gray is wanted | ITU-R 601-2 luma | `COLOUR_TO_GRAY` |
| animated | its first frame | `FIRST_FRAME` |
| empty, truncated, broken, of another format or pixel type, over 89 megapixels | \
refused by name | |

The first six keep every pixel value, and every reader applies them. Only `tf-sg2 dataset` applies
the others (`LOSSY`), and counts them in its report. A source that reads such an image directly
refuses it by name.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile, ImageOps

from tf_sg2.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_PIXELS = 89_478_485  # Pillow's threshold for a suspected decompression bomb.
MAX_BYTES = 2**30  # Of a file: more than `MAX_PIXELS` uncompressed pixels of 64 bits.

TURNED = "rotated upright by its EXIF orientation"
PALETTE = "palette replaced by its colours"
GRAY_TO_COLOUR = "gray converted to colour"
OPAQUE_ALPHA_DROPPED = "opaque alpha channel dropped"
ONE_CHANNEL_KEPT = "gray stored as colour, one channel kept"
ALPHA_ADDED = "opaque alpha channel added"
OVER_WHITE = "transparent, composited over white"
CMYK = "CMYK converted to RGB"
SIXTEEN_BITS = "16 bits per channel reduced to 8"
COLOUR_TO_GRAY = "colour converted to gray"
FIRST_FRAME = "animated, first frame taken"
LOSSY = frozenset({OVER_WHITE, CMYK, SIXTEEN_BITS, COLOUR_TO_GRAY, FIRST_FRAME})

CHANNEL_COUNTS = (1, 3, 4)
_ORIENTATION = 0x0112  # The EXIF tag.
_WHITE = (255, 255, 255, 255)


@dataclass(frozen=True)
class Decoded:
    """A decoded image and the treatments that were applied to it.

    Attributes:
        image: a loaded image of mode "L", "RGB" or "RGBA".
        treatments: constants of this module, in the order of application.
    """

    image: Image.Image
    treatments: tuple[str, ...]

    @property
    def channels(self) -> int:
        """Number of channels: 1, 3 or 4."""
        return len(self.image.getbands())

    def array(self) -> np.ndarray:
        """Returns the pixels, uint8 [H, W, C]."""
        pixels = np.asarray(self.image)
        return pixels[:, :, np.newaxis] if pixels.ndim == 2 else pixels


def too_large(name: str) -> InputError:
    """Returns the error for an image file of more than `MAX_BYTES` bytes."""
    return InputError(
        f"{name} is larger than {MAX_BYTES >> 20} MiB, too large for an image file; "
        "delete or replace it"
    )


def bad_channels(channels: int | None) -> InputError:
    """Returns the error for a number of channels that no image has."""
    return InputError(f"images have 1, 3 or 4 channels, not {channels}")


@dataclass(frozen=True)
class Header:
    """Facts from an image file's header: (height, width), whether it is gray or has alpha."""

    size: tuple[int, int]
    is_gray: bool
    has_alpha: bool


def open_image(data: bytes, name: str) -> Image.Image:
    """Opens an image file's bytes without decoding its pixels.

    Raises:
        InputError: names the image, if it is empty, unreadable, of another format, or has more
            than `MAX_PIXELS` pixels.
    """
    if not data:
        raise InputError(f"{name} is empty (0 bytes); delete or replace it")
    too_large = f"{name} has more than {MAX_PIXELS // 10**6} megapixels; reduce its size first"
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.UnidentifiedImageError:
        raise InputError(
            f"{name} is not a readable PNG, JPEG, WebP or BMP image; delete or replace it"
        ) from None
    except Image.DecompressionBombError:
        raise InputError(too_large) from None
    except Exception as error:  # A malformed header makes Pillow raise many kinds of errors.
        raise _broken(name, error) from error
    if image.width * image.height > MAX_PIXELS:
        raise InputError(too_large)
    return image


def read_header(data: bytes, name: str) -> Header:
    """Returns the size and the kind of an image from its header.

    Raises:
        InputError: as `open_image`.
    """
    image = open_image(data, name)
    # Pillow would decode the whole PNG to find EXIF data after its pixels.
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
        name: name of the image in messages.
        channels: number of channels to convert to: 1, 3 or 4. None keeps the stored number.

    Raises:
        InputError: names the image, if the rules refuse it.
    """
    image = open_image(data, name)
    treatments = []
    # A multi-picture JPEG (MPO) is one photograph and its previews, not an animation.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        treatments.append(FIRST_FRAME)
    # Pillow reads 16-bit colour as 8-bit and says nothing; only the raw mode shows it.
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    if ";16" in image.mode or any(";16" in str(tile[3]) for tile in tiles):
        treatments.append(SIXTEEN_BITS)
    try:
        image.load()
        if image.getexif().get(_ORIENTATION, 1) in range(2, 9):
            image = ImageOps.exif_transpose(image)
            treatments.append(TURNED)
        image = _plain_mode(image, name, treatments)
    except InputError:
        raise
    except Exception as error:  # Damaged data makes Pillow raise many kinds of errors.
        raise _broken(name, error) from error
    if channels is not None:
        image = _with_channels(image, channels, treatments)
    return Decoded(image, tuple(treatments))


def verify(data: bytes, name: str) -> None:
    """Verifies the checksums of PNG chunks, which decoding does not.

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
    """Returns an "L", "RGB" or "RGBA" image converted to 1, 3 or 4 channels by the same rules."""
    treatments: list[str] = []
    return Decoded(_with_channels(image, channels, treatments), tuple(treatments))


def _broken(name: str, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    return InputError(f"{name} is broken ({reason}); delete or replace it")


def _plain_mode(image: Image.Image, name: str, treatments: list[str]) -> Image.Image:
    """Returns the image in mode "L", "RGB" or "RGBA"."""
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
        raise bad_channels(channels)
    if channels == 4:
        if image.mode == "RGBA":
            return image
        treatments.append(ALPHA_ADDED)
        return image.convert("RGBA")
    if image.mode == "RGBA":
        if image.getchannel("A").getextrema()[0] == 255:
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

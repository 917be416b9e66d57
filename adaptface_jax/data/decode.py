# SPDX-License-Identifier: Apache-2.0
"""Encoded or decoded images to uint8 RGB, on the host, with Pillow."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.mistaken import mistaken_for
from adaptface_jax.data import plain_jpeg
from adaptface_jax.data.image_formats import FORMATS, HEAD, HEIF, is_heif, reads_heif
from adaptface_jax.data.orientation import upright

# A JPEG header may claim 65500 x 65500 pixels (12 GiB decoded). 64 million suffice for any camera's photograph.
MAX_PIXELS = 64_000_000
# A progressive JPEG is decoded once per scan, and thousands of scans fit in a small file; photographs have about ten.
MAX_SCANNED = 32 * MAX_PIXELS
# The smallest size at which a JPEG is decoded before it is reduced, as a multiple of the final size.
SPARE = 2
_SCAN = b"\xff\xda"

Found = TypeVar("Found")


class TooManyPixels(InputError):
    """An image larger than MAX_PIXELS."""


def decode(image: bytes | np.ndarray | Image.Image, key: str, size: int | None = None) -> np.ndarray:
    """Decodes one image.

    image: an encoded file (FORMATS), one that Pillow has opened (of any format), or a decoded uint8 array [H, W, 3],
    which is returned unchanged.
    key: names the image in errors.
    size: the side length to which the caller resizes. A large JPEG is decoded at 1/2, 1/4 or 1/8 scale if at least
    SPARE times `size` remains, in a third of the time; at 112 px the resulting pixels differ by 0.4, 0.6 and 1.0 of 255
    on average.
    Returns uint8 [H, W, 3], RGB. Gray, palette and CMYK become RGB; of 9 to 16 bits the upper 8 are kept (of the bit
    depth that the file declares: white is 65535 at 16 bits, whatever the brightest pixel is, and 4095 at 12);
    transparency is dropped, EXIF orientation is applied unless it is corrupted, and the first frame or page is used.
    Raises InputError for anything unreadable or truncated, for HEIC without the extra `heic`, and for 32-bit pixels,
    whose range is unknown; TooManyPixels from the header alone: no pixel of such an image is decoded.
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            seen = f"{image.dtype} {list(image.shape)}{_instead(image)}"
            raise InputError(f"{key}: expected a uint8 array [H, W, 3], found {seen}")
        return image
    if isinstance(image, bytes) and (found := _ordinary(image, size)) is not None:
        return found
    return np.asarray(_opened(image, key, functools.partial(_rgb, size=size)))


def _instead(array: np.ndarray) -> str:
    """How an array that is no image becomes one, where that is plain from its type and shape."""
    shape = array.shape
    if array.size == 0:
        return ", which holds no pixels"
    if len(shape) == 3 and shape[0] in (1, 3) and shape[2] != 3:
        return ", channels first; give image.transpose(1, 2, 0)"
    if len(shape) == 2 or shape[2:] == (1,):
        return ", gray; give np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2)"
    if shape[2:] == (4,):
        return ", with transparency; give image[..., :3]"
    if shape[2:] == (3,):
        return "; give values of 0 to 255, as image.astype(np.uint8)"
    return ""


def _ordinary(file: bytes, size: int | None) -> np.ndarray | None:
    """The pixels of a JPEG that needs neither scaling nor scrutiny, the quick way; None: of any other file."""
    frame = plain_jpeg.frame(file)
    if frame is None or frame.width * frame.height > MAX_PIXELS:
        return None
    if size is not None and min(frame.width, frame.height) >= 2 * SPARE * size:
        return None
    if _too_many_scans(file, frame.width * frame.height):
        return None
    return plain_jpeg.pixels(file, (frame.width, frame.height))


def header_size(image: bytes | np.ndarray | Image.Image, key: str) -> tuple[int, int]:
    """Width and height of an image as stored, from its header alone; raises InputError as `decode` does."""
    if isinstance(image, np.ndarray):
        return image.shape[1], image.shape[0]
    return _opened(image, key, lambda opened, _: opened.size)


def _opened(image: bytes | Image.Image, key: str, use: Callable[[Image.Image, str], Found]) -> Found:
    """The result of `use` on the opened image; whatever fails there becomes an InputError."""
    try:
        if isinstance(image, Image.Image):
            return use(image, key)
        with Image.open(io.BytesIO(image), formats=_formats(image[:HEAD], key)) as opened:
            if opened.format in ("JPEG", "MPO") and _too_many_scans(image, opened.width * opened.height):
                raise InputError(
                    f"{key}: {image.count(_SCAN):,} scans of {opened.width} x {opened.height} pixels; "
                    f"at most {MAX_SCANNED:,} pixels in all scans are decoded"
                )
            return use(opened, key)
    except InputError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error ... on outside bytes
        kinds = ", ".join(FORMATS)
        if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
            raise TooManyPixels(f"{key}: the image claims more than the {MAX_PIXELS} pixels that are read") from None
        if isinstance(error, UnidentifiedImageError) and isinstance(image, bytes):
            mistaken = mistaken_for(image)
            if mistaken is not None:
                raise InputError(f"{key}: cannot decode the image: it {mistaken}") from None
            reason = f"{len(image)} bytes of no known format"
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{key}: cannot decode the image ({reason}); expected a complete {kinds} file") from None


def _too_many_scans(file: bytes, pixels: int) -> bool:
    most = len(file) // len(_SCAN)  # in a file of this length: counting them takes time
    return pixels * most > MAX_SCANNED and pixels * file.count(_SCAN) > MAX_SCANNED


def to_size(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [size, size, 3], bicubic (a = -0.5, antialiased: Pillow's); unchanged at that size.

    A batch is transferred to the device as one array, so every image in a run has the same stored size; datasets of
    aligned crops already have it and cost nothing here.
    """
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def _rgb(image: Image.Image, key: str, size: int | None) -> Image.Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise TooManyPixels(f"{key}: the image claims {width} x {height} pixels; at most {MAX_PIXELS} are read")
    if width * height == 0:
        raise InputError(f"{key}: is {width} x {height}, which holds no pixels")
    bits, inverted = _depth(image)
    if size is not None and image.format == "JPEG":
        image.draft(None, (SPARE * size, SPARE * size))
    image.load()
    image = upright(image)
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_upper_eight(image, bits, inverted, key))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns about the direct way
    return image if image.mode == "RGB" else image.convert("RGB")


def _formats(head: bytes, key: str) -> tuple[str, ...]:
    """Pillow's names for the formats that a file may have."""
    if is_heif(head):
        if not reads_heif():
            raise InputError(f"{key}: is a HEIC image; run pip install 'adaptface_jax[heic]', or convert it to JPEG")
        return (HEIF,)
    return tuple(name for name in FORMATS if name != HEIF)


def _depth(image: Image.Image) -> tuple[int, bool]:
    """How many bits a gray pixel has, and whether 0 is white. TIFF declares it; Pillow scales a PGM to 16 bits."""
    if image.format is None and image.mode == "I":
        return 32, False  # made in memory, of any range
    if image.format != "TIFF":
        return 16, False
    tags = image.tag_v2  # type: ignore[attr-defined]
    signed = tags.get(SAMPLEFORMAT, (1,))[0] == 2
    return tags.get(BITSPERSAMPLE, (1,))[0] - signed, tags.get(PHOTOMETRIC_INTERPRETATION) == 0


def _upper_eight(image: Image.Image, bits: int, inverted: bool, key: str) -> np.ndarray:
    """uint8 [H, W] from a gray image of up to 16 bits: "I;16", or "I" for a PGM or signed pixels."""
    if bits > 16 or image.mode == "F":
        raise InputError(f"{key}: has 32-bit pixels, whose range is unknown; expected 8 or 16 bits")
    levels = (np.asarray(image).astype(np.int32).clip(0, 2**bits - 1) >> (bits - 8)).astype(np.uint8)
    return 255 - levels if inverted else levels

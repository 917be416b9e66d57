"""Encoded or decoded images to uint8 RGB, on the host, with Pillow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.orientation import upright

# Pillow's name of a format -> file endings. Other formats Pillow knows are refused: less code meets outside files.
FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "PPM": (".pgm", ".ppm", ".pnm"),
    "BMP": (".bmp",),
    "WEBP": (".webp",),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)

# A JPEG header may claim 65500 x 65500 pixels (12 GiB decoded). 64 million hold any camera's photograph.
MAX_PIXELS = 64_000_000


def decode(image: bytes | np.ndarray | Image.Image, key: str) -> np.ndarray:
    """Decodes one image.

    image: an encoded file (FORMATS), one that Pillow has opened (of any format), or a decoded uint8 array [H, W, 3],
    which is returned as it is.
    key: names the image in errors.
    Returns uint8 [H, W, 3], RGB. Grey, palette and CMYK become RGB, 16 bits become the upper 8, transparency is
    dropped, EXIF orientation is applied (a broken one is not), and of an animation the first frame is taken.
    Raises InputError for anything unreadable, truncated or larger than MAX_PIXELS (read from the header: no pixel of
    such an image is decoded).
    """
    if isinstance(image, np.ndarray):
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
            raise InputError(f"{key}: expected a uint8 array [H, W, 3], found {image.dtype} {list(image.shape)}")
        return image
    try:
        if isinstance(image, Image.Image):
            return np.asarray(_rgb(image, key))
        with Image.open(io.BytesIO(image), formats=tuple(FORMATS)) as opened:
            return np.asarray(_rgb(opened, key))
    except InputError:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error ... on outside bytes
        kinds = ", ".join(FORMATS)
        if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
            reason = f"it claims more than the {MAX_PIXELS} pixels that are read"
        elif isinstance(error, UnidentifiedImageError) and isinstance(image, bytes):
            reason = f"{len(image)} bytes of no known format"
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{key}: cannot decode the image ({reason}); expected a whole {kinds} file") from None


def to_size(image: np.ndarray, size: int) -> np.ndarray:
    """uint8 [H, W, 3] -> uint8 [size, size, 3], bicubic (a = -0.5, antialiased: Pillow's); untouched at that size.

    A batch crosses to the device as one array, so every image of a run has one stored size; sets of aligned crops
    have it already and pay nothing here.
    """
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC))


def _rgb(image: Image.Image, key: str) -> Image.Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(f"{key}: the image claims {width} x {height} pixels; at most {MAX_PIXELS} are read")
    image.load()
    image = upright(image)
    if image.mode.startswith("I"):  # 16-bit grey: "I;16" from PNG, "I" (scaled to 65535) from PGM
        wide = np.asarray(image).clip(0, 65535)
        image = Image.fromarray((wide >> 8).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow warns about the direct way
    return image if image.mode == "RGB" else image.convert("RGB")

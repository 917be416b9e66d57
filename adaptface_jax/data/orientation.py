"""The orientation stored in an image file. Pillow's own reader warns about, or refuses, an image whose metadata is
corrupted although its pixels are intact; here such an image is simply not rotated."""

from __future__ import annotations

import re
import struct
from typing import Any

from PIL import Image

_TAG, _SHORT = 0x0112, 3
_ENTRY = 12
_XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def upright(image: Image.Image) -> Image.Image:
    """The image rotated by its EXIF, or else its XMP, orientation (EXIF 2.3, tag 0x0112)."""
    turn = _TURN.get(_from_exif(image.info.get("exif")) or _from_xmp(image.info.get("xmp")))
    return image if turn is None else image.transpose(turn)


def _from_exif(exif: Any) -> int:
    """The orientation 1..8 in the first directory of a TIFF header, or 0 if there is none."""
    if not isinstance(exif, bytes):
        return 0
    data = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return 0
    try:
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
        for place in range(start + 2, start + 2 + count * _ENTRY, _ENTRY):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, place)
            if tag == _TAG:
                return value if kind == _SHORT and value in range(1, 9) else 0
    except struct.error:  # the directory is truncated
        pass
    return 0


def _from_xmp(xmp: Any) -> int:
    found = _XMP.search(xmp) if isinstance(xmp, bytes) else None
    return int(found[1]) if found else 0

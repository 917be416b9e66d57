# SPDX-License-Identifier: Apache-2.0
"""Decoding of ordinary JPEG files without what Pillow does in Python for each: half of a small image's time.

Pillow's reader takes every segment of a file apart in Python, under the interpreter's lock, for which the other threads
that read wait. Most files need none of it: here only the frame header is read, and Pillow's decoder does the rest, with
the same pixels. A file that is not ordinary in every respect is left to Pillow's reader. Source: ITU-T T.81, B.2.2.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

_START = b"\xff\xd8\xff"
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive; all Huffman
_SCAN = 0xDA
# Segments that change nothing about the pixels' meaning: tables, restart intervals, comments, JFIF.
_SKIPPED = (0xDB, 0xC4, 0xDD, 0xFE, 0xE0)


class Frame(NamedTuple):
    width: int
    height: int


def frame(file: bytes) -> Frame | None:
    """The frame header of an ordinary file: 8 bits, three components, no metadata but JFIF's; else None.

    EXIF and XMP may turn an image, APP2 may name further pictures, APP14 another color space.
    """
    if not file.startswith(_START):
        return None
    place, found = 2, None
    while place + 4 <= len(file) and file[place] == 0xFF:
        marker, length = file[place + 1], file[place + 2] << 8 | file[place + 3]
        if marker == _SCAN:
            return found
        if marker in _FRAMES and found is None and length == 17:
            segment = file[place + 4 : place + 10]
            if len(segment) < 6 or segment[0] != 8 or segment[5] != 3:
                return None
            found = Frame(segment[3] << 8 | segment[4], segment[1] << 8 | segment[2])
        elif marker not in _SKIPPED:
            return None
        place += 2 + length
    return None


def pixels(file: bytes, size: tuple[int, int]) -> np.ndarray | None:
    """uint8 [H, W, 3] of an ordinary file of this (width, height); None if anything in it is wrong."""
    try:
        return np.asarray(Image.frombytes("RGB", size, file, "jpeg", "RGB", ""))
    except (ValueError, OSError):  # truncated or corrupted: Pillow's reader says how
        return None

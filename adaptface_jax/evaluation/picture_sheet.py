"""A contact sheet: rows of faces, with text next to each."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.text import shown
from adaptface_jax.data.decode import decode, to_size

SIDE = 112  # pixels of a face
TEXT = 4 * SIDE
FONT = 14  # pixels: six lines next to a face
SHEETS = {".jpg": "JPEG", ".png": "PNG"}


class Row(NamedTuple):
    """images: encoded or decoded. text: a few lines."""

    images: Sequence[bytes | np.ndarray]
    text: str


def check_sheet(out: str | None) -> None:
    """Raise InputError for a file name without an image suffix."""
    if out and Path(out).suffix.lower() not in SHEETS:
        raise InputError(f"--sheet: {shown(out)} is not an image; expected a name that ends in {' or '.join(SHEETS)}")


def draw_sheet(rows: Sequence[Row], columns: int) -> np.ndarray:
    """The sheet, uint8 [H, W, 3], `columns` faces wide. Raises InputError for a face that cannot be decoded."""
    canvas = Image.new("RGB", (columns * SIDE + TEXT, max(len(rows), 1) * SIDE), "white")
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(FONT)
    for place, row in enumerate(rows):
        for column, image in enumerate(row.images):
            canvas.paste(Image.fromarray(to_size(decode(image, "sheet"), SIDE)), (column * SIDE, place * SIDE))
        # The built-in font has ASCII letters only.
        text = "\n".join(ascii(line)[1:-1] for line in row.text.split("\n"))
        draw.multiline_text((columns * SIDE + 8, place * SIDE + 8), text, fill="black", font=font)
    return np.asarray(canvas)


def encoded_sheet(rows: Sequence[Row], columns: int, suffix: str) -> bytes:
    """The same as a file; suffix: one of SHEETS."""
    file = io.BytesIO()
    Image.fromarray(draw_sheet(rows, columns)).save(file, SHEETS[suffix.lower()])
    return file.getvalue()

# SPDX-License-Identifier: Apache-2.0
"""Ordinary JPEG files are decoded the quick way, to the pixels of Pillow's reader; all others are left to it."""

from __future__ import annotations

import io

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
from PIL import Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.data import plain_jpeg
from adaptface_jax.data.decode import decode


def picture(width: int, height: int, mode: str = "RGB", seed: int = 0) -> Image.Image:
    channels = {"L": (), "RGB": (3,), "CMYK": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)
    return Image.frombytes(mode, (width, height), pixels.tobytes())


def saved(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def by_pillow(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


@hypothesis.settings(max_examples=40)
@hypothesis.given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    quality=st.integers(1, 100),
    subsampling=st.integers(0, 2),
    progressive=st.booleans(),
    optimize=st.booleans(),
    restart=st.integers(0, 3),
    comment=st.binary(max_size=20),
)
def test_the_pixels_are_those_of_pillows_reader(
    width, height, quality, subsampling, progressive, optimize, restart, comment
):
    options = {"quality": quality, "subsampling": subsampling, "progressive": progressive, "optimize": optimize}
    file = saved(picture(width, height), restart_marker_rows=restart, comment=comment or None, **options)
    assert plain_jpeg.frame(file) == (width, height)
    expected = by_pillow(file)
    np.testing.assert_array_equal(plain_jpeg.pixels(file, (width, height)), expected)
    np.testing.assert_array_equal(decode(file, "a file"), expected)


def turned() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return saved(picture(8, 5), exif=exif)


@pytest.mark.parametrize(
    "file",
    [
        saved(picture(8, 8, "L")),
        saved(picture(8, 8, "CMYK")),
        turned(),
        saved(picture(8, 8), icc_profile=b"made" * 10),
        saved(picture(8, 8), xmp=b'<x tiff:Orientation="6"/>'),
        b"\x89PNG\r\n\x1a\n" + bytes(40),
        b"",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xc0\x00",
    ],
)
def test_what_is_not_ordinary_is_left_to_pillows_reader(file):
    assert plain_jpeg.frame(file) is None


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_refused_as_before(cut):
    file = saved(picture(40, 40))
    with pytest.raises(InputError, match="cannot decode the image"):
        decode(file[: int(cut * len(file))], "a file")


@hypothesis.settings(max_examples=60)
@hypothesis.given(place=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_gives_what_pillows_reader_gives(place, value):
    """The same pixels or an error, as before: what only one of both accepts would be a difference."""
    file = bytearray(saved(picture(24, 24)))
    file[place % len(file)] = value
    file = bytes(file)
    frame = plain_jpeg.frame(file)
    if frame is None or (found := plain_jpeg.pixels(file, frame)) is None:
        return
    try:
        expected = by_pillow(file)
    except Exception:
        pytest.fail("accepted what Pillow's reader refuses")
    np.testing.assert_array_equal(found, expected)

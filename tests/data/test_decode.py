# SPDX-License-Identifier: Apache-2.0
"""Any image a face set may hold becomes uint8 RGB; anything else is one line that names it."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from adaptface_jax.core.errors import InputError
from adaptface_jax.data import plain_jpeg
from adaptface_jax.data.decode import MAX_PIXELS, decode, to_size

from .packing import encoded, picture

RGB = picture(0, 20, 10)
GRAY = RGB[..., 0]


@pytest.mark.parametrize("form", ["PNG", "PPM", "BMP"])
def test_lossless_formats_are_exact(form):
    np.testing.assert_array_equal(decode(encoded(RGB, form), "x"), RGB)


@pytest.mark.parametrize("form", ["PNG", "PPM"])
def test_gray_is_repeated_over_the_channels(form):
    np.testing.assert_array_equal(decode(encoded(GRAY, form), "x"), np.stack([GRAY] * 3, -1))


@pytest.mark.parametrize("form", ["PNG", "PPM"])
def test_sixteen_bits_keep_the_upper_eight(form):
    wide = GRAY.astype(np.uint16) * 256 + 77
    np.testing.assert_array_equal(decode(encoded(wide, form), "x"), np.stack([GRAY] * 3, -1))


def test_cmyk_jpeg_becomes_rgb():
    file = io.BytesIO()
    Image.fromarray(RGB).convert("CMYK").save(file, "JPEG", quality=100)
    difference = decode(file.getvalue(), "x").astype(int) - RGB
    assert np.abs(difference).mean() < 3


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1"])
def test_other_modes_become_rgb(mode):
    file = io.BytesIO()
    image = Image.fromarray(RGB).convert(mode)
    image.save(file, "PNG", **({"transparency": b"\x00\x10"} if mode == "P" else {}))
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decode(file.getvalue(), "x"), expected)


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated 90 degrees counterclockwise
    turned = encoded(np.rot90(RGB), "JPEG", quality=100, subsampling=0, exif=exif)
    found = decode(turned, "x")
    assert found.shape == RGB.shape
    assert np.abs(found.astype(int) - RGB).mean() < 3


def test_arrays_pass_through():
    assert decode(RGB, "x") is RGB


def png_claiming(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


JPEG = encoded(RGB, "JPEG")
BROKEN = {
    "nothing": b"",
    "no image": b"these are words",
    "half a JPEG": JPEG[: len(JPEG) // 2],
    "half a PNG": encoded(RGB)[:200],
    "a JPEG's first bytes": JPEG[:20],
    "a format that is not read": encoded(RGB, "PCX"),
    "more pixels than are read": png_claiming(MAX_PIXELS // 1000 + 1, 1000),
    "a decompression bomb": png_claiming(65500, 65500),
    "floats": np.zeros((4, 4, 3), np.float32),
    "a gray array": np.zeros((4, 4), np.uint8),
    "no pixels": np.zeros((0, 4, 3), np.uint8),
}


def scanned(scans: int, side: int, progressive: bool = True) -> bytes:
    """A JPEG with this many scans."""
    data = bytearray(encoded(RGB, "JPEG", progressive=progressive))
    frame, last = data.find(b"\xff\xc2" if progressive else b"\xff\xc0"), data.rfind(b"\xff\xda")
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    return bytes(data[:last] + data[last:-2] * scans + b"\xff\xd9")


def test_scans_are_bounded_by_what_they_go_over():
    assert decode(scanned(2000, 64), "x").shape == (64, 64, 3)
    with pytest.raises(InputError, match=r"3,0\d\d scans of 8000 x 8000 pixels; at most 2,048,000,000 pixels"):
        decode(scanned(3000, 8000), "x")


@pytest.mark.parametrize("progressive", [True, False])
def test_too_many_scans_never_reach_the_decoder(progressive, monkeypatch):
    monkeypatch.setattr(plain_jpeg, "pixels", lambda *_: pytest.fail("decoded"))
    with pytest.raises(InputError, match=r"3,0\d\d scans of 8000 x 8000 pixels"):
        decode(scanned(3000, 8000, progressive), "x")


@pytest.mark.parametrize("image", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_not_an_image_is_named(image):
    with pytest.raises(InputError, match=r"^set/record 7: ") as caught:
        decode(image, "set/record 7")
    assert "\n" not in str(caught.value)


def test_to_size_leaves_stored_crops_alone_and_resizes_others_as_pillow():
    assert to_size(RGB[:10, :10], 10).shape == (10, 10, 3)
    crop = np.ascontiguousarray(RGB[:10, :10])
    assert to_size(crop, 10) is crop
    expected = np.asarray(Image.fromarray(RGB).resize((8, 8), Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(to_size(RGB, 8), expected)


@pytest.mark.parametrize(("side", "left"), [(31, 31), (63, 63), (64, 32), (200, 50), (1000, 125)])
def test_a_large_jpeg_is_decoded_smaller_if_twice_the_size_remains(side, left):
    photograph = picture(1, side, side)
    found = decode(encoded(photograph, "JPEG", quality=95), "x", 16)
    assert found.shape == (left, left, 3)
    difference = to_size(found, 16).astype(int) - to_size(decode(encoded(photograph, "JPEG", quality=95), "x"), 16)
    assert np.abs(difference).mean() < 2 and np.abs(difference).max() <= 16


def test_scaled_decoding_turns_photographs_upright_and_leaves_other_formats_alone():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode(encoded(picture(1, 128, 256), "JPEG", exif=exif), "x", 16).shape == (32, 64, 3)
    assert decode(encoded(picture(1, 128, 128)), "x", 16).shape == (128, 128, 3)

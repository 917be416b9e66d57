"""Archives of arrays: what they claim is bounded before it is unpacked."""

from __future__ import annotations

import io
import struct
import zipfile

import numpy as np
import pytest

from adaptface_jax.core import arrays
from adaptface_jax.core.arrays import read_arrays


def archive(shape: str, content: bytes = b"", kind: str = "<f8") -> bytes:
    """One array `x` of a claimed shape."""
    head = f"{{'descr':'{kind}','fortran_order':False,'shape':{shape}}}".encode().ljust(117) + b"\n"
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("x.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(head)) + head + content)
    return file.getvalue()


def test_what_numpy_wrote_is_read():
    file = io.BytesIO()
    np.savez_compressed(file, a=np.arange(3), b=np.zeros((2, 0)))
    found = read_arrays(io.BytesIO(file.getvalue()))
    assert found["a"].tolist() == [0, 1, 2] and found["b"].shape == (2, 0)


@pytest.mark.parametrize(
    "data",
    [
        archive("(1000000000000000,)"),
        archive("(-5,)"),
        archive("(2,)", b"short"),
        archive("(1,)", bytes(8), kind="|O"),
        archive("(1,)", bytes(8))[:-30],
        b"",
    ],
)
def test_an_invalid_archive_gives_one_error(data):
    with pytest.raises(ValueError):
        read_arrays(io.BytesIO(data))


def test_more_than_fits_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr(arrays, "MOST", 1000)
    with pytest.raises(ValueError, match="it claims 8,128 bytes; at most 1,000 are read"):
        read_arrays(io.BytesIO(archive("(1000,)", bytes(8000))))

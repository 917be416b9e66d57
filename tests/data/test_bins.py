# SPDX-License-Identifier: Apache-2.0
"""Verification packs are read completely, whoever wrote them; any other pickle does nothing at all."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import os
import pickle
import struct
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.data.benchmarks import bins
from adaptface_jax.data.benchmarks.bins import open_bin
from adaptface_jax.data.decode import decode

from .packing import encoded, picture

A, B, C = (encoded(picture(i, 12, 12), "JPEG") for i in range(3))
PAIRS = [A, B, A, C]  # A is held once
ISSAME = [True, False]
SMALL = pickle.dumps(([np.full(3, i, np.uint8) for i in range(4)], np.array(ISSAME)), 2)


def written(tmp_path, content: bytes):
    file = tmp_path / "pack.bin"
    file.write_bytes(content)
    return file


def check(benchmark):
    assert list(benchmark.images) == [A, B, C]
    np.testing.assert_array_equal(benchmark.index, [0, 1, 0, 2])
    np.testing.assert_array_equal(benchmark.issame, ISSAME)
    assert (benchmark.index.dtype, benchmark.issame.dtype) == (np.int32, bool)


@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_of_bytes(tmp_path, protocol):
    check(open_bin(written(tmp_path, pickle.dumps((PAIRS, ISSAME), protocol))))


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("form", ["list of numpy booleans", "array", "Fortran array"])
def test_every_protocol_of_arrays(tmp_path, protocol, form):
    images = [np.frombuffer(file, np.uint8) for file in PAIRS]
    truth = {"list of numpy booleans": list(np.array(ISSAME)), "array": np.array(ISSAME)}
    truth["Fortran array"] = np.asfortranarray(np.array([ISSAME], np.int64))
    check(open_bin(written(tmp_path, pickle.dumps((images, truth[form]), protocol))))


def test_writable_arrays_of_protocol_5(tmp_path):
    images = [np.frombuffer(file, np.uint8).copy() for file in PAIRS]
    check(open_bin(written(tmp_path, pickle.dumps((images, ISSAME), 5))))


@pytest.mark.parametrize("shape", [(-1, 1), (1, -1)])
def test_encoded_images_as_a_column_or_a_row(tmp_path, shape):
    """Older `cv2.imencode` returned uint8 [N, 1]."""
    images = [np.frombuffer(file, np.uint8).reshape(shape) for file in PAIRS]
    check(open_bin(written(tmp_path, pickle.dumps((images, ISSAME), 3))))


def test_a_pack_of_python_2(tmp_path):
    strings = b"".join(b"T" + struct.pack("<i", len(file)) + file + b"q\x01" for file in PAIRS)
    check(open_bin(written(tmp_path, b"\x80\x02](" + strings + b"e](\x88\x89e\x86q\x02.")))
    text = b"".join(b"S" + repr(file)[1:].encode() + b"\np1\na" for file in PAIRS)  # protocol 0
    check(open_bin(written(tmp_path, b"((lp0\n" + text + b"(lp2\nI01\naI00\natp3\n.")))


def test_arrays_of_python_2(tmp_path):
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
    state = b"(K\x01%scnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    images = b""
    for file in PAIRS:
        shape = b"M" + struct.pack("<H", len(file)) + b"\x85"
        images += array + state % shape + b"T" + struct.pack("<i", len(file)) + file + b"tb"
    check(open_bin(written(tmp_path, b"\x80\x02](" + images + b"e](\x88\x89e\x86.")))


def test_decoded_images_stay_arrays(tmp_path):
    images = [picture(i, 6, 5) for i in (0, 1, 0, 0)]
    benchmark = open_bin(written(tmp_path, pickle.dumps((images, ISSAME))))
    np.testing.assert_array_equal(benchmark.index, [0, 1, 0, 0])
    np.testing.assert_array_equal(benchmark.images[1], images[1])


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1)])
def test_gray_images_become_rgb(tmp_path, shape):
    images = [picture(i, 6, 5)[..., 0].reshape(shape) for i in (0, 1, 0, 0)]
    benchmark = open_bin(written(tmp_path, pickle.dumps((images, ISSAME))))
    np.testing.assert_array_equal(benchmark.images[1], np.stack([images[1].reshape(6, 5)] * 3, axis=2))


MISTAKEN = {
    "nothing": (b"", r"is empty \(0 bytes\); download it again"),
    "a page": (b"<!DOCTYPE html><title>Virus scan warning</title>", "is a web page, not the file"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n", "git lfs pull"),
    "gzip": (gzip.compress(b"x"), "is compressed with gzip; unpack it"),
    "zeros": (bytes(1000), "holds only zeros"),
    "half": (pickle.dumps((PAIRS, ISSAME))[:-9], "its end is missing: download or copy it again"),
}


@pytest.mark.parametrize("case", MISTAKEN)
def test_what_a_download_leaves_is_named(tmp_path, case):
    content, reason = MISTAKEN[case]
    with pytest.raises(InputError, match=reason) as caught:
        open_bin(written(tmp_path, content))
    assert "\n" not in str(caught.value)


def test_packs_written_by_mxnet(shared_data):
    folder = shared_data / "att_faces"
    lines = [line.split() for line in (folder / "att_pairs.txt").read_text().splitlines()]
    names = [name for first, second, _ in lines for name in (first, second)]
    for file in ("att.bin", "att_np.bin"):
        benchmark = open_bin(folder / file)
        pairs = len(benchmark.issame)
        np.testing.assert_array_equal(benchmark.issame, [line[2] == "1" for line in lines[:pairs]])
        # The same original is the same image, embedded once.
        assert len(benchmark.images) == len(set(names[: 2 * pairs]))
        assert len(set(zip(names, benchmark.index.tolist(), strict=False))) == len(benchmark.images)
        assert decode(benchmark.images[0], "first").shape == (112, 112, 3)


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class Plain:
    pass


def program(*parts: bytes) -> bytes:
    return b"\x80\x04" + b"".join(parts) + b"."


def nested(depth: int) -> bytes:
    return b"N" + b"\x85" * depth


def encode_often(codec: bytes, times: int) -> bytes:
    text = b"X" + struct.pack("<i", 60000) + b"a" * 60000 + b"\x94"
    return b"(" + text + (b"c_codecs\nencode\nh\x00X" + struct.pack("<i", len(codec)) + codec + b"\x86R") * times


HOSTILE = {
    "a call of eval": pickle.dumps(Calls(eval, "1 + 1")),
    "a call of open": pickle.dumps(Calls(open, "canary", "w"), 0),
    "an instance": pickle.dumps(([Plain()], ISSAME)),
    "a class": pickle.dumps(([Plain], ISSAME)),
    "an import by name": program(b"cshutil\nrmtree\n(X\x06\x00\x00\x00canarytR"),
    "an import by stack": program(b"\x8c\x02os\x8c\x06system\x93\x8c\x0etouch ./canary\x85R"),
    "an old instance": program(b"(X\x06\x00\x00\x00canaryios\nremove\n"),
    "another function of numpy": program(b"cnumpy\nload\nX\x06\x00\x00\x00canary\x85R"),
    "another function of the allowed module": program(b"c_codecs\nlookup\nX\x04\x00\x00\x00zlib\x85R"),
    "a dotted name": program(b"\x8c\x05numpy\x8c\x0edtype.__init__\x93"),
    "another codec": program(encode_often(b"hex", 1)),
    "one text encoded many times": program(encode_often(b"latin1", 1000)),
    "a memo of 2 ** 31 places": program(b"Nr\xff\xff\xff\x7f"),
    "bytes longer than the file": program(b"\x8e" + struct.pack("<Q", 1 << 60)),
    "a byte array longer than the file": program(b"\x96" + struct.pack("<Q", 1 << 40)),
    "a frame longer than the file": program(b"\x95" + struct.pack("<Q", 1 << 50)),
    "an array that claims a terabyte": program(
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n\x8a\x06\0\0\0\0\0\x01\x85C\x01btR"
    ),
    "an array larger than its bytes": pickle.dumps(([np.zeros(300, np.uint8)] * 4, ISSAME), 2).replace(
        b"M,\x01", b"M,\x7f"
    ),
    "an array of objects": pickle.dumps(([np.array([A, None], object)] * 4, ISSAME)),
    "an array of structures": pickle.dumps(([np.zeros(3, [("a", "u1")])] * 4, ISSAME)),
    "an array of floats": pickle.dumps(([np.zeros((3, 3, 3))] * 4, ISSAME)),
    "a deep tuple as a key": program(b"}" + nested(200_000) + b"Ns"),
    "deep nesting": program(nested(200_000)),
    "a persistent id": program(b"Pcanary\n"),
    "an extension code": program(b"\x82\x01"),
    "the state of something else": program(b"]K\x01\x85b"),
    "a call of a number": program(b"K\x01)R"),
    "an unknown instruction": program(b"\xff"),
    "an empty stack": program(b"0"),
    "no pickle": b"\xff\xd8\xff\xe0 a photograph",
    "nothing": b"",
    "half of a pack": pickle.dumps((PAIRS, ISSAME))[:500],
    "an odd number of images": pickle.dumps((PAIRS[:3], ISSAME)),
    "no pairs": pickle.dumps(([], [])),
    "three lists": pickle.dumps((PAIRS, ISSAME, ISSAME)),
    "numbers for images": pickle.dumps(([1, 2, 3, 4], ISSAME)),
    "text for images": pickle.dumps((["a"] * 4, ISSAME)),
    "text for truth": pickle.dumps((PAIRS, ["yes", "no"])),
    "truth beyond true and false": pickle.dumps((PAIRS, [1, 2])),
    "a number": pickle.dumps(7),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE.keys())
def test_anything_else_is_refused_in_one_line(tmp_path, content, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = written(tmp_path, content)
    with pytest.raises(InputError, match=f"^{file}: refused: ") as caught:
        open_bin(file)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert os.listdir(tmp_path) == ["pack.bin"]


@pytest.mark.parametrize("function", [os.system, subprocess.getoutput], ids=["os.system", "subprocess"])
@pytest.mark.parametrize("protocol", range(6))
def test_a_call_hidden_in_a_pack_is_named_and_does_not_run(tmp_path, function, protocol):
    canary = tmp_path / "canary"
    command = f"touch {canary}"
    content = pickle.dumps(([*PAIRS[:3], Calls(function, command)], ISSAME), protocol)
    with pytest.raises(InputError, match=r"it asks for '(posix|nt|subprocess|commands)\."):
        open_bin(written(tmp_path, content))
    assert not canary.exists()
    pickle.load(io.BytesIO(content))  # the trap works
    assert canary.exists()


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_pack_with_changed_bytes_is_a_pack_or_refused(tmp_path_factory, changes):
    content = bytearray(SMALL)
    for place, value in changes:
        content[int(place * len(content))] = value
    file = tmp_path_factory.getbasetemp() / "changed.bin"
    file.write_bytes(content)
    with contextlib.suppress(InputError):
        assert len(open_bin(file).index) == 4


def test_an_image_that_is_named_20_000_times_is_hashed_once(tmp_path, monkeypatch):
    """With a large image that would be gigabytes."""
    hashed = []
    monkeypatch.setattr(bins.hashlib, "sha256", lambda data: hashed.append(len(data)) or hashlib.md5(data))
    benchmark = open_bin(written(tmp_path, pickle.dumps(([A] * 20_000, [True] * 5_000 + [False] * 5_000), 4)))
    assert len(benchmark.images) == 1 and not benchmark.index.any() and hashed == [len(A)]


def test_a_missing_pack(tmp_path):
    with pytest.raises(InputError, match=r"no\.bin: cannot be read"):
        open_bin(tmp_path / "no.bin")

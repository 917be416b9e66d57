"""Weight files are read lazily, in their dtype, and refused with one line where they are unsound."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.errors import InputError
from adaptface_jax.weights.reader import open_weights


def raw(header: str | bytes, data: bytes = b"") -> bytes:
    header = header.encode() if isinstance(header, str) else header
    return len(header).to_bytes(8, "little") + header + data


def entry(name: str, start: int, end: int, shape: list[int], dtype: str = "F32") -> str:
    return f'"{name}":' + json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [start, end]})


def test_every_float_dtype_keeps_its_bits(tmp_path):
    values = np.array([[1.5, -2.0, 0.0], [3e-5, 65504, -0.0]])
    tensors = {
        "f32": values.astype(np.float32),
        "f16": values.astype(np.float16),
        "bf16": values.astype(ml_dtypes.bfloat16),
        "scalar": np.array(3, np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }
    safetensors.numpy.save_file(tensors, tmp_path / "x.safetensors")
    file = open_weights(tmp_path / "x.safetensors")
    assert file.shapes == {name: value.shape for name, value in tensors.items()}
    assert file.dtypes["bf16"] == "BF16"
    for name, value in tensors.items():
        assert file[name].dtype == value.dtype
        assert file[name].tobytes() == value.tobytes()


def test_other_dtypes_are_listed_but_not_read(tmp_path):
    safetensors.numpy.save_file({"position_ids": np.arange(5)}, tmp_path / "x.safetensors")
    file = open_weights(tmp_path / "x.safetensors")
    assert file.dtypes == {"position_ids": "I64"}
    with pytest.raises(InputError, match=r"'position_ids' is I64; expected one of F32, F16, BF16"):
        file["position_ids"]


def test_sha256_is_that_of_the_bytes(tmp_path):
    safetensors.numpy.save_file({"x": np.ones(3, np.float32)}, tmp_path / "x.safetensors")
    expected = hashlib.sha256((tmp_path / "x.safetensors").read_bytes()).hexdigest()
    assert open_weights(tmp_path / "x.safetensors").sha256() == expected


UNSOUND = {
    "empty": b"",
    "too short for a length": b"\x01\x00",
    "length beyond the file": (1 << 20).to_bytes(8, "little") + b"{}",
    "absurd length": b"\xff" * 8,
    "not JSON": raw("hello"),
    "a list": raw("[]"),
    "not UTF-8": raw(b'{"\xff":1}'),
    "duplicate names": raw(f"{{{entry('x', 0, 4, [1])},{entry('x', 4, 8, [1])}}}", b"\0" * 8),
    "the same name twice, same bytes": raw(f"{{{entry('x', 0, 4, [1])},{entry('x', 0, 4, [1])}}}", b"\0" * 4),
    "a duplicate field": raw('{"x":{"dtype":"F16","dtype":"F32","shape":[1],"data_offsets":[0,4]}}', b"\0" * 4),
    "truncated data": raw(f"{{{entry('x', 0, 8, [2])}}}", b"\0" * 4),
    "data after the end": raw(f"{{{entry('x', 0, 4, [1])}}}", b"\0" * 8),
    "a shape that lies": raw(f"{{{entry('x', 0, 4, [2])}}}", b"\0" * 4),
    "10^9 elements": raw(f"{{{entry('x', 0, 4, [10**9])}}}", b"\0" * 4),
    "a product that overflows": raw(f"{{{entry('x', 0, 4, [2**33, 2**33])}}}", b"\0" * 4),
    "negative sizes": raw(f"{{{entry('x', 0, 4, [-1, -1])}}}", b"\0" * 4),
    "overlapping tensors": raw(f"{{{entry('x', 0, 4, [1])},{entry('y', 0, 4, [1])}}}", b"\0" * 4),
    "a hole": raw(f"{{{entry('x', 0, 4, [1])},{entry('y', 8, 12, [1])}}}", b"\0" * 12),
    "offsets reversed": raw(f"{{{entry('x', 4, 0, [1])}}}", b"\0" * 4),
    "an unknown dtype": raw(f"{{{entry('x', 0, 4, [1], 'PICKLE')}}}", b"\0" * 4),
    "deep nesting": raw('{"x":' * 5000 + "1" + "}" * 5000),
}


@pytest.mark.parametrize("content", UNSOUND.values(), ids=UNSOUND)
def test_unsound_files_are_refused_with_one_line(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match="not a sound safetensors file") as caught:
        open_weights(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_is_an_input_error_or_harmless(tmp_path_factory, data):
    sound = safetensors.numpy.save({"a.b": np.arange(6, dtype=np.float32).reshape(2, 3), "c": np.zeros(2, np.float16)})
    damaged = bytearray(sound)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "x.safetensors"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged)
    with contextlib.suppress(InputError):  # any other exception fails the test
        file = open_weights(path)
        for name in file:
            assert file[name].shape == file.shapes[name]


def shards(folder: Path) -> dict[str, str]:
    """Two shards and their weight map."""
    safetensors.numpy.save_file({"a": np.ones(2, np.float32)}, folder / "model-00001-of-00002.safetensors")
    safetensors.numpy.save_file({"b": np.zeros(3, np.float32)}, folder / "model-00002-of-00002.safetensors")
    return {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}


def write_index(folder: Path, weight_map: object) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_shards_are_one_mapping(tmp_path):
    write_index(tmp_path, weight_map := shards(tmp_path))
    file = open_weights(tmp_path)
    assert file.shapes == {"a": (2,), "b": (3,)}
    np.testing.assert_array_equal(file["a"], [1, 1])
    joined = b"".join((tmp_path / name).read_bytes() for name in sorted(weight_map.values()))
    assert file.sha256() == hashlib.sha256(joined).hexdigest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"c": "model-00001-of-00002.safetensors"}, "places 'c' in model-00001-of-00002.safetensors"),
        ({"a": "model-00002-of-00002.safetensors"}, "holds 'b'|holds 'a'|places 'a'"),
        ({"c": "absent.safetensors"}, "no file of this folder"),
        ({"c": "../escape.safetensors"}, "no file of this folder"),
        ({"c": 3}, "no weight_map"),
    ],
)
def test_an_index_must_say_what_the_shards_hold(tmp_path, change, message):
    folder = tmp_path / "inner"
    folder.mkdir()
    safetensors.numpy.save_file({"c": np.ones(1, np.float32)}, tmp_path / "escape.safetensors")
    write_index(folder, shards(folder) | change)
    with pytest.raises(InputError, match=message):
        open_weights(folder)


def test_an_unlisted_tensor_in_a_shard_is_refused(tmp_path):
    weight_map = shards(tmp_path)
    safetensors.numpy.save_file(
        {"b": np.zeros(3, np.float32), "more": np.ones(1, np.float32)}, tmp_path / weight_map["b"]
    )
    write_index(tmp_path, weight_map)
    with pytest.raises(InputError, match="holds 'more'"):
        open_weights(tmp_path)


def test_a_folder_of_pickles_says_what_to_get_instead(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(
        InputError, match=r"pytorch_model\.bin, a pickle, which is never opened; get model\.safetensors"
    ):
        open_weights(tmp_path)


def test_other_files_are_refused(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"\x80\x04.")
    with pytest.raises(InputError, match=r"not a \.safetensors file"):
        open_weights(tmp_path / "x.pth")

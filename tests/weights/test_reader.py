# SPDX-License-Identifier: Apache-2.0
"""Weight files are read lazily, in their dtype, and refused with one line if invalid."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import pickle
import zipfile
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.weights.formats.reader import open_weights

from . import archives
from .archives import entry, raw


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
def test_invalid_files_are_refused_with_one_line(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"not an intact safetensors file|is neither a safetensors file nor") as caught:
        open_weights(path)
    assert len(str(caught.value).splitlines()) == 1
    assert str(path) in str(caught.value)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damage_is_an_input_error_or_harmless(tmp_path_factory, data):
    valid = safetensors.numpy.save({"a.b": np.arange(6, dtype=np.float32).reshape(2, 3), "c": np.zeros(2, np.float16)})
    damaged = bytearray(valid)
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
        ({"c": "model-00001-of-00002.safetensors"}, "assigns 'c' to model-00001-of-00002.safetensors"),
        ({"a": "model-00002-of-00002.safetensors"}, "holds 'b'|holds 'a'|assigns 'a'"),
        ({"c": "absent.safetensors"}, "not in this folder"),
        ({"c": "../escape.safetensors"}, "not in this folder"),
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


def test_a_folder_gives_the_file_that_libraries_would_take(tmp_path):
    for count, name in enumerate(["x.safetensors", "open_clip_model.safetensors", "model.safetensors"], start=1):
        safetensors.numpy.save_file({"x": np.zeros(count, np.float32)}, tmp_path / name)
        assert open_weights(tmp_path).shapes == {"x": (count,)}
        assert open_weights(tmp_path).files == (tmp_path / name,)


def test_a_folder_without_a_clear_choice_says_what_it_holds(tmp_path):
    with pytest.raises(InputError, match=r"holds no weights \(it is empty\); expected model\.safetensors"):
        open_weights(tmp_path)
    (tmp_path / "README.md").touch()
    with pytest.raises(InputError, match=r"holds no weights \('README\.md'\); expected model\.safetensors"):
        open_weights(tmp_path)
    for name in ("a.pth", "b.safetensors"):
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"holds 2 weight files \('a\.pth', 'b\.safetensors'\); name the one to read"):
        open_weights(tmp_path)


OTHER_KINDS = {
    "no bytes": (b"", r"is empty \(0 bytes\); download it again"),
    "torch before 1.6": (
        bytes.fromhex("80028a0a6cfc9c46f9206aa850192e8002") + b"M\xe9\x03.",
        r"torch before 1\.6; save it again .*torch\.save\(torch\.load\(FILE, weights_only=True\), NEW_FILE\)",
    ),
    "a bare pickle": (pickle.dumps({"x": 1}), "is a bare pickle"),
    "gzip": (gzip.compress(b"x"), "compressed with gzip; unpack it"),
    "tar": (b"model.pth".ljust(257, b"\0") + b"ustar\x0000".ljust(255, b"\0"), "is a tar archive; unpack it"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file"),
    "ONNX": (b"\x08\x0a\x12\x07pytorch\x1a\x062.13.0", "is an ONNX model"),
    "git-LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 88\n",
        "is the git-LFS pointer of a large file; download the file itself",
    ),
    "an error page": (b"\n<!DOCTYPE html><html><title>404</title>", "is a web page"),
    "a photograph": (b"\xff\xd8\xff\xe0\0\x10JFIF", r"is neither a safetensors file nor .*begins with b'\\xff"),
    "an error message": (b'{"error": "not found"}', "is JSON text"),
}


@pytest.mark.parametrize(("content", "message"), OTHER_KINDS.values(), ids=OTHER_KINDS)
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_other_kinds_of_files_are_named_whatever_they_are_called(tmp_path, content, message, name):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        open_weights(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_zip_files_that_torch_did_not_write(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones(3))
    with pytest.raises(InputError, match=r"is a NumPy \.npz file"):
        open_weights(tmp_path / "x.npz")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("model.pth", b"x")
    with pytest.raises(InputError, match=r"is a zip file that torch did not write .*'model\.pth'.*; unpack it"):
        open_weights(tmp_path / "x.zip")


NO_WEIGHTS = {
    "DCP": ((".metadata", "__0_0.distcp"), "checkpoint of torch.distributed; .*dcp_to_torch"),
    "DeepSpeed": (("zero_to_fp32.py", "latest", "global_step1/mp_rank_00_model_states.pt"), "run its zero_to_fp32.py"),
    "Orbax": (("_METADATA", "manifest.ocdbt", "d/0"), "is an Orbax checkpoint"),
    "TensorFlow": (("saved_model.pb", "variables/variables.index"), "is a TensorFlow model"),
    "shards": (("a-00001-of-00002.safetensors", "a-00002-of-00002.safetensors"), "without their index"),
    "a shard": (("config.json", "pytorch_model-00001-of-00002.bin"), "without their index"),
    "a trainer's output": (
        ("checkpoint-1/model.safetensors", "checkpoint-2/model.safetensors"),
        "'checkpoint-1', 'che",
    ),
    "a model of several modules": (("modules.json", "0_CLIPModel/pytorch_model.bin"), "the one to read: '0_CLIPModel'"),
    "Flax": (("config.json", "flax_model.msgpack"), "flax_model.msgpack: is a msgpack file"),
}


@pytest.mark.parametrize("kind", NO_WEIGHTS)
def test_a_folder_of_another_kind_is_named_with_what_to_do(kind, tmp_path):
    names, message = NO_WEIGHTS[kind]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\x82\xaaembeddings\x81\xa9")
    with pytest.raises(InputError, match=message) as caught:
        open_weights(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_index_by_another_name_gives_its_shards(tmp_path):
    parts = shards(tmp_path)
    write_index(tmp_path, parts)
    (tmp_path / "model.safetensors.index.json").rename(tmp_path / "model.fp16.safetensors.index.json")
    assert open_weights(tmp_path).shapes == {"a": (2,), "b": (3,)}


def test_a_lone_checkpoint_of_a_trainer_is_the_folders_weights(tmp_path):
    (tmp_path / "hparams.yaml").write_text("lr: 1")
    for name in ("last.ckpt", "model_best.pth.tar"):  # the latter as timm writes it
        (tmp_path / name).write_bytes(archives.saved({"state_dict.x": np.ones(2, np.float32)}))
        assert open_weights(tmp_path).files == (tmp_path / name,)


def test_what_is_not_a_file(tmp_path):
    with pytest.raises(InputError, match="no such file or folder"):
        open_weights(tmp_path / "absent.pth")
    with pytest.raises(InputError, match="is not a regular file"):
        open_weights(Path(os.devnull))


def test_shards_of_torch_are_read_without_running_them(tmp_path):
    """As transformers 4 wrote them without safetensors."""
    parts = {"pytorch_model-00001-of-00002.bin": {"a": np.arange(6, dtype=np.float32).reshape(2, 3)},
             "pytorch_model-00002-of-00002.bin": {"b": np.ones(4, np.float32)}}  # fmt: skip
    for name, tensors in parts.items():
        (tmp_path / name).write_bytes(archives.saved(tensors))
    weight_map = {tensor: name for name, tensors in parts.items() for tensor in tensors}
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    for path in (tmp_path, index):
        file = open_weights(path)
        assert (file.shapes, file.container) == ({"a": (2, 3), "b": (4,)}, "torch")
        np.testing.assert_array_equal(file["a"], parts["pytorch_model-00001-of-00002.bin"]["a"])
    (tmp_path / "pytorch_model-00002-of-00002.bin").write_bytes(archives.archive(archives.state(y=b"cos\nsystem\n")))
    with pytest.raises(InputError, match=r"00002-of-00002\.bin: refused: .*none of it was executed"):
        open_weights(tmp_path)

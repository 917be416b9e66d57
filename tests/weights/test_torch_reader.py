# SPDX-License-Identifier: Apache-2.0
"""What torch wrote is read bit for bit without torch (goldens: tests/goldens/make_torch_files.py)."""

from __future__ import annotations

import argparse
import collections
import datetime
import hashlib
import pathlib
import pickle
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from adaptface_jax.core.errors import InputError
from adaptface_jax.weights.formats.reader import open_weights
from adaptface_jax.weights.formats.tensors import is_compact

from .archives import archive, dictionary, named, program, state, storage, tensor

FILES = (
    "float32.pth float16.pth bfloat16.pth protocol4.pth parameters.pth nested.pth views.pth scripted.pt traced.pt"
).split()
INTEGERS = {"teacher.backbone.ids", "visual.input_resolution"}


@pytest.fixture(scope="module")
def folder(goldens) -> Path:
    return goldens / "torch_files"


@pytest.mark.parametrize("file", FILES)
def test_every_tensor_has_the_bits_that_torch_wrote(folder, file):
    tensors = open_weights(folder / file)
    with np.load(folder / "expected.npz") as archive:
        expected = {key.split(":")[1]: archive[key] for key in archive.files if key.startswith(f"{file}:")}
    assert expected
    assert tensors.shapes == {name: value.shape for name, value in expected.items()}
    for name in set(tensors) - INTEGERS:
        value = tensors[name]
        assert value.shape == tensors.shapes[name]
        np.testing.assert_array_equal(value.astype(np.float32), expected[name], err_msg=name)


def test_the_container_and_the_dtypes_are_known_before_reading(folder):
    assert open_weights(folder / "float32.pth").container == "torch"
    assert open_weights(folder / "scripted.pt").container == "torchscript"
    for kind, dtype in (("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16), ("float32", np.float32)):
        tensors = open_weights(folder / f"{kind}.pth")
        assert set(tensors.dtypes.values()) == {{"float16": "F16", "bfloat16": "BF16", "float32": "F32"}[kind]}
        assert tensors["cls_token"].dtype == dtype


def test_integers_are_listed_but_not_read(folder):
    tensors = open_weights(folder / "scripted.pt")
    assert tensors.dtypes["visual.input_resolution"] == "I64"
    with pytest.raises(InputError, match=r"'visual\.input_resolution' is I64; expected one of F32, F16, BF16"):
        tensors["visual.input_resolution"]


BESIDE = {
    "arguments": argparse.Namespace(lr=1e-3, betas=[0.9, 0.99], model="vit_small"),
    "a NumPy number": np.float64(0.9),
    "a NumPy array": np.ones(3),
    "a set": {"relu", 2},
    "a range": range(3),
    "a complex number": 1j,
    "a path": pathlib.PurePosixPath("runs/1"),
    "a time": datetime.datetime(2026, 1, 1),
    "bytes": b"\xff\x00",
    "counts": collections.Counter("abc"),
    "results": collections.defaultdict(list, {"epoch": [1, 2]}),
}


@pytest.mark.parametrize("kind", BESIDE)
def test_what_trainers_save_beside_the_weights_is_left(kind, tmp_path):
    """As torch.save pickles them, by protocol 2."""
    body = pickle.dumps(BESIDE[kind], protocol=2)[2:-1]
    (tmp_path / "x.pth").write_bytes(archive(state(args=body)))
    assert open_weights(tmp_path / "x.pth").shapes == {"x": (2, 3)}


def test_a_trainers_dictionaries_may_hold_tensors(tmp_path):
    for module, name in (("yacs.config", "CfgNode"), ("pytorch_lightning.utilities.parsing", "AttributeDict")):
        body = named(module, name) + b")\x81" + dictionary({"w": tensor()})[1:]
        (tmp_path / "x.pth").write_bytes(archive(state(y=body)))
        assert open_weights(tmp_path / "x.pth").shapes == {"x": (2, 3), "y.w": (2, 3)}


def test_float64_is_read(tmp_path):
    numbers = np.arange(6, dtype="<f8").reshape(2, 3)
    body = program(dictionary({"x": tensor(storage(kind="DoubleStorage"))}))
    (tmp_path / "x.pth").write_bytes(archive(body, {"0": numbers.tobytes()}))
    np.testing.assert_array_equal(open_weights(tmp_path / "x.pth")["x"], numbers)


def test_sha256_is_that_of_the_bytes(folder):
    expected = hashlib.sha256((folder / "views.pth").read_bytes()).hexdigest()
    assert open_weights(folder / "views.pth").sha256() == expected


def test_the_name_of_the_file_does_not_matter(folder, tmp_path):
    for name in ("pytorch_model.bin", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / "float32.pth").read_bytes())
        assert open_weights(tmp_path / name).container == "torch"


def test_a_folder_gives_its_only_torch_file(folder, tmp_path):
    content = (folder / "float32.pth").read_bytes()
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "dinov2_vits14_pretrain.pth").write_bytes(content)
    assert open_weights(tmp_path).files == (tmp_path / "dinov2_vits14_pretrain.pth",)
    (tmp_path / "pytorch_model.bin").write_bytes(content)
    assert open_weights(tmp_path).files == (tmp_path / "pytorch_model.bin",)


def test_a_file_that_shrinks_after_it_was_opened(folder, tmp_path):
    (tmp_path / "x.pth").write_bytes((folder / "float32.pth").read_bytes())
    tensors = open_weights(tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes(b"")
    with pytest.raises(InputError, match="ends in the middle of 'cls_token'; download the file again"):
        tensors["cls_token"]
    (tmp_path / "x.pth").unlink()
    with pytest.raises(InputError, match="cannot be read"):
        tensors["cls_token"]


@pytest.mark.parametrize(
    ("shape", "strides", "compact"),
    [
        ((2, 3), (3, 1), True),
        ((2, 3), (1, 2), True),
        ((2, 3, 4), (4, 8, 1), True),
        ((2, 1, 3), (3, 99, 1), True),
        ((), (), True),
        ((2, 3), (0, 1), False),  # expanded
        ((2, 3), (4, 1), False),  # gaps
        ((2, 3), (1, 1), False),  # overlapping
        ((3,), (2,), False),
    ],
)
def test_strides_are_compact_when_every_place_is_used_once(shape, strides, compact):
    assert is_compact(shape, strides) is compact

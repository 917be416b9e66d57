"""The converted folder is written atomically, and read back with every field checked."""

from __future__ import annotations

import errno
import json
import resource

import numpy as np
import pytest

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.weights import folder
from adaptface_jax.weights.folder import Weights, read_folder, write_folder


@pytest.fixture
def weights(made_tree) -> Weights:
    spec = BACKBONES["tiny_reg4"]
    return Weights("tiny_reg4", spec, made_tree(spec), "owner/name", "00ff", "bicubic_antialias")


def test_what_is_written_is_read_back(weights, tmp_path):
    write_folder(weights, tmp_path / "a" / "b")
    again = read_folder(tmp_path / "a" / "b")
    assert again.identity() == weights.identity()
    assert again.spec == weights.spec
    for path, leaf in trees.flatten(weights.tree).items():
        np.testing.assert_array_equal(trees.flatten(again.tree)[path], leaf)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b"]


def test_a_folder_in_use_is_not_replaced_unasked(weights, tmp_path):
    write_folder(weights, tmp_path / "out")
    before = (tmp_path / "out" / "backbone.json").read_bytes()
    with pytest.raises(InputError, match=r"not empty.*--overwrite"):
        write_folder(weights, tmp_path / "out")
    assert (tmp_path / "out" / "backbone.json").read_bytes() == before
    write_folder(weights, tmp_path / "out", overwrite=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_overwrite_never_deletes_anything_but_converted_weights(weights, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="something other than converted weights"):
        write_folder(weights, tmp_path, overwrite=True)
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(InputError, match="is a file"):
        write_folder(weights, tmp_path / "thesis.tex", overwrite=True)


def test_a_failure_leaves_nothing_behind(weights, tmp_path, monkeypatch):
    def full_disk(*_, **__):
        raise OSError("no space left on device")

    monkeypatch.setattr(folder, "to_json", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_folder(weights, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", "dinov3", "name is 'dinov3'; expected one of"),
        ("name", None, "name is None; expected text"),
        ("position_rule", "nearest", "position_rule is 'nearest'"),
        ("activation", "relu", "activation is 'relu'"),
        ("sha256", 3, "sha256 is 3"),
        ("image_statistics", {"mean": [0, 0, 0], "std": [1, 1]}, "image_statistics is"),
        ("image_statistics", {"mean": [0, 0, 0], "std": [1, 1, 0]}, "image_statistics is"),
        ("image_statistics", {"mean": [0, 0, float("nan")], "std": [1, 1, 1]}, "NaN is not a JSON number"),
        ("image_statistics", [], "image_statistics is"),
        ("name", "tiny_dinov2", "does not match a converted folder as tiny_dinov2: extra .* register_tokens"),
    ],
)
def test_a_changed_description_is_refused(weights, tmp_path, key, value, message):
    write_folder(weights, tmp_path / "out")
    where = tmp_path / "out" / "backbone.json"
    where.write_text(json.dumps(json.loads(where.read_text()) | {key: value}))
    with pytest.raises(InputError, match=message):
        read_folder(tmp_path / "out")


def test_a_file_that_may_not_grow_is_named(weights, tmp_path):
    """As under `ulimit -f`: the library's own error names no file. Nothing is left."""
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, allowed[1]))
    try:
        with pytest.raises(OSError, match="File too large") as refused:
            write_folder(weights, tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    assert refused.value.errno == errno.EFBIG and str(refused.value.filename).endswith(".safetensors")
    assert list(tmp_path.iterdir()) == []

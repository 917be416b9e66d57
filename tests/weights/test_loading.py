"""What `backbone.weights` accepts, and what a backbone says about itself."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
import safetensors.numpy

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.models import vit
from adaptface_jax.models.specs import BACKBONES, CLIP
from adaptface_jax.weights.folder import write_folder
from adaptface_jax.weights.loading import inspect_backbone, load_backbone, read_weights


@pytest.fixture
def hf(goldens, tmp_path):
    """hf(name): a copy of a golden's folder that may be changed."""

    def copy(name: str) -> Path:
        return Path(shutil.copytree(goldens / "backbones" / name, tmp_path / name))

    return copy


def edit_config(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))


def assert_matches_definition(backbone, image_size):
    expected = trees.flatten(vit.definition(backbone.spec, image_size)[1])
    assert {path: leaf.shape for path, leaf in trees.flatten(backbone.params).items()} == {
        path: leaf.shape for path, leaf in expected.items()
    }


@pytest.mark.parametrize(("name", "feature"), [("tiny_reg4", "cls"), ("tiny_clip", "cls"), ("tiny_clip", "projected")])
@pytest.mark.parametrize("random", [False, True])
def test_parameters_are_those_of_the_definition(goldens, name, feature, random):
    weights = "" if random else str(goldens / "backbones" / name)
    backbone = load_backbone(weights, name, 32, feature=feature)
    assert backbone.spec.projection == (24 if feature == "projected" else None)
    assert_matches_definition(backbone, 32)


def test_the_identity_describes_the_weights(goldens):
    folder = goldens / "backbones" / "tiny_clip"
    assert load_backbone(str(folder), "tiny_clip", 20).identity == {
        "name": "tiny_clip",
        "source": str(folder),
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "position_rule": "bicubic",
        "image_statistics": {"mean": CLIP.mean, "std": CLIP.std},
        "activation": "quick_gelu",
    }
    registers = load_backbone(str(goldens / "backbones" / "tiny_reg4"), "tiny_reg4", 20)
    assert registers.identity["position_rule"] == "bicubic_antialias"


def test_random_weights_follow_the_seed_and_say_so():
    first, again, other = (load_backbone("", "tiny_dinov2", 12, seed=seed) for seed in (1, 1, 2))
    assert (first.identity["source"], first.identity["sha256"]) == ("random", None)
    np.testing.assert_array_equal(first.params["cls_token"], again.params["cls_token"])
    assert not np.array_equal(first.params["cls_token"], other.params["cls_token"])


def test_a_lone_file_loads_like_its_folder(goldens):
    folder = goldens / "backbones" / "tiny_dinov2"
    one, two = (load_backbone(str(p), "tiny_dinov2", 20) for p in (folder, folder / "model.safetensors"))
    jax.tree.map(np.testing.assert_array_equal, one.params, two.params)


def test_a_converted_folder_loads_like_its_source(goldens, tmp_path):
    source = goldens / "backbones" / "tiny_clip_gelu"
    write_folder(read_weights(source, "somewhere/clip").weights, tmp_path / "out")
    direct, converted = (load_backbone(str(p), "tiny_clip", 32) for p in (source, tmp_path / "out"))
    jax.tree.map(np.testing.assert_array_equal, direct.params, converted.params)
    assert direct.spec == converted.spec
    assert converted.spec.activation == "gelu"
    assert converted.identity == direct.identity | {"source": "somewhere/clip"}


def test_weights_of_another_backbone_are_named(goldens, tmp_path):
    source = goldens / "backbones" / "tiny_reg4"
    write_folder(read_weights(source, "x").weights, tmp_path / "out")
    for weights in (source, tmp_path / "out"):
        with pytest.raises(InputError, match="weights of tiny_reg4, not of tiny_dinov2"):
            load_backbone(str(weights), "tiny_dinov2", 20)
        assert inspect_backbone(str(weights)) == "tiny_reg4"


def test_nothing_is_found_in_no_weights():
    with pytest.raises(InputError, match="names no weights"):
        inspect_backbone("")


def test_half_precision_files_load_exactly(hf):
    folder = hf("tiny_dinov2")
    tensors = safetensors.numpy.load_file(folder / "model.safetensors")
    halves = {name: tensor.astype(np.float16) for name, tensor in tensors.items()}
    safetensors.numpy.save_file(halves, folder / "model.safetensors")
    gamma = load_backbone(str(folder), "tiny_dinov2", 20).params["blocks"]["scale1"]["gamma"]
    assert gamma.dtype == np.float32
    np.testing.assert_array_equal(gamma[1], halves["encoder.layer.1.layer_scale1.lambda1"].astype(np.float32))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("tiny_dinov2", {"num_attention_heads": 4}, "num_attention_heads is 4, but tiny_dinov2"),
        ("tiny_dinov2", {"layer_norm_eps": 1e-5}, "layer_norm_eps is 1e-05"),
        ("tiny_dinov2", {"num_register_tokens": 4}, "num_register_tokens is 4"),
        ("tiny_clip", {"hidden_act": "relu"}, "hidden_act is 'relu'; expected one of gelu, quick_gelu"),
        ("tiny_clip", {"hidden_act": []}, "hidden_act is"),
        ("tiny_clip", {"vision_config": 3}, "vision_config is not an object"),
    ],
)
def test_a_config_that_contradicts_the_shapes_is_refused(hf, name, changes, message):
    folder = hf(name)
    edit_config(folder, **changes)
    with pytest.raises(InputError, match=message):
        load_backbone(str(folder), name, 20)


def test_a_whole_clip_keeps_its_vision_settings_apart(hf):
    folder = hf("tiny_clip_gelu")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"vision_config": config, "num_attention_heads": 99}))
    assert load_backbone(str(folder), "tiny_clip", 20).spec.activation == "gelu"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1, "a": 2}', "[" * 100_000])
def test_an_unreadable_config_is_refused(hf, text):
    folder = hf("tiny_dinov2")
    (folder / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json: "):
        load_backbone(str(folder), "tiny_dinov2", 20)


@pytest.mark.parametrize("size", [21, 0, -4, 3])
def test_a_size_that_the_patch_does_not_divide_is_refused(size):
    with pytest.raises(InputError, match="patch size 4"):
        load_backbone("", "tiny_dinov2", size)


def test_projected_features_need_a_projection(goldens):
    with pytest.raises(InputError, match="has no projection"):
        load_backbone(str(goldens / "backbones" / "tiny_dinov2"), "tiny_dinov2", 20, feature="projected")


def test_builtin_is_the_demo_only():
    with pytest.raises(InputError, match="builtin is the demo backbone, not dinov2_vits14"):
        load_backbone("builtin", "dinov2_vits14", 224)


def test_clip_at_its_native_size_has_the_published_number_of_parameters():
    """CLIP B/16: 86,192,640 in its vision tower, of which 393,216 in the projection."""
    spec = BACKBONES["clip_vitb16"]
    whole = trees.count(vit.definition(spec, 224)[1])
    without = trees.count(vit.definition(dataclasses.replace(spec, projection=None), 224)[1])
    assert (whole, whole - without) == (86_192_640, 393_216)

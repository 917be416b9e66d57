# SPDX-License-Identifier: Apache-2.0
"""What a face ViT file may lack, and unsupported backbones: one line that names it, exit status 2."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import safetensors.numpy

from adaptface_jax.convert import __main__ as convert
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.weights.loading import load_backbone
from tests import made_weights as dialects
from tests.running import call


@pytest.fixture
def published(goldens):
    """The tensors of a file that arcface_torch saves."""
    return safetensors.numpy.load_file(goldens / "backbones" / "tiny_face" / "model.safetensors")


def without(tensors, *names):
    return {name: x for name, x in tensors.items() if not name.startswith(names)}


DAMAGED = {
    "no statistics": (("feature.1.running_",), "missing (2): feature.1.running_mean, feature.1.running_var"),
    "half a head": (("feature.2.", "feature.3."), "missing (5): feature.2.weight, feature.3.weight, feature.3.bias"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_an_incomplete_head_is_not_a_head(published, tmp_path, capsys, what):
    lost, said = DAMAGED[what]
    dialects.save(tmp_path / "model.safetensors", without(published, *lost))
    assert call(convert, tmp_path / "model.safetensors", f"--out={tmp_path / 'out'}") == 2
    line = capsys.readouterr().err.strip()
    assert len(line.splitlines()) == 1
    assert f"the nearest is insightface as tiny_face: {said}" in line
    assert not (tmp_path / "out").exists()


def test_missing_key_points_are_reported(published, tmp_path, capsys):
    more = {"keypoint_linear.weight": np.zeros((8, 10), np.float32)}
    dialects.save(tmp_path / "model.safetensors", published | more)
    assert call(convert, tmp_path / "model.safetensors", f"--out={tmp_path / 'out'}") == 2
    assert "holds a face ViT with KP-RPE, which needs landmarks of every image" in capsys.readouterr().err


def test_an_unsupported_family_is_named(published, tmp_path):
    dialects.save(tmp_path / "model.safetensors", published)
    with pytest.raises(InputError, match="these are weights of tiny_face, not of clip_vitb16"):
        load_backbone(str(tmp_path), "clip_vitb16", 224)


def test_it_states_its_image_statistics_and_has_one_size(published, tmp_path, capsys):
    dialects.save(tmp_path / "model.safetensors", published)
    assert call(convert, tmp_path / "model.safetensors", f"--out={tmp_path / 'out'}") == 0
    printed = capsys.readouterr().out
    assert "mean 0.5 0.5 0.5, std 0.5 0.5 0.5 (assumed: 0.5, as in every face ViT of InsightFace and CVLface" in printed
    assert "activation  relu6 (as in every face ViT)" in printed
    with pytest.raises(InputError, match="28 is not 22, the one size that tiny_face takes"):
        load_backbone(str(tmp_path / "out"), "tiny_face", 28)
    assert load_backbone(str(tmp_path / "out"), "tiny_face", 22).spec == BACKBONES["tiny_face"]


def test_a_model_for_bgr_is_turned_to_rgb(published, tmp_path, capsys):
    """Given RGB images it computes what CVLface's does, which flips their channels."""
    bgr = published | {"patch_embed.proj.weight": np.ascontiguousarray(published["patch_embed.proj.weight"][:, ::-1])}
    trees = {}
    for name, tensors, file, text in (
        ("rgb", published, "config.json", '{"conf": {"color_space": "RGB"}}'),
        ("hub", bgr, "config.json", '{"conf": {"color_space": "BGR"}}'),
        ("trained", bgr, "model.yaml", "input_size: [3, 22, 22]\ncolor_space: 'BGR'\nname: base\n"),
    ):
        (tmp_path / name).mkdir()
        dialects.save(tmp_path / name / "model.safetensors", tensors)
        (tmp_path / name / file).write_text(text)
        backbone = load_backbone(str(tmp_path / name), "tiny_face", 22)
        trees[name] = backbone.params
        said = [line for line in backbone.remarks if line.startswith("channels")]
        assert said == ([] if name == "rgb" else [f"channels BGR ({file}); the patch embedding is turned to RGB"])
    for name in ("hub", "trained"):
        jax.tree.map(np.testing.assert_array_equal, trees[name], trees["rgb"])
    assert call(convert, tmp_path / "trained", f"--out={tmp_path / 'out'}") == 0
    assert "  channels    BGR (model.yaml); the patch embedding is turned to RGB" in capsys.readouterr().out
    converted = load_backbone(str(tmp_path / "out"), "tiny_face", 22)
    jax.tree.map(np.testing.assert_array_equal, converted.params, trees["rgb"])


def test_another_order_of_channels_is_refused(published, tmp_path):
    dialects.save(tmp_path / "model.safetensors", published)
    (tmp_path / "config.json").write_text('{"conf": {"color_space": "YUV"}}')
    with pytest.raises(InputError, match=r"config.json: color_space is 'YUV'; expected RGB or BGR"):
        load_backbone(str(tmp_path), "tiny_face", 22)

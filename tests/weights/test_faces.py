"""What a face ViT file may lack, and unsupported backbones: one line that names it, exit status 2."""

from __future__ import annotations

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

"""What stands beside weights is believed where shapes cannot tell, and refused where they contradict it."""

from __future__ import annotations

import json
import shutil

import pytest
import safetensors.numpy

from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BACKBONES, IMAGENET
from adaptface_jax.weights.loading import load_backbone, read_weights
from adaptface_jax.weights.names import dialects as tables
from adaptface_jax.weights.settings import settle
from tests import made_weights as dialects

STATISTICS = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
VISION = {"layers": 2, "width": 16, "patch_size": 4, "image_size": 20, "head_width": 8}


@pytest.fixture
def folder(goldens, tmp_path):
    """folder(dialect, row): its weights alone."""

    def make(name, row="tiny_clip"):
        hf = safetensors.numpy.load_file(goldens / "backbones" / row / "model.safetensors")
        dialects.save(tmp_path / "model.safetensors", dialects.dialect(name).of(hf))
        return tmp_path

    return make


def write(folder, name, settings):
    (folder / name).write_text(json.dumps(settings))


def loaded(folder, row="tiny_clip"):
    return load_backbone(str(folder), row, 20).spec


def test_image_statistics_of_the_preprocessor(goldens, tmp_path):
    for row in ("tiny_clip", "tiny_dinov2"):
        copy = shutil.copytree(goldens / "backbones" / row, tmp_path / row)
        native = loaded(copy, row).stats
        write(copy, "preprocessor_config.json", {"do_resize": True})
        assert loaded(copy, row).stats == native
        write(copy, "preprocessor_config.json", {"image_mean": STATISTICS["mean"], "image_std": STATISTICS["std"]})
        assert loaded(copy, row).stats.mean == (0.1, 0.2, 0.3)
        assert loaded(copy, row).stats.std == (0.4, 0.5, 0.6)
        write(copy, "preprocessor_config.json", {"image_mean": STATISTICS["mean"]})
        with pytest.raises(InputError, match=r"preprocessor_config\.json: image_mean and image_std"):
            loaded(copy, row)


def test_hugging_face_computes_quick_gelu_where_nothing_is_said(folder):
    published = read_weights(folder("hf_clip"), "x")
    assert published.weights.spec.activation == "quick_gelu"
    assert published.settled.activation_from == "assumed: no config.json beside the file"


@pytest.mark.parametrize(
    ("architecture", "activation"),
    [("vit_base_patch4_clip_224", "gelu"), ("vit_base_patch4_clip_quickgelu_224", "quick_gelu")],
)
def test_timm_says_it_in_the_architecture(folder, architecture, activation):
    path = folder("timm_clip")
    write(path, "config.json", {"architecture": architecture, "pretrained_cfg": STATISTICS})
    spec = loaded(path)
    assert (spec.activation, spec.stats.mean, spec.stats.std) == (activation, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "vit_small_patch4_dinov2"}, "has family clip"),
        ({"architecture": "vit_base_patch16_clip_224"}, "has patch_size 4"),
        ({"architecture": "vit_base_patch4_clip_224", "pretrained_cfg": 3}, "pretrained_cfg is no object"),
        ({"architecture": "vit_base_patch4_clip_224", "pretrained_cfg": {"mean": [1]}}, "pretrained_cfg is mean"),
        ({"hidden_act": "gelu"}, "nothing tells its activation"),
    ],
)
def test_what_timm_says_must_agree_with_the_shapes(folder, config, message):
    path = folder("timm_clip")
    write(path, "config.json", config)
    with pytest.raises(InputError, match=message):
        loaded(path)


def test_timm_names_the_registers_of_dinov2(folder):
    path = folder("timm_dinov2", "tiny_reg4")
    write(path, "config.json", {"architecture": "vit_small_patch4_reg4_dinov2", "pretrained_cfg": STATISTICS})
    assert loaded(path, "tiny_reg4").stats.mean == (0.1, 0.2, 0.3)
    write(path, "config.json", {"architecture": "vit_small_patch4_dinov2"})
    with pytest.raises(InputError, match="has registers 4"):
        loaded(path, "tiny_reg4")


@pytest.mark.parametrize(("model", "activation"), [({"quick_gelu": True}, "quick_gelu"), ({}, "gelu")])
def test_open_clip_says_it_in_its_config(folder, model, activation):
    path = folder("openai_clip")
    write(path, "open_clip_config.json", {"model_cfg": model | {"vision_cfg": VISION}, "preprocess_cfg": STATISTICS})
    spec = loaded(path)
    assert (spec.activation, spec.stats.mean) == (activation, (0.1, 0.2, 0.3))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_cfg": {"vision_cfg": VISION | {"layers": 12}}}, "layers is 12, but tiny_clip"),
        ({"model_cfg": {"vision_cfg": VISION | {"head_width": 64}}}, "head_width is 64, but tiny_clip"),
        ({"model_cfg": {"vision_cfg": VISION, "quick_gelu": "no"}}, "quick_gelu is 'no'; expected true or false"),
        ({"model_cfg": []}, "model_cfg is no object"),
        ({"model_cfg": {"vision_cfg": VISION}, "preprocess_cfg": {"mean": 3, "std": 4}}, "preprocess_cfg is mean 3"),
    ],
)
def test_what_open_clip_says_must_agree_with_the_shapes(folder, config, message):
    path = folder("openai_clip")
    write(path, "open_clip_config.json", config)
    with pytest.raises(InputError, match=message):
        loaded(path)


def test_the_settings_of_another_project_say_nothing(folder):
    """timm's GELU is not what OpenAI's own names compute."""
    path = folder("openai_clip")
    write(path, "config.json", {"architecture": "vit_base_patch4_clip_224"})
    with pytest.raises(InputError, match=r"nothing tells its activation; put its open_clip_config\.json beside it"):
        loaded(path)


def test_the_container_tells_openai_from_open_clip(tmp_path):
    spec = BACKBONES["tiny_clip"]
    arguments = spec, "tiny_clip", tables.OPENAI_CLIP
    assert settle(*arguments, "torchscript", tmp_path).spec == spec
    for container in ("safetensors", "torch"):
        with pytest.raises(InputError, match="nothing tells its activation"):
            settle(*arguments, container, tmp_path)
        assert settle(*arguments, container, tmp_path, "gelu").spec.activation == "gelu"


def test_dinov2_needs_no_settings(folder):
    for name in ("hub_dinov2", "timm_dinov2", "hf_dinov2"):
        spec = loaded(folder(name, "tiny_swiglu"), "tiny_swiglu")
        assert (spec.activation, spec.stats) == ("gelu", IMAGENET)

# SPDX-License-Identifier: Apache-2.0
"""Settings next to weights are trusted where shapes cannot decide, and refused where they contradict them."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BACKBONES, CLIP, HALF, IMAGENET
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


def test_hugging_face_uses_quick_gelu_by_default(folder):
    published = read_weights(folder("hf_clip"), "x")
    assert published.weights.spec.activation == "quick_gelu"
    assert published.settled.activation_from == "assumed: no config.json next to the file"


@pytest.mark.parametrize(
    ("architecture", "activation"),
    [("vit_base_patch4_clip_224", "gelu"), ("vit_base_patch4_clip_quickgelu_224", "quick_gelu")],
)
def test_timm_states_it_in_the_architecture(folder, architecture, activation):
    path = folder("timm_clip")
    write(path, "config.json", {"architecture": architecture, "pretrained_cfg": STATISTICS})
    spec = loaded(path)
    assert (spec.activation, spec.stats.mean, spec.stats.std) == (activation, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "vit_small_patch4_dinov2"}, "has family clip"),
        ({"architecture": "vit_base_patch16_clip_224"}, "has patch_size 4"),
        ({"architecture": "vit_base_patch4_clip_224", "pretrained_cfg": 3}, "pretrained_cfg is not an object"),
        ({"architecture": "vit_base_patch4_clip_224", "pretrained_cfg": {"mean": [1]}}, "pretrained_cfg is mean"),
        ({"hidden_act": "gelu"}, "its activation is unknown"),
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
def test_open_clip_states_it_in_its_config(folder, model, activation):
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
        ({"model_cfg": []}, "model_cfg is not an object"),
        ({"model_cfg": {"vision_cfg": VISION}, "preprocess_cfg": {"mean": 3, "std": 4}}, "preprocess_cfg is mean 3"),
    ],
)
def test_what_open_clip_says_must_agree_with_the_shapes(folder, config, message):
    path = folder("openai_clip")
    write(path, "open_clip_config.json", config)
    with pytest.raises(InputError, match=message):
        loaded(path)


def test_the_settings_of_another_project_are_not_used(folder):
    """timm's GELU differs from that of OpenAI's own names."""
    path = folder("openai_clip")
    write(path, "config.json", {"architecture": "vit_base_patch4_clip_224"})
    with pytest.raises(InputError, match=r"its activation is unknown; put its open_clip_config\.json next to it"):
        loaded(path)


def test_the_container_distinguishes_openai_from_open_clip(tmp_path):
    spec = BACKBONES["tiny_clip"]
    arguments = spec, "tiny_clip", tables.OPENAI_CLIP
    assert settle(*arguments, "torchscript", tmp_path).spec == spec
    for container in ("safetensors", "torch"):
        with pytest.raises(InputError, match="its activation is unknown"):
            settle(*arguments, container, tmp_path)
        assert settle(*arguments, container, tmp_path, "gelu").spec.activation == "gelu"


def test_dinov2_needs_no_settings(folder):
    for name in ("hub_dinov2", "timm_dinov2", "hf_dinov2"):
        spec = loaded(folder(name, "tiny_swiglu"), "tiny_swiglu")
        assert (spec.activation, spec.stats) == ("gelu", IMAGENET)


# Every setting is followed, refused by name, harmless, or named as not known.

DINOV2_SAYS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4, "mlp_ratio": 4}
CLIP_SAYS = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "patch_size": 4} | {
    "intermediate_size": 64, "layer_norm_eps": 1e-5,
}  # fmt: skip
JUNK = st.sampled_from([7, -0.5, "x", [1], {"a": 1}, True])

# (table, row, file) -> settings that fit, settings that change the function, the object that holds them.
PROJECTS = {
    "hf dinov2": (
        tables.HF_DINOV2, "tiny_dinov2", "config.json", (), DINOV2_SAYS | {"use_swiglu_ffn": False, "qkv_bias": True},
        ["hidden_act", "layer_norm_eps", "num_register_tokens", "num_channels", "quantization_config", "pruned_heads"],
    ),
    "hf clip": (
        tables.HF_CLIP, "tiny_clip", "config.json", ("vision_config",), CLIP_SAYS, ["hidden_act", "num_channels"],
    ),
    "hf clip, the older form": (
        tables.HF_CLIP, "tiny_clip", "config.json", ("vision_config_dict",), CLIP_SAYS, ["hidden_act", "num_channels"],
    ),
    "hf images": (
        tables.HF_DINOV2, "tiny_dinov2", "preprocessor_config.json", (), {"do_rescale": True, "do_normalize": True},
        ["do_flip_channel_order", "do_grayscale", "offset", "image_mean", "image_std", "rescale_factor"],
    ),
    "hf images, nested": (
        tables.HF_CLIP, "tiny_clip", "processor_config.json", ("image_processor",), {"do_resize": True},
        ["do_flip_channel_order", "do_grayscale", "image_mean", "rescale_factor", "do_normalize", "do_rescale"],
    ),
    "timm": (
        tables.TIMM_CLIP, "tiny_clip", "config.json", ("model_args",),
        {"embed_dim": 16, "depth": 2, "num_heads": 2, "patch_size": 4, "pre_norm": True, "mlp_ratio": 4.0},
        ["global_pool", "act_layer", "norm_layer", "fc_norm", "qk_norm", "class_token", "final_norm", "qkv_bias"],
    ),
    "open_clip": (
        tables.OPENAI_CLIP, "tiny_clip", "open_clip_config.json", ("model_cfg", "vision_cfg"), VISION,
        ["pool_type", "final_ln_after_pool", "norm_kwargs", "act_kwargs", "no_ln_pre", "attentional_pool", "qk_norm",
         "ls_init_value", "timm_model_name", "head_width", "pos_embed_type", "input_patchnorm", "scale_fc"],
    ),
    "timm in open_clip": (
        tables.TRUNK_CLIP, "tiny_clip", "open_clip_config.json", ("model_cfg", "vision_cfg"),
        {"timm_model_name": "vit_tiny_patch4_clip_20", "timm_pool": "token"}, ["timm_pool"],
    ),
    "open_clip images": (
        tables.OPENAI_CLIP, "tiny_clip", "open_clip_config.json", ("preprocess_cfg",), {"interpolation": "bicubic"},
        ["mode", "mean", "std"],
    ),
}  # fmt: skip


def settled(folder, project, changes):
    table, row, file, path, fits, _ = PROJECTS[project]
    for other in folder.iterdir():
        other.unlink()
    value = fits | changes
    for key in reversed(path):
        value = {key: value}
    if table.project == "open_clip" and path[0] != "model_cfg":
        value |= {"model_cfg": {"vision_cfg": VISION}}
    if table.project == "timm":
        value |= {"architecture": "vit_tiny_patch4_clip_20"}
    write(folder, file, value)
    return settle(BACKBONES[row], row, table, "safetensors", folder, None if "config" in file else "gelu")


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_setting_that_changes_the_function_is_followed_or_refused_by_name(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "settings"
    folder.mkdir(exist_ok=True)
    project = data.draw(st.sampled_from(sorted(PROJECTS)))
    *_, fits, functions = PROJECTS[project]
    key = data.draw(st.sampled_from(sorted({*functions, *fits} - {"do_resize", "interpolation", "image_size"})))
    same = settled(folder, project, {})
    assert same.unknown == ()
    given = data.draw(JUNK.filter(lambda value: value != fits.get(key)))
    refused, found = "", same
    try:
        found = settled(folder, project, {key: given})
    except InputError as error:
        refused = str(error)
    assert "\n" not in refused
    assert key in refused or found.spec != same.spec or given is True, (key, given, refused)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), key=st.text("abcxyz_", min_size=4, max_size=9), value=JUNK)
def test_a_setting_that_is_not_known_is_named(data, key, value, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "settings"
    folder.mkdir(exist_ok=True)
    project = data.draw(st.sampled_from(sorted(PROJECTS)))
    found = settled(
        folder, project, {f"new_{key}": value, "off_" + key: data.draw(st.sampled_from([None, False, [], {}]))}
    )
    assert [f"new_{key}" in line for line in found.unknown] == [True]


@settings(max_examples=80, deadline=None)
@given(
    nested=st.booleans(),
    rescale=st.sampled_from([None, True, False]),
    factor=st.sampled_from([None, 1 / 255, 1 / 127.5, 1.0, 0.5]),
    normalize=st.sampled_from([None, True, False]),
    mean=st.one_of(st.floats(0, 200), st.lists(st.floats(0, 200), min_size=3, max_size=3)),
    std=st.one_of(st.floats(0.1, 90), st.lists(st.floats(0.1, 90), min_size=3, max_size=3)),
)
def test_pixels_are_those_of_transformers(nested, rescale, factor, normalize, mean, std, tmp_path_factory):
    """The arithmetic of its image processors, reimplemented."""
    given = {"do_rescale": rescale, "rescale_factor": factor, "do_normalize": normalize}
    given = {key: value for key, value in given.items() if value is not None}
    given |= {"image_mean": mean, "image_std": std}
    folder = tmp_path_factory.mktemp("images")
    write(
        folder,
        *(("processor_config.json", {"image_processor": given}) if nested else ("preprocessor_config.json", given)),
    )
    stats = settle(BACKBONES["tiny_dinov2"], "tiny_dinov2", tables.HF_DINOV2, "safetensors", folder).spec.stats
    pixels = np.arange(256, dtype=np.float64)[:, None].repeat(3, 1)
    expected = pixels * (1 / 255 if factor is None else factor) if rescale is not False else pixels
    if normalize is not False:
        expected = (expected - np.asarray(mean)) / np.asarray(std)
    np.testing.assert_allclose((pixels / 255 - stats.mean) / stats.std, expected, rtol=1e-9, atol=1e-7)


def test_what_a_processor_nests_comes_before_the_older_file(folder):
    path = folder("hf_clip")
    write(path, "preprocessor_config.json", {"image_mean": [0.1] * 3, "image_std": [0.2] * 3})
    write(path, "processor_config.json", {"processor_class": "CLIPProcessor"})
    assert loaded(path).stats.mean == (0.1, 0.1, 0.1)
    write(path, "processor_config.json", {"image_processor": {"image_mean": 0.5, "image_std": [0.5] * 3}})
    assert loaded(path).stats == HALF


@pytest.mark.parametrize(
    ("kind", "stats"), [("ViTImageProcessor", HALF), ("CLIPImageProcessorFast", CLIP), ("ConvNextImageProcessor", HALF)]
)
def test_an_image_processor_without_statistics_has_those_of_its_class(folder, kind, stats):
    path = folder("hf_dinov2", "tiny_dinov2")
    write(path, "preprocessor_config.json", {"image_processor_type": kind})
    assert loaded(path, "tiny_dinov2").stats == stats


def test_the_older_form_of_a_clip_config_takes_precedence(folder):
    path = folder("hf_clip")
    for config, activation in (
        ({"vision_config": {"hidden_act": "quick_gelu"}, "vision_config_dict": {"hidden_act": "gelu"}}, "gelu"),
        ({"vision_config": {"hidden_act": "gelu"}, "vision_config_dict": {"patch_size": 4}}, "quick_gelu"),
        ({"vision_config": {"hidden_act": "gelu"}, "vision_config_dict": None}, "gelu"),
        ({"model_type": "clip", "vision_config_dict": {"hidden_act": "gelu"}}, "gelu"),
    ):
        write(path, "config.json", config)
        assert loaded(path).activation == activation


def test_statistics_of_bytes_are_refused_where_images_are_in_0_to_1(folder):
    path = folder("timm_clip")
    bytes_ = {"mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]}
    write(path, "config.json", {"architecture": "vit_base_patch4_clip_224", "pretrained_cfg": bytes_})
    with pytest.raises(InputError, match=r"on a 0 to 255 scale.*--mean and --std"):
        loaded(path)
    assert read_weights(path, "x", statistics=HALF).weights.spec.stats == HALF


def test_an_activation_by_an_unknown_name_can_be_set(folder):
    path = folder("hf_clip")
    write(path, "config.json", {"hidden_act": "QuickGELU"})
    with pytest.raises(InputError, match=r"hidden_act is 'QuickGELU'; .*: --activation"):
        loaded(path)
    assert read_weights(path, "x", activation="quick_gelu").weights.spec.activation == "quick_gelu"
    path = folder("timm_clip")
    write(path, "config.json", {"architecture": "vit_base_patch4_clip_224", "model_args": {"act_layer": "quick"}})
    assert read_weights(path, "x", activation="quick_gelu").weights.spec.activation == "quick_gelu"


@pytest.mark.parametrize("key", ["backbone_config", "encoder"])
def test_the_settings_of_a_tower_within_another_model_count(key, folder):
    """Depth Anything, DPT and captioning models keep those of their DINOv2 in an object of their own."""
    path = folder("hf_dinov2 under model.", "tiny_dinov2")
    around = {"model_type": "depth_anything", "backbone": None, "hidden_size": 768, "patch_size": 16}
    write(path, "config.json", {**around, key: {"hidden_size": 16, "hidden_act": "relu6", "patch_size": 4}})
    published = read_weights(path, "x")
    assert published.weights.spec.activation == "relu6"
    assert not published.settled.unknown
    write(path, "config.json", {**around, key: {"num_attention_heads": 8}})
    with pytest.raises(InputError, match="num_attention_heads is 8, but tiny_dinov2"):
        read_weights(path, "x")


def test_a_timm_model_that_transformers_wraps(folder):
    path = folder("timm_dinov2 under model.", "tiny_reg4")
    config = {"architecture": "vit_tiny_patch4_reg4_dinov2", "model_type": "timm_wrapper", "do_pooling": True,
              "architectures": ["TimmWrapperModel"], "pretrained_cfg": STATISTICS, "dtype": "float32"}  # fmt: skip
    write(path, "config.json", config)
    published = read_weights(path, "x")
    assert published.weights.spec.stats.mean == (0.1, 0.2, 0.3) and not published.settled.unknown


def test_what_is_assumed_is_reported(folder):
    published = read_weights(folder("hf_clip"), "x")
    assert published.settled.statistics_from.startswith("assumed: those of OpenAI's CLIP")
    assert [line.split(" ")[0] for line in published.remarks] == ["activation", "image", "set"]
    write(folder("hf_clip"), "config.json", {"hidden_act": "gelu", "new_thing": 3})
    assert read_weights(folder("hf_clip"), "x").remarks[-1] == "unknown, ignored: config.json: new_thing is 3"

# SPDX-License-Identifier: Apache-2.0
"""Whatever wraps a tower is removed: any prefix, in any naming, next to heads, text towers and other copies."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.core import trees
from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.weights.names import engine, wrappers
from adaptface_jax.weights.names.siglip import HF_SIGLIP
from tests import made_weights as dialects
from tests.made_weights import TINY
from tests.weights.file_shapes import file_shapes

PLAIN = {
    **{name: row for name, row in dialects.CASES if not dialects.dialect(name).prefix},
    "timm_clip in open_clip under visual.": "tiny_clip",
    "timm_clip in open_clip with its projection under visual.": "tiny_clip",
}
WORDS = (
    "_orig_mod module model state_dict model_state_dict backbone visual student net encoder dinov2 vision_tower 0 clip"
).split()
HEADS = {"head.weight": (3, 16), "classifier.bias": (3,), "linear_head.weight": (3, 32), "fc.weight": (5, 16)}
BESIDE = ("text_model.a.weight", "optimizer.state.0.exp_avg", "loss.center", "text.transformer.resblocks.0.ln_1.weight")


@functools.cache
def tensors_of(name: str) -> dict[str, np.ndarray]:
    golden = Path(__file__).resolve().parents[1] / "goldens" / "backbones" / PLAIN[name] / "model.safetensors"
    written = dialects.dialect(name)
    return written.write(safetensors.numpy.load_file(golden))


@functools.cache
def tree_of(name: str) -> dict[str, np.ndarray]:
    tensors = tensors_of(name)
    return trees.flatten(engine.to_tree(engine.identify(shapes_of(tensors)), tensors))


def shapes_of(tensors):
    return {name: x.shape for name, x in tensors.items()}


def under(prefix, tensors):
    return {prefix + name: x for name, x in tensors.items()}


def assert_tower(fit, tensors, name):
    found = trees.flatten(engine.to_tree(fit, tensors))
    assert found.keys() == tree_of(name).keys()
    for path, leaf in tree_of(name).items():
        np.testing.assert_array_equal(found[path], leaf, err_msg=path)
    assert sorted([*(tensor for tensor, _ in fit.places.values()), *fit.dropped]) == sorted(tensors)


prefixes = st.lists(st.sampled_from(WORDS), max_size=3).map(lambda words: "".join(f"{word}." for word in words))


@settings(max_examples=120, deadline=None)
@given(
    name=st.sampled_from(sorted(PLAIN)),
    prefix=prefixes,
    heads=st.sets(st.sampled_from(sorted(HEADS))),
    beside=st.sets(st.sampled_from(BESIDE)),
    root=st.sampled_from(["", "other.", "rest."]),
)
def test_any_wrapper_on_any_naming_beside_any_head(name, prefix, heads, beside, root):
    tower = tensors_of(name)
    more = {prefix + head: np.ones(HEADS[head], np.float32) for head in heads if head not in tower}
    if prefix:  # only heads may be inside a tower
        more |= {root + other: np.ones(2, np.float32) for other in beside if not (root + other).startswith(prefix)}
    tensors = under(prefix, tower) | more
    fit = engine.identify(shapes_of(tensors))
    assert fit.name == PLAIN[name] and set(more) <= set(fit.dropped)
    assert_tower(fit, tensors, name)


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(PLAIN)),
    copies=st.sampled_from(
        [
            ("student.backbone.", "teacher.backbone."),
            ("model.", "model_ema."),
            ("state_dict.", "state_dict_ema."),
            ("module.", "ema.module."),
            ("model.student.", "model.teacher."),
        ]
    ),
    turned=st.booleans(),
)
def test_the_average_of_two_copies_is_used_and_the_other_named(name, copies, turned):
    plain, averaged = copies
    other = {key: x + 1 for key, x in tensors_of(name).items()}
    parts = [under(plain, other), under(averaged, tensors_of(name))]
    tensors = parts[turned] | parts[not turned]
    fit = engine.identify(shapes_of(tensors))
    assert fit.prefix.startswith(averaged)
    assert_tower(fit, tensors, name)
    assert any(plain.startswith(word.split(".*")[0]) for word in fit.aside)
    assert engine.identify(shapes_of(tensors), under=plain).prefix.startswith(plain)


@pytest.mark.parametrize("word", ["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"])
@pytest.mark.parametrize("name", sorted(PLAIN))
def test_what_compilers_put_within_a_name_is_peeled(name, word):
    """torch.compile and activation checkpointing of single blocks."""
    whole = {f"module.{word}.{key}": x for key, x in tensors_of(name).items()}
    tensors = {re.sub(r"\.(\d+)\.", rf".\1.{word}.", key): x for key, x in whole.items()}
    assert_tower(engine.identify(shapes_of(tensors)), tensors, name)


def test_one_of_two_equal_candidates_has_to_be_named():
    tower = tensors_of("hub_dinov2")
    tensors = under("encoder_q.", tower) | under("encoder_k.", tower)
    with pytest.raises(InputError, match=r"FILE: holds 2 towers \(encoder_q\. .*, encoder_k\. .*--under PREFIX"):
        engine.identify(shapes_of(tensors), "FILE")
    for spelling in ("encoder_k", "encoder_k."):
        assert engine.identify(shapes_of(tensors), under=spelling).prefix == "encoder_k."
    with pytest.raises(InputError, match=r"--under: FILE holds no tower under encoder_z"):
        engine.identify(shapes_of(tensors), "FILE", under="encoder_z")


def test_the_wanted_one_of_two_backbones_is_used():
    tensors = under("dino.", tensors_of("hf_dinov2")) | under("clip.", tensors_of("openai_clip"))
    for wanted in (PLAIN["hf_dinov2"], "tiny_clip"):
        assert engine.identify(shapes_of(tensors), wanted=wanted).name == wanted


def test_a_whole_clip_gives_its_vision_tower():
    text = {"transformer.resblocks.0.ln_1.weight": (8,), "positional_embedding": (7, 8), "logit_scale": ()}
    for prefix in ("", "module.", "state_dict._orig_mod."):
        tensors = {f"{prefix}visual.{key}": x.shape for key, x in tensors_of("openai_clip").items()}
        fit = engine.identify(tensors | {prefix + key: shape for key, shape in text.items()})
        assert (fit.name, fit.prefix, len(fit.dropped)) == ("tiny_clip", f"{prefix}visual.", 3)


def test_what_is_set_aside_is_reported_by_module():
    names = [f"model.student.blocks.{i}.x" for i in range(3)] + ["model.teacher.dino_head.w", "epoch"]
    assert wrappers.folded(names, "model.teacher.backbone.") == [
        "model.student.* (3)", "model.teacher.dino_head.w", "epoch",
    ]  # fmt: skip


@pytest.mark.parametrize("extra", ["fc_norm.weight", "blocks.0.attn.rel_pos", "adapter.0.weight"])
def test_within_a_tower_nothing_is_skipped(extra):
    """What is between the layers of a tower changes what it computes."""
    tensors = shapes_of(under("model.", tensors_of("hub_dinov2"))) | {f"model.{extra}": (16,)}
    with pytest.raises(InputError, match=rf"extra \(1\): model\.{extra}"):
        engine.identify(tensors)


def test_farl_is_clip_and_its_masked_modeling_head_is_set_aside():
    """FacePerceiver/FaRL: OpenAI's names under `state_dict.visual.`, text tower and masked image modeling included."""
    tower = shapes_of(under("state_dict.visual.", tensors_of("openai_clip")))
    modeling = {
        "mask_token": (16,), "ln_lm.weight": (16,), "ln_lm.bias": (16,), "lm_head.weight": (50, 16),
        "lm_head.bias": (50,), "lm_transformer.resblocks.0.attn.in_proj_weight": (48, 16),
        "lm_transformer.resblocks.0.mlp.c_fc.weight": (64, 16),
    }  # fmt: skip
    aside = {f"state_dict.visual.{name}": shape for name, shape in modeling.items()}
    aside |= {"state_dict.logit_scale": (), "state_dict.transformer.resblocks.0.ln_1.weight": (8,)}
    fit = engine.identify(tower | aside)
    assert (fit.name, fit.prefix) == ("tiny_clip", "state_dict.visual.")
    assert set(fit.dropped) == set(aside)


# Networks that are not supported as backbones.

OTHERS = {
    "KP-RPE": [["pos_embed", "blocks.0.attn.qkv.weight", "keypoint_linear.weight", "feature.0.weight"]],
    "iRPE": [["pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.attn.rpe_k.lookup_table_weight"]],
    "EVA": [
        ["cls_token", "pos_embed", "blocks.0.attn.q_bias", "blocks.0.mlp.fc1_g.weight", "blocks.0.attn.qkv.weight"],
        ["visual.cls_token", "visual.blocks.0.attn.inner_attn_ln.weight", "visual.rope.freqs_cos"],
    ],
    "AIMv2": [
        ["preprocessor.patchifier.proj.weight", "trunk.blocks.0.attn.qkv.weight", "trunk.post_trunk_norm.weight"],
        ["embeddings.rms_norm.weight", "encoder.layers.0.rms_norm1.weight"],
    ],
    "ConvNeXt": [
        ["stem.0.weight", "stages.0.blocks.0.conv_dw.weight"],
        ["downsample_layers.0.0.weight", "stages.0.0.dwconv.weight"],
        ["convnext.encoder.stages.0.layers.0.dwconv.weight"],
    ],
    "ResNet": [
        ["conv1.weight", "layer1.0.conv1.weight", "layer1.0.bn1.weight"],
        ["resnet.embedder.embedder.convolution.weight"],
        ["visual.layer1.0.conv1.weight", "visual.attnpool.c_proj.weight"],
        ["net.input_layer.0.weight", "net.body.0.res_layer.0.weight"],
    ],
    "MobileCLIP": [["visual.trunk.stages.0.blocks.0.token_mixer.mixer.rbr_skip.weight"]],
    "plain ViT": [
        ["cls_token", "pos_embed", "blocks.0.attn.qkv.weight", "blocks.0.norm1.weight", "norm.weight"],
        ["vit.embeddings.cls_token", "vit.encoder.layer.0.layernorm_before.weight"],
        ["conv_proj.weight", "encoder.layers.encoder_layer_0.self_attention.in_proj_weight"],
    ],
    "BLIP": [["embeddings.class_embedding", "encoder.layers.0.self_attn.qkv.weight"]],
    "OWL-ViT": [["vision_model.embeddings.class_embedding", "vision_model.pre_layernorm.weight"]],
    "Swin": [["patch_embed.norm.weight", "layers.0.blocks.0.attn.relative_position_bias_table"]],
    "Perception Encoder": [
        ["cls_token", "attn_pool.latent", "blocks.0.attn.qkv.weight"],
        ["class_embedding", "attn_pool.probe", "transformer.resblocks.0.ln_1.weight"],
    ],
    "SigLIP 2 NaFlex": [["embeds.pos_embed", "embeds.proj.weight", "blocks.0.attn.qkv.weight", "attn_pool.latent"]],
    "mean of its tokens": [["cls_token", "pos_embed", "blocks.0.attn.qkv.weight", "fc_norm.weight", "head.weight"]],
    "without its pooling head": [
        ["vision_model.embeddings.patch_embedding.bias", "vision_model.post_layernorm.weight"]
    ],
    "without class token": [["pos_embed", "patch_embed.proj.bias", "blocks.0.attn.qkv.bias", "norm.bias"]],
    "quantized": [
        ["encoder.layer.0.attention.attention.query.weight", "encoder.layer.0.attention.attention.query.weight_scale"],
        ["blocks.0.attn.qkv.weight_packed"],
        ["blocks.0.attn.qkv.SCB"],
    ],
    "not merged": [["embeddings.cls_token", "encoder.layer.0.q.base_layer.weight", "encoder.layer.0.q.lora_A.weight"]],
    "another kind than LoRA": [["blocks.0.attn.qkv.hada_w1_a"], ["blocks.0.attn.qkv.lokr_w1_b"], ["x.ia3_l"]],
    "adapter": [["base_model.blocks.0.attn.qkv.lora_A.weight", "base_model.blocks.0.attn.qkv.lora_B.weight"]],
}  # fmt: skip


@pytest.mark.parametrize("prefix", ["", "module.", "state_dict.model."])
@pytest.mark.parametrize("what", OTHERS)
def test_another_network_is_named_in_one_short_line(what, prefix):
    for names in OTHERS[what]:
        with pytest.raises(InputError, match=rf"^FILE: holds .*{what}") as caught:
            engine.identify({prefix + name: (16,) for name in names}, "FILE")
        assert len(str(caught.value)) < 220


def test_naflex_is_told_from_siglip_by_its_dense_patch_embedding():
    shapes = file_shapes(HF_SIGLIP, BACKBONES["tiny_siglip"])
    assert engine.identify(shapes).name == "tiny_siglip"
    dense = {f"vision_model.{name}": shape for name, shape in shapes.items()}
    dense["vision_model.embeddings.patch_embedding.weight"] = (16, 48)
    with pytest.raises(InputError, match=r"^FILE: holds SigLIP 2 NaFlex .*use a SigLIP 2 of a fixed size"):
        engine.identify(dense, "FILE")


def test_no_backbone_of_ours_is_mistaken_for_another_network():
    for name in PLAIN:
        tensors = shapes_of(tensors_of(name))
        anchor = next(key for key in tensors if key.endswith(("cls_token", "class_embedding")))
        del tensors[anchor]
        with pytest.raises(InputError, match="matches no known layout; the nearest is"):
            engine.identify(tensors)


def test_an_unknown_size_is_reported(monkeypatch):
    shapes = shapes_of(tensors_of("openai_clip"))
    for name in TINY:
        monkeypatch.delitem(BACKBONES, name)
    with pytest.raises(InputError, match=r"names as in openai_clip, but width 16 with 2 blocks is an unknown size"):
        engine.identify(shapes)

# SPDX-License-Identifier: Apache-2.0
"""Adapters made by others: in any naming, under any prefix, with a classifier, a text tower, patterns, as .bin."""

from __future__ import annotations

import json
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from adaptface_jax.core.errors import InputError
from adaptface_jax.models.specs import BACKBONES
from adaptface_jax.weights.peft.base_name import trained_on
from adaptface_jax.weights.peft.files import read_adapter
from adaptface_jax.weights.peft.start import start_from
from tests import made_towers
from tests.export.adapters import CLIP, DINOV2, assert_same_update, config, fresh, update
from tests.made_weights import TINY
from tests.weights.archives import saved
from tests.weights.test_convert import Hub, run

WIDTH, HIDDEN, DEPTH = 16, 64, 2

# Naming -> (row, module in block i -> (our target, outputs)), written out.
_HF = {"q": ("q", WIDTH), "k": ("k", WIDTH), "v": ("v", WIDTH), "o": ("proj", WIDTH)}
NAMINGS = {
    "transformers 5": (DINOV2, {f"encoder.layer.{{i}}.attention.{x}_proj": _HF[x] for x in _HF}
                       | {"encoder.layer.{i}.mlp.fc1": ("fc1", HIDDEN)}),
    "transformers 4": (DINOV2, {
        "encoder.layer.{i}.attention.attention.query": _HF["q"], "encoder.layer.{i}.attention.attention.key": _HF["k"],
        "encoder.layer.{i}.attention.attention.value": _HF["v"], "encoder.layer.{i}.attention.output.dense": _HF["o"],
        "encoder.layer.{i}.mlp.fc2": ("fc2", WIDTH)}),
    "timm": (DINOV2, {"blocks.{i}.attn.qkv": ("qkv", 3 * WIDTH), "blocks.{i}.attn.proj": ("proj", WIDTH),
                      "blocks.{i}.mlp.fc1": ("fc1", HIDDEN)}),
    "torch hub, SwiGLU": (TINY["tiny_swiglu"], {"blocks.{i}.attn.qkv": ("qkv", 48), "blocks.{i}.mlp.w12": ("fc1", 96)}),
    "CLIP of transformers": (CLIP, {
        "vision_model.encoder.layers.{i}.self_attn.q_proj": _HF["q"],
        "vision_model.encoder.layers.{i}.self_attn.v_proj": _HF["v"],
        "vision_model.encoder.layers.{i}.self_attn.out_proj": _HF["o"],
        "vision_model.encoder.layers.{i}.mlp.fc1": ("fc1", HIDDEN)}),
    "open_clip": (CLIP, {"visual.transformer.resblocks.{i}.attn": ("qkv", 48),
                         "visual.transformer.resblocks.{i}.attn.out_proj": ("proj", WIDTH),
                         "visual.transformer.resblocks.{i}.mlp.c_fc": ("fc1", HIDDEN)}),
    "CLIP of timm": (CLIP, {"blocks.{i}.attn.qkv": ("qkv", 48), "blocks.{i}.mlp.fc2": ("fc2", WIDTH)}),
}  # fmt: skip
HEADS = {"classifier": 3, "head": 5, "linear_head": 2}
TEXT = {
    "CLIP of transformers": "text_model.encoder.layers.{i}.self_attn.q_proj",
    "open_clip": "transformer.resblocks.{i}.mlp.c_fc",
}


def write(folder: Path, tensors, settings_, pickled=False):
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    if pickled:
        (folder / "adapter_model.bin").write_bytes(saved(tensors))
    else:
        safetensors.numpy.save_file(tensors, folder / "adapter_model.safetensors")
    plain = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", "eva_config": None}
    (folder / "adapter_config.json").write_text(json.dumps(plain | settings_))


def pair(rng, name, rank, din, dout):
    a, b = rng.standard_normal((rank, din), np.float32), rng.standard_normal((dout, rank), np.float32)
    return (
        {f"base_model.model.{name}.lora_A.weight": a, f"base_model.model.{name}.lora_B.weight": b},
        b.T * 1.0,
        a.T * 1.0,
    )


def started(folder, spec, targets, rank=12, **more):
    again = config(folder=folder, rank=rank, alpha=float(rank), targets=targets, **more)
    tree, start = start_from(again, spec, fresh(again, spec))
    return again, tree, start


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_adapter_is_read_for_what_its_tensors_are(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "foreign"
    naming = data.draw(st.sampled_from(sorted(NAMINGS)))
    spec, layers = NAMINGS[naming]
    around = data.draw(st.sampled_from(["", "backbone.", "model.", "_orig_mod.", "net.encoder."]))
    chosen = data.draw(st.lists(st.sampled_from(sorted(layers)), min_size=1, unique=True))
    blocks = data.draw(st.lists(st.sampled_from(range(DEPTH)), min_size=1, unique=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    tensors, expected = {}, {}
    ranks, alphas = {}, {}
    for name in chosen:
        target, dout = layers[name]
        din = spec.mlp_width if target == "fc2" else WIDTH
        for i in blocks:
            module = around + name.replace("{i}", str(i))
            rank, alpha = data.draw(st.sampled_from([(2, 4), (1, 4), (3, 4), (2, 9)]))
            more, b, a = pair(rng, module, rank, din, dout)
            tensors |= more
            bare = module.replace(".base_layer", "")
            ranks |= {bare: rank} if rank != 2 else {}
            alphas |= {bare: alpha} if alpha != 4 else {}
            layer = "qkv" if target in "qkv" else target
            change = expected.setdefault(layer, np.zeros((DEPTH, din, dout * (3 if target in ("q", "k", "v") else 1))))
            start = "qkv".index(target) * WIDTH if target in ("q", "k", "v") else 0
            change[i, :, start : start + dout] += alpha / rank * a.astype(np.float64) @ b
    aside = []
    for head in data.draw(st.sets(st.sampled_from(sorted(HEADS)))):
        tensors[f"base_model.model.{around}{head}.weight"] = np.ones((HEADS[head], WIDTH), np.float32)
        aside.append(f"{head}.weight")
    if naming in TEXT and data.draw(st.booleans()):
        for i in range(3):
            tensors |= pair(rng, around + TEXT[naming].replace("{i}", str(i)), 2, 8, 8)[0]
        aside.append("* (6)")
    say = data.draw(st.sampled_from(["list", "pattern", "exclude", "eva"]))
    ends = [name.rpartition("{i}.")[2].replace(".base_layer", "") for name in chosen]
    settings_ = {
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "target_modules": ".*something.*" if say == "pattern" else ends,
        "layers_to_transform": blocks if say == "list" else None,
        "exclude_modules": "text.*" if say == "exclude" else None,
        "modules_to_save": ["classifier"],
        **({"init_lora_weights": "eva", "eva_config": {"rho": 2.0}} if say == "eva" else {}),
    }
    if say == "list" and naming in TEXT:
        settings_["target_modules"] = None
    write(folder, tensors, settings_, pickled=data.draw(st.booleans()))
    fused = any(layers[name][0] == "qkv" for name in layers)
    targets = ("qkv",) if fused or data.draw(st.booleans()) else ("q", "k", "v")
    again, tree, start = started(folder, spec, (*targets, "proj", "fc1", "fc2"))
    assert_same_update(update(again, tree["adapter"], spec), expected)
    for word in aside:
        assert word in start.content
    assert ("set aside" in start.content) == bool(aside)


def test_a_fused_layer_comes_apart_where_the_run_adapts_its_parts(tmp_path):
    rng = np.random.default_rng(0)
    tensors, b, a = pair(rng, "blocks.1.attn.qkv", 2, WIDTH, 3 * WIDTH)
    write(tmp_path, tensors, {"target_modules": "qkv"})
    again, tree, _ = started(tmp_path, DINOV2, ("q", "k", "v"), rank=2)
    expected = np.zeros((DEPTH, WIDTH, 3 * WIDTH))
    expected[1] = 2 * a.astype(np.float64) @ b
    assert_same_update(update(again, tree["adapter"], DINOV2), {"qkv": expected})
    with pytest.raises(InputError, match=r"adapter.targets: q,k do not cover v"):
        started(tmp_path, DINOV2, ("q", "k"), rank=2)


@pytest.mark.parametrize("pattern", ["resblocks", ["resblocks"], "something else"])
def test_torchs_attention_is_adapted_with_its_output_projection(pattern, tmp_path):
    """As PEFT adapts open_clip's `attn`: one target, two low-rank updates of its rank and scale."""
    rng = np.random.default_rng(5)
    name = "visual.transformer.resblocks.1.attn"
    first, b, a = pair(rng, name, 3, WIDTH, 3 * WIDTH)
    second, b_out, a_out = pair(rng, f"{name}.base_layer.out_proj", 3, WIDTH, WIDTH)
    says = {"target_modules": ["attn"], "layers_to_transform": 1, "layers_pattern": pattern}
    write(tmp_path, first | second, says | {"rank_pattern": {name: 3}, "alpha_pattern": {r".*\.attn": 6}})
    again, tree, _ = started(tmp_path, CLIP, ("qkv", "proj"))
    expected = {"qkv": np.zeros((DEPTH, WIDTH, 3 * WIDTH)), "proj": np.zeros((DEPTH, WIDTH, WIDTH))}
    expected["qkv"][1], expected["proj"][1] = 2 * a.astype(np.float64) @ b, 2 * a_out.astype(np.float64) @ b_out
    assert_same_update(update(again, tree["adapter"], CLIP), expected)


def test_lora_on_the_patch_embedding_is_merged_into_the_trained_copy(tmp_path):
    """timm's target `proj` is the projection of the attention and of the patches."""
    rng = np.random.default_rng(1)
    tensors = pair(rng, "blocks.0.attn.proj", 2, WIDTH, WIDTH)[0] | pair(rng, "blocks.1.attn.proj", 2, WIDTH, WIDTH)[0]
    a, b = rng.standard_normal((2, 3, 4, 4), np.float32), rng.standard_normal((WIDTH, 2, 1, 1), np.float32)
    name = "base_model.model.patch_embed.proj"
    write(tmp_path, tensors | {f"{name}.lora_A.weight": a, f"{name}.lora_B.weight": b}, {"target_modules": ["proj"]})
    with pytest.raises(InputError, match=r"set backbone.train_patch_embed=True"):
        started(tmp_path, DINOV2, ("proj",))
    again = config(folder=tmp_path, targets=("proj",), patch=True)
    first = fresh(again, DINOV2)
    kernel = start_from(again, DINOV2, first)[0]["backbone"]["patch_embed"]["kernel"]
    change = 2 * np.einsum("or,rchw->hwco", b[:, :, 0, 0].astype(np.float64), a).reshape(48, WIDTH)
    np.testing.assert_allclose(kernel, first["backbone"]["patch_embed"]["kernel"] + change, atol=1e-5)


@pytest.mark.parametrize(
    ("pattern", "alpha"),
    [
        ("self_attn.q_proj", 9.0),
        (r".*layers\.1\..*q_proj", 4.0),  # of block 0
        (r"layers\.[01]\.self_attn\.(q_proj|k_proj)", 9.0),
        ("q_proj|v_proj", 9.0),
        (r"encoder\.layers\.(0|1)\.self_attn\.(q_proj|k_proj)", 9.0),
        ("^vision_model.encoder.layers.0.self_attn.q_proj", 9.0),
        ("^encoder.layers.0.self_attn.q_proj", 4.0),
    ],
)
def test_patterns_match_as_in_peft(pattern, alpha, tmp_path):
    rng = np.random.default_rng(2)
    tensors, b, a = pair(rng, "vision_model.encoder.layers.0.self_attn.q_proj", 2, WIDTH, WIDTH)
    write(tmp_path, tensors, {"target_modules": ".*", "alpha_pattern": {pattern: 9}})
    again, tree, _ = started(tmp_path, CLIP, ("q",), rank=2)
    expected = np.zeros((DEPTH, WIDTH, 3 * WIDTH))
    expected[0, :, :WIDTH] = alpha / 2 * a.astype(np.float64) @ b
    assert_same_update(update(again, tree["adapter"], CLIP), {"qkv": expected})


@pytest.mark.parametrize(
    "changes",
    [
        {"use_dora": True},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora"},
        {"init_lora_weights": "loftq", "loftq_config": {"loftq_bits": 4}},
        {"bias": "lora_only"},
        {"lora_bias": True},
        {"peft_type": "LOHA"},
        {"peft_type": "ADALORA", "target_r": 8},
    ],
)
def test_what_changes_the_base_says_how_to_merge_it(changes, tmp_path):
    mapping = {"base_model_class": "Dinov2Model", "parent_library": "transformers.models.dinov2.modeling_dinov2"}
    write(tmp_path, {"x": np.ones(1, np.float32)}, {"base_model_name_or_path": "facebook/dinov2-small"} | changes
          | {"auto_mapping": mapping})  # fmt: skip
    with pytest.raises(InputError) as caught:
        read_adapter(tmp_path, DINOV2)
    line = str(caught.value)
    assert next(iter(changes)) in line and "\n" not in line
    for part in ("transformers.Dinov2Model.from_pretrained('facebook/dinov2-small')", "merge_and_unload()",
                 "adaptface convert merged --out weights/merged"):  # fmt: skip
        assert part in line


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"init_lora_weights": "corda", "corda_config": {"x": 1}}, "path_initial_model_for_weight_conversion"),
        ({"peft_type": "PREFIX_TUNING"}, "other kinds of adapters are not supported$"),
        ({"peft_type": None, "config": {"architecture": "lora"}}, "peft_type is None; .* not supported$"),
        (
            {"bias": "all", "auto_mapping": {"base_model_class": "Eva", "parent_library": "timm.models.eva"}},
            r"with PEFT \(merge_and_unload\), save the state dict",
        ),
        ({"bias": "all", "modules_to_save": ["classifier"]}, "transformers.AutoModelForImageClassification"),
    ],
)
def test_what_a_merge_of_that_kind_needs(changes, words, tmp_path):
    write(tmp_path, {"x": np.ones(1, np.float32)}, changes)
    with pytest.raises(InputError, match=words):
        read_adapter(tmp_path, DINOV2)


def test_a_fully_trained_norm_is_refused_with_the_merge(tmp_path):
    rng = np.random.default_rng(6)
    tensors = pair(rng, "encoder.layer.0.attention.q_proj", 2, WIDTH, WIDTH)[0]
    tensors["base_model.model.layernorm.weight"] = np.ones(WIDTH, np.float32)
    write(tmp_path, tensors, {"target_modules": ".*", "modules_to_save": ["layernorm"]})
    with pytest.raises(
        InputError, match=r"layernorm.weight \[16\]; what it changes besides .* not read: merge it into its base"
    ):
        read_adapter(tmp_path, DINOV2)


@pytest.mark.parametrize("module", ["head.mlp.fc1", "head.attention", "head.attention.base_layer.out_proj"])
def test_an_update_of_siglips_pooling_is_not_lost(module, tmp_path):
    """Its `head` is no classifier: PEFT adapts it too where the targets are fc1, out_proj or all linear layers."""
    spec, rng = made_towers.TINY["tiny_siglip"], np.random.default_rng(8)
    tensors = pair(rng, "vision_model.encoder.layers.0.mlp.fc1", 2, WIDTH, HIDDEN)[0]
    tensors |= {f"base_model.model.classifier.{end}": np.ones(3, np.float32) for end in ("weight", "bias")}
    write(tmp_path, tensors, {"target_modules": ".*", "modules_to_save": ["classifier"]})
    assert read_adapter(tmp_path, spec).aside == ("base_model.model.classifier.* (2)",)
    write(tmp_path, tensors | pair(rng, f"vision_model.{module}", 2, WIDTH, HIDDEN)[0], {"target_modules": ".*"})
    with pytest.raises(InputError, match=rf"extra \(2\): base_model.model.vision_model.{module}.*merge it into"):
        read_adapter(tmp_path, spec)


def test_an_adapter_of_a_deeper_backbone_is_refused(tmp_path):
    tensors = pair(np.random.default_rng(9), f"encoder.layer.{DEPTH}.attention.q_proj", 2, WIDTH, WIDTH)[0]
    write(tmp_path, tensors, {"target_modules": ["q_proj"]})
    with pytest.raises(InputError, match=f"adapts block {DEPTH}, but this backbone has blocks 0 to {DEPTH - 1}"):
        read_adapter(tmp_path, DINOV2)


def test_what_other_trainers_add_to_the_settings_does_not_matter(tmp_path):
    tensors = pair(np.random.default_rng(9), "blocks.0.attn.proj", 2, WIDTH, WIDTH)[0]
    write(tmp_path, tensors, {"target_modules": "proj", "unsloth_fixed": True, "lorap_emb_lr": 1e-6})
    assert read_adapter(tmp_path, DINOV2).count == 1


def test_an_adapter_by_another_name_or_by_its_file(tmp_path):
    """PEFT saves an adapter that is not called default in a folder of that name."""
    tensors, b, a = pair(np.random.default_rng(7), "blocks.0.attn.proj", 2, WIDTH, WIDTH)
    expected = {"proj": np.zeros((DEPTH, WIDTH, WIDTH))}
    expected["proj"][0] = 2 * a.astype(np.float64) @ b
    write(tmp_path / "faces", tensors, {"target_modules": "proj", "init_lora_weights": None})
    for path in (tmp_path, tmp_path / "faces" / "adapter_model.safetensors"):
        again, tree, _ = started(path, DINOV2, ("proj",), rank=2)
        assert_same_update(update(again, tree["adapter"], DINOV2), expected)
    write(tmp_path / "others", tensors, {"target_modules": "proj"})
    with pytest.raises(InputError, match=r"holds 2 adapters \(faces, others\); name one of these folders"):
        started(tmp_path, DINOV2, ("proj",), rank=2)


@pytest.mark.parametrize(
    ("base", "backbone", "words"),
    [
        ("facebook/dinov2-small", "dinov2_vits14", ""),
        ("facebook/dinov2-with-registers-small", "dinov2_vits14_reg4", ""),
        ("facebook/dinov2-with-registers-small", "dinov2_vits14", "registers 4, here 0"),
        ("dinov2_vits14_reg4_pretrain.pth", "dinov2_vits14", "registers 4, here 0"),
        ("timm/vit_small_patch14_dinov2.lvd142m", "dinov2_vits14_reg4", "registers 0, here 4"),
        ("openai/clip-vit-large-patch14-336", "clip_vitl14", ""),
        ("openai/clip-vit-base-patch16", "clip_vitb32", "patch size 16, here 32"),
        ("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "clip_vitb16", "patch size 32, here 16"),
        ("facebook/dinov3-vits16-pretrain-lvd1689m", "dinov3_vits16", ""),
        ("google/siglip-base-patch16-224", "clip_vitb16", "family siglip, here clip"),
        ("/home/me/runs/merged", "clip_vitb16", ""),
    ],
)
def test_the_name_of_the_base_says_if_it_is_another(base, backbone, words):
    line = trained_on(base, BACKBONES[backbone])
    assert line == f"trained on {base}" + (f", another model by its name: {words}" if words else "")


def test_an_update_of_clips_projection_is_not_lost_silently(tmp_path):
    rng = np.random.default_rng(3)
    tensors = pair(rng, "vision_model.encoder.layers.0.self_attn.q_proj", 2, WIDTH, WIDTH)[0]
    tensors |= pair(rng, "visual_projection", 2, WIDTH, 24)[0]
    write(tmp_path, tensors, {"target_modules": ".*"})
    assert "visual_projection" in read_adapter(tmp_path, CLIP).aside[0]
    with pytest.raises(InputError, match=r"adapts CLIP's projection .*set backbone.feature=cls"):
        read_adapter(tmp_path, TINY["tiny_clip"])
    block = pair(rng, "blocks.0.attn.qkv", 2, WIDTH, 48)[0]
    write(tmp_path, block | pair(rng, "head", 2, WIDTH, 24)[0], {"target_modules": ".*"})  # timm's name of it
    with pytest.raises(InputError, match=r"adapts CLIP's projection \(base_model.model.head.lora_B.weight\)"):
        read_adapter(tmp_path, TINY["tiny_clip"])
    write(tmp_path, block | pair(rng, "head", 2, WIDTH, 5)[0], {"target_modules": ".*"})  # a classifier of five
    assert read_adapter(tmp_path, TINY["tiny_clip"]).aside == ("base_model.model.head.* (2)",)


ASK_THE_HUB = """
from tests.export.adapters import DINOV2
from tests.export.test_foreign_adapters import started
print(started("owner/demo", DINOV2, ("qkv",))[2])
"""


def test_an_adapter_of_the_hub(tmp_path):
    rng = np.random.default_rng(4)
    repo = tmp_path / "repo"
    write(repo, pair(rng, "blocks.0.attn.qkv", 2, WIDTH, 48)[0], {"target_modules": "x"}, pickled=True)
    (repo / "pytorch_model.bin").write_bytes(b"the whole base model")
    handler = type("Handler", (Hub,), {"folder": repo, "asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    hub_home = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0"}
    result = run(started=("-c", ASK_THE_HUB), **hub_home)
    server.shutdown()
    server.server_close()
    assert (result.returncode, result.stderr) == (0, "")
    assert "source='owner/demo'" in result.stdout and "1 layers in the naming of timm_dinov2" in result.stdout
    assert not any("pytorch_model.bin" in path for path in handler.asked)

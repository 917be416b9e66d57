# SPDX-License-Identifier: Apache-2.0
"""DINOv3, SigLIP and face ViTs in every published dialect, written out as in `made_weights` for DINOv2 and CLIP."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from adaptface_jax.models.specs import HALF, BackboneSpec
from tests import made_weights
from tests.made_weights import Dialect, Tensors, _depth, _fused, _pair, as_saved, bare, trunk

_DINOV3 = BackboneSpec("dinov3", 16, 2, 2, 64, 4, 20, 3, norm_eps=1e-5)
# 22 px are cropped to 5 x 5 patches of 4, like 112 px to 12 x 12 of 9 and 384 px to 27 x 27 of 14.
_CUT = BackboneSpec("siglip", 16, 2, 2, 64, 4, 22, activation="gelu_tanh", stats=HALF)
# Their goldens come from tests/goldens/make_towers.py.
TINY = {
    "tiny_dinov3": _DINOV3,
    "tiny_dinov3_gated": BackboneSpec("dinov3", 16, 2, 2, 48, 4, 20, 3, "swiglu", norm_eps=1e-5),
    "tiny_dinov3_unbiased": BackboneSpec(
        "dinov3", 16, 2, 2, 32, 4, 20, 3, "swiglu", norm_eps=1e-5, unbiased=True
    ),  # without a golden
    "tiny_siglip": _CUT,
    "tiny_face": BackboneSpec("face", 16, 2, 2, 64, 4, 22, activation="relu6", norm_eps=1e-5, embedding=24, stats=HALF),
}


def rows() -> dict[str, BackboneSpec]:
    """All tiny rows, those of DINOv2 and CLIP too."""
    return made_weights.TINY | TINY


def size(row: str) -> int:
    """The image size that dialects are compared at."""
    return 22 if row == "tiny_face" else 20


def dinov3_modules(hf: Tensors) -> Tensors:
    return {name.replace("layer.", "model.layer.", 1): x for name, x in hf.items()}


def _vit(hf: Tensors, block: str, names: tuple[tuple[str, str], ...]) -> Tensors:
    """The layers of every block with the same name in all ViTs, and the fused attention weight."""
    result: Tensors = {}
    for i in range(_depth(hf)):
        for theirs, ours in names:
            result |= _pair(hf, f"{block}{i}.{theirs}", f"blocks.{i}.{ours}")
    return result


def hub_dinov3(hf: Tensors) -> Tensors:
    """The names of DINOv3's authors: one bias for queries, keys and values, with a mask that hides the keys'."""
    names = ("norm1", "norm1"), ("attention.o_proj", "attn.proj"), ("norm2", "norm2")
    result = {
        "cls_token": hf["embeddings.cls_token"],
        "storage_tokens": hf["embeddings.register_tokens"],
        "mask_token": hf["embeddings.mask_token"][0],
        "rope_embed.periods": np.float32(100.0) ** (np.arange(2, dtype=np.float32) / 2),
        **_pair(hf, "embeddings.patch_embeddings", "patch_embed.proj"),
        **_pair(hf, "norm", "norm"),
        **_vit(hf, "layer.", names),
    }
    for i in range(_depth(hf)):
        old, new = f"layer.{i}.", f"blocks.{i}."
        weights = [hf[f"{old}attention.{part}_proj.weight"] for part in "qkv"]
        query, value = (hf[f"{old}attention.{part}_proj.bias"] for part in "qv")
        result[f"{new}attn.qkv.weight"] = np.concatenate(weights)
        result[f"{new}attn.qkv.bias"] = np.concatenate([query, np.zeros_like(query), value])
        result[f"{new}attn.qkv.bias_mask"] = np.repeat(np.float32([1, 0, 1]), len(query))
        for part in ("1", "2"):
            result[f"{new}ls{part}.gamma"] = hf[f"{old}layer_scale{part}.lambda1"]
        gated = f"{old}mlp.gate_proj.weight" in hf
        mlp = (("gate_proj", "w1"), ("up_proj", "w2"), ("down_proj", "w3")) if gated else _PLAIN
        for theirs, ours in mlp:
            result |= _pair(hf, f"{old}mlp.{theirs}", f"{new}mlp.{ours}")
    return result


_PLAIN = (("up_proj", "fc1"), ("down_proj", "fc2"))


def timm_dinov3(hf: Tensors) -> Tensors:
    result: Tensors = {}
    for name, tensor in hub_dinov3(hf).items():
        if name.endswith("qkv.bias"):
            query, _, value = np.split(tensor, 3)
            result |= {name.replace("qkv.bias", "q_bias"): query, name.replace("qkv.bias", "v_bias"): value}
        elif not name.endswith(("mask_token", "periods", "bias_mask")):
            for old, new in (("storage_tokens", "reg_token"), ("ls1.gamma", "gamma_1"), ("ls2.gamma", "gamma_2"),
                             ("w1", "fc1_g"), ("w2", "fc1_x"), ("w3", "fc2")):  # fmt: skip
                name = name.replace(old, new)
            result[name] = tensor
    return result


def timm_siglip(hf: Tensors) -> Tensors:
    hf = bare(hf)
    names = (
        ("layer_norm1", "norm1"), ("self_attn.out_proj", "attn.proj"), ("layer_norm2", "norm2"), ("mlp.fc1", "mlp.fc1"),
        ("mlp.fc2", "mlp.fc2"),
    )  # fmt: skip
    result = {
        "pos_embed": hf["embeddings.position_embedding.weight"][None],
        **_pair(hf, "embeddings.patch_embedding", "patch_embed.proj"),
        **_pair(hf, "post_layernorm", "norm"),
        **_vit(hf, "encoder.layers.", names),
        "attn_pool.latent": hf["head.probe"],
        **_pair(hf, "head.attention.out_proj", "attn_pool.proj"),
        **_pair(hf, "head.layernorm", "attn_pool.norm"),
        **_pair(hf, "head.mlp.fc1", "attn_pool.mlp.fc1"),
        **_pair(hf, "head.mlp.fc2", "attn_pool.mlp.fc2"),
    }
    for end in ("weight", "bias"):
        whole = hf[f"head.attention.in_proj_{end}"]
        third = len(whole) // 3
        result |= {f"attn_pool.q.{end}": whole[:third], f"attn_pool.kv.{end}": whole[third:]}
    for i in range(_depth({name: x for name, x in hf.items() if "layers" in name})):
        weight, bias = _fused(hf, *(f"encoder.layers.{i}.self_attn.{part}_proj" for part in "qkv"))
        result |= {f"blocks.{i}.attn.qkv.weight": weight, f"blocks.{i}.attn.qkv.bias": bias}
    return result


_NOT_RESIZED = ("rotary", "rotary")
DINOV3: dict[str, Dialect] = {}
for _name, _write, _prefixes in (
    ("hf_dinov3", as_saved, ("", "model.")),
    ("hf_dinov3_modules", dinov3_modules, ("",)),
    ("hub_dinov3", hub_dinov3, ("", "teacher.backbone.")),
    ("timm_dinov3", timm_dinov3, ("", "state_dict.")),
):
    for _prefix in _prefixes:
        DINOV3[f"{_name} under {_prefix}" if _prefix else _name] = Dialect(_write, _NOT_RESIZED, _name, _prefix)

_TEXT = {"logit_scale": np.ones(1, np.float32), "text_model.head.bias": np.ones(1, np.float32)}
SIGLIP = {
    "hf_siglip": Dialect(bare, ("bicubic", ""), "hf_siglip"),
    "hf_siglip under vision_model.": Dialect(bare, ("bicubic", ""), "hf_siglip", "vision_model.", _TEXT),
    "timm_siglip": Dialect(timm_siglip, ("bicubic_antialias", ""), "timm_siglip"),
    "timm_siglip in open_clip under visual.": Dialect(
        trunk(timm_siglip), ("bicubic_antialias", ""), "timm_siglip in open_clip", "visual.", _TEXT
    ),
}
FACES = {
    f"insightface under {prefix}" if prefix else "insightface": Dialect(
        as_saved, ("bicubic", ""), "insightface", prefix
    )
    for prefix in ("", "module.", "net.", "state_dict_backbone.")
}
CASES = [
    *((name, row) for name in DINOV3 for row in ("tiny_dinov3", "tiny_dinov3_gated")),
    *((name, "tiny_siglip") for name in SIGLIP),
    *((name, "tiny_face") for name in FACES),
]


def dialect(name: str) -> Dialect:
    """Of all families."""
    return (made_weights.DINOV2 | made_weights.CLIPS | DINOV3 | SIGLIP | FACES)[name]


def write_settings(folder: Path, name: str) -> None:
    """What timm and open_clip write next to a SigLIP tower, the only source of its activation."""
    if name.startswith("timm_siglip"):
        tower = {"timm_model_name": "vit_tiny_patch4_siglip_22", "timm_pool": "map"}
        tanh = {"act_layer": "gelu_tanh"}
        if "open_clip" in name:
            settings = {"model_cfg": {"vision_cfg": {**tower, "timm_model_kwargs": tanh}}}
            (folder / "open_clip_config.json").write_text(json.dumps(settings))
        else:
            settings = {"architecture": tower["timm_model_name"], "model_args": tanh, "global_pool": "map"}
            (folder / "config.json").write_text(json.dumps(settings))

"""Weights written in every published dialect by plain NumPy, from the names that transformers writes.

Nothing here is shared with the package's own tables: each writer spells out a dialect independently.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from adaptface_jax.models.specs import CLIP, BackboneSpec

Tensors = dict[str, np.ndarray]

_DINOV2 = BackboneSpec("dinov2", 16, 2, 2, 64, 4, 20)
# Rows besides the known backbones; their goldens come from tests/goldens/make_backbones.py.
TINY = {
    "tiny_dinov2": _DINOV2,
    "tiny_reg4": dataclasses.replace(_DINOV2, registers=4),
    "tiny_swiglu": dataclasses.replace(_DINOV2, mlp="swiglu", mlp_width=48),
    "tiny_clip": BackboneSpec(
        "clip", 16, 2, 2, 64, 4, 20, activation="quick_gelu", norm_eps=1e-5, projection=24, stats=CLIP
    ),
}


def save(file: Path, tensors: Tensors, dtype: str = "F32") -> None:
    """A safetensors file, byte by byte; dtype: F32, F16 or BF16 (rounded toward zero, so that no library is asked)."""
    data = []
    for tensor in tensors.values():
        tensor = np.ascontiguousarray(tensor, np.float32)
        if dtype == "BF16":
            data.append((tensor.view(np.uint32) >> 16).astype("<u2").tobytes())
        else:
            data.append(tensor.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes())
    header, start = {}, 0
    for (name, tensor), chunk in zip(tensors.items(), data, strict=True):
        offsets = [start, start + len(chunk)]
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": offsets}
        start = offsets[1]
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    file.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(data))


def rounded(tensors: Tensors, dtype: str) -> Tensors:
    """Their values in a file of this dtype, in float32."""
    if dtype == "BF16":
        cut = {name: np.ascontiguousarray(x).view(np.uint32) & np.uint32(0xFFFF0000) for name, x in tensors.items()}
        return {name: bits.view(np.float32) for name, bits in cut.items()}
    return {
        name: x.astype({"F32": np.float32, "F16": np.float16}[dtype]).astype(np.float32) for name, x in tensors.items()
    }


def _depth(tensors: Tensors) -> int:
    return 1 + max(int(part) for name in tensors for part in name.split(".") if part.isdigit())


def _pair(tensors: Tensors, old: str, new: str) -> Tensors:
    return {f"{new}.{end}": tensors[f"{old}.{end}"] for end in ("weight", "bias")}


def _fused(tensors: Tensors, query: str, key: str, value: str) -> list[np.ndarray]:
    return [np.concatenate([tensors[f"{x}.{end}"] for x in (query, key, value)]) for end in ("weight", "bias")]


# DINOv2


def as_saved(hf: Tensors) -> Tensors:
    return dict(hf)


def modules(hf: Tensors) -> Tensors:
    """The module names of transformers since 5.18."""
    result = {}
    for name, tensor in hf.items():
        for part in ("query", "key", "value"):
            name = name.replace(f"attention.attention.{part}", f"attention.{part[0]}_proj")
        name = name.replace("attention.output.dense", "attention.o_proj").replace("weights_out", "down_proj")
        if "weights_in" in name:
            half = len(tensor) // 2
            result[name.replace("weights_in", "gate_proj")] = tensor[:half]
            result[name.replace("weights_in", "up_proj")] = tensor[half:]
        else:
            result[name] = tensor
    return result


def hub(hf: Tensors) -> Tensors:
    """The names of the original DINOv2."""
    result = {
        "cls_token": hf["embeddings.cls_token"],
        "pos_embed": hf["embeddings.position_embeddings"],
        "mask_token": hf["embeddings.mask_token"],
        **_pair(hf, "embeddings.patch_embeddings.projection", "patch_embed.proj"),
        **_pair(hf, "layernorm", "norm"),
    }
    if "embeddings.register_tokens" in hf:
        result["register_tokens"] = hf["embeddings.register_tokens"]
    for i in range(_depth(hf)):
        old, new = f"encoder.layer.{i}.", f"blocks.{i}."
        query, key, value = (f"{old}attention.attention.{part}" for part in ("query", "key", "value"))
        weight, bias = _fused(hf, query, key, value)
        result |= {f"{new}attn.qkv.weight": weight, f"{new}attn.qkv.bias": bias}
        result |= _pair(hf, f"{old}attention.output.dense", f"{new}attn.proj")
        for part in ("norm1", "norm2"):
            result |= _pair(hf, old + part, new + part)
        for part in ("1", "2"):
            result[f"{new}ls{part}.gamma"] = hf[f"{old}layer_scale{part}.lambda1"]
        swiglu = f"{old}mlp.weights_in.weight" in hf
        names = (("weights_in", "w12"), ("weights_out", "w3")) if swiglu else (("fc1", "fc1"), ("fc2", "fc2"))
        for theirs, its in names:
            result |= _pair(hf, f"{old}mlp.{theirs}", f"{new}mlp.{its}")
    return result


def hub_chunked(hf: Tensors) -> Tensors:
    """Training checkpoints: a chunk's number before the block's, which keeps counting."""
    return {
        name.replace("blocks.0.", "blocks.0.0.").replace("blocks.1.", "blocks.1.1."): x for name, x in hub(hf).items()
    }


def timm_dinov2(hf: Tensors) -> Tensors:
    result = {name.replace("w12", "fc1").replace("w3", "fc2"): x for name, x in hub(hf).items() if name != "mask_token"}
    if "register_tokens" in result:
        result["reg_token"] = result.pop("register_tokens")
        result["cls_token"] = result["cls_token"] + result["pos_embed"][:, :1]
        result["pos_embed"] = result["pos_embed"][:, 1:]
    return result


# CLIP


def bare(hf: Tensors) -> Tensors:
    """As transformers saves a `CLIPVisionModel` since 5.6."""
    return {name.removeprefix("vision_model."): x for name, x in hf.items()}


def openai(hf: Tensors) -> Tensors:
    result = {
        "class_embedding": hf["vision_model.embeddings.class_embedding"],
        "positional_embedding": hf["vision_model.embeddings.position_embedding.weight"],
        "proj": hf["visual_projection.weight"].T,
        "conv1.weight": hf["vision_model.embeddings.patch_embedding.weight"],
        **_pair(hf, "vision_model.pre_layrnorm", "ln_pre"),
        **_pair(hf, "vision_model.post_layernorm", "ln_post"),
    }
    for i in range(_depth(hf)):
        old, new = f"vision_model.encoder.layers.{i}.", f"transformer.resblocks.{i}."
        weight, bias = _fused(hf, *(f"{old}self_attn.{part}_proj" for part in "qkv"))
        result |= {f"{new}attn.in_proj_weight": weight, f"{new}attn.in_proj_bias": bias}
        for theirs, its in (
            ("self_attn.out_proj", "attn.out_proj"), ("layer_norm1", "ln_1"), ("layer_norm2", "ln_2"),
            ("mlp.fc1", "mlp.c_fc"), ("mlp.fc2", "mlp.c_proj"),
        ):  # fmt: skip
            result |= _pair(hf, old + theirs, new + its)
    return result


def timm_clip(hf: Tensors) -> Tensors:
    result = {}
    for name, tensor in openai(hf).items():
        name = name.replace("transformer.resblocks", "blocks").replace("conv1", "patch_embed.proj")
        for old, new in (("ln_pre", "norm_pre"), ("ln_post", "norm"), ("ln_", "norm"), ("in_proj_", "qkv."),
                         ("out_proj", "proj"), ("c_fc", "fc1"), ("c_proj", "fc2")):  # fmt: skip
            name = name.replace(old, new)
        result[name] = tensor
    result["cls_token"] = result.pop("class_embedding")[None, None]
    result["pos_embed"] = result.pop("positional_embedding")[None]
    result["head.weight"] = result.pop("proj").T
    result["head.bias"] = np.zeros(len(result["head.weight"]), np.float32)
    return result


def _some(*names: str) -> Tensors:
    return {name: np.ones((3, 2), np.float32) for name in names}


class Dialect(NamedTuple):
    """rules: how its project resizes positions, without and with registers. beside: what else such a file holds.

    table: the package's name for the naming, without the prefix.
    """

    write: Callable[[Tensors], Tensors]
    rules: tuple[str, str]
    table: str
    prefix: str = ""
    beside: Tensors = {}  # noqa: RUF012

    def of(self, hf: Tensors) -> Tensors:
        return {self.prefix + name: tensor for name, tensor in self.write(hf).items()} | self.beside


_HF, _HUB = ("bicubic", "bicubic_antialias"), ("dinov2", "bicubic_antialias")
_ANTIALIAS = ("bicubic_antialias", "bicubic_antialias")
_HEAD = _some("classifier.weight", "classifier.bias")
_DINO = _some("teacher.dino_head.mlp.0.weight", "teacher.ibot_head.last_layer.weight_v")
_TEXT = _some(
    "positional_embedding", "text_projection", "logit_scale", "token_embedding.weight", "ln_final.weight",
    "ln_final.bias", "transformer.resblocks.0.attn.in_proj_weight", "input_resolution", "context_length", "vocab_size",
)  # fmt: skip


def trunk(write: Callable[[Tensors], Tensors]) -> Callable[[Tensors], Tensors]:
    """A timm model within open_clip."""
    return lambda hf: {f"trunk.{name}": x for name, x in write(hf).items()}


def projected_trunk(hf: Tensors) -> Tensors:
    """The same, with the projection that open_clip adds."""
    result = trunk(timm_clip)(hf)
    del result["trunk.head.bias"]
    return result | {"head.proj.weight": result.pop("trunk.head.weight")}


def _under(naming: str, prefix: str) -> str:
    return f"{naming} under {prefix}" if prefix else naming


DINOV2: dict[str, Dialect] = {}
for _name, _write, _rules, _prefixes in (
    ("hf_dinov2", as_saved, _HF, ("", "dinov2.", "dinov2_with_registers.", "model.")),
    ("hf_dinov2_modules", modules, _HF, ("", "dinov2.")),
    ("hub_dinov2", hub, _HUB, ("", "teacher.backbone.", "backbone.", "module._orig_mod.", "state_dict.model.")),
    ("hub_dinov2_chunked", hub_chunked, _HUB, ("", "teacher.backbone.")),
    ("timm_dinov2", timm_dinov2, _ANTIALIAS, ("", "model.", "state_dict.")),
    ("timm_dinov2 in open_clip", trunk(timm_dinov2), _ANTIALIAS, ("visual.",)),
):
    for _prefix in _prefixes:
        _beside = _DINO if "teacher" in _prefix else _HEAD if _name.startswith("hf") and _prefix else {}
        DINOV2[_under(_name, _prefix)] = Dialect(_write, _rules, _name, _prefix, _beside)

CLIPS: dict[str, Dialect] = {}
for _name, _write, _rules, _prefixes in (
    ("hf_clip", as_saved, _HF, ("", "model.")),
    ("hf_clip without vision_model.", bare, _HF, ("",)),
    ("timm_clip", timm_clip, _ANTIALIAS, ("", "state_dict.")),
    ("timm_clip in open_clip", trunk(timm_clip), _ANTIALIAS, ("visual.",)),
    ("timm_clip in open_clip with its projection", projected_trunk, _ANTIALIAS, ("visual.",)),
    ("openai_clip", openai, _ANTIALIAS, ("", "visual.", "module.visual.", "state_dict.module.visual.")),
):
    for _prefix in _prefixes:
        _around = _prefix.removesuffix("visual.")
        if _name.startswith("hf_clip without"):
            _beside = _some("embeddings.position_ids")
        elif _name == "hf_clip":
            _beside = _some(*(_prefix + x for x in ("text_model.norm.weight", "text_projection.weight", "logit_scale")))
        elif _around != _prefix:
            _beside = {_around + _key: _x for _key, _x in (_TEXT | _some("text.ln_final.bias", "logit_bias")).items()}
            _beside |= _some("optimizer.state.0.exp_avg") if "state_dict" in _prefix else {}
        else:
            _beside = {}
        CLIPS[_under(_name, _prefix)] = Dialect(_write, _rules, _name, _prefix, _beside)

# (dialect, row): a giant, a register model and a plain one in every naming of DINOv2, and CLIP in every naming.
CASES = [(name, row) for name in DINOV2 for row in TINY if row != "tiny_clip"] + [(name, "tiny_clip") for name in CLIPS]


def dialect(name: str) -> Dialect:
    return (DINOV2 | CLIPS)[name]


def write_settings(folder: Path, name: str, activation: str) -> None:
    """The settings that the project of a CLIP dialect writes next to its weights."""
    quick = activation == "quick_gelu"
    architecture = f"vit_tiny_patch4_clip_{'quickgelu_' if quick else ''}20"
    if "in open_clip" in name:
        tower: dict = {"timm_model_name": architecture, "timm_pool": "token"}
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"vision_cfg": tower}}))
    elif name.startswith("timm"):
        (folder / "config.json").write_text(json.dumps({"architecture": architecture}))
    elif name.startswith("openai"):
        model = {"quick_gelu": True} if quick else {}
        tower = {"layers": 2, "width": 16, "patch_size": 4, "image_size": 20, "head_width": 8}
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": {**model, "vision_cfg": tower}}))
    else:
        (folder / "config.json").write_text(json.dumps({"hidden_act": activation}))

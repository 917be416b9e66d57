# SPDX-License-Identifier: Apache-2.0
"""open_clip: `open_clip_config.json`, a `model_cfg` with the `vision_cfg` of its tower, and a `preprocess_cfg`.

Format: open_clip 3.3, `CLIPVisionCfg`, `PreprocessCfg` and `TimmModel`. Files from its `model_configs` are read too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import read_json
from adaptface_jax.core.text import quoted
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights.sidecar.rules import Found, Rules, flag, inner, mlp_ratio, sidecar, words
from adaptface_jax.weights.sidecar.statistics import given_statistics
from adaptface_jax.weights.sidecar.timm import POOLS, activation_of, check_arguments

OPEN_CLIP = "open_clip_config.json"

_MODEL = Rules(
    read=words("vision_cfg quick_gelu"),
    # The text tower, the loss, and what the tensors themselves determine.
    harmless=words("""
        embed_dim text_cfg multimodal_cfg custom_text init_logit_scale init_logit_bias nonscalar_logit_scale output_dict
        cast_dtype
    """),
)
_PREPROCESS = Rules(
    fixed={"mode": ("RGB",)},
    read=words("mean std"),
    harmless=words("size interpolation resize_mode fill_color"),  # faces come cropped
)
_NATIVE_HARMLESS = words("""
    patch_dropout attn_pooler_queries attn_pooler_heads n_queries output_tokens head_width timm_model_pretrained
    timm_pool timm_proj timm_proj_bias timm_drop timm_drop_path
""")
_NATIVE_OFF = words("""
    attentional_pool no_ln_pre final_ln_after_pool global_average_pool input_patchnorm qk_norm scaled_cosine_attn
    scale_heads scale_attn_inner scale_attn scale_fc timm_model_name
""")
# Settings that open_clip ignores for a timm tower, or that the tensors determine.
_TRUNK_HARMLESS = words("""
    image_size timm_model_pretrained timm_proj timm_proj_bias timm_drop timm_drop_path patch_dropout output_tokens
    layers width head_width mlp_ratio patch_size
""")


def read_open_clip(spec: BackboneSpec, name: str, path: Path, trunk: bool, decided: Collection[str] = ()) -> Found:
    """The settings next to weights in open_clip's naming; `trunk`: whether the tower is a timm model.

    decided: what they do not decide ("activation", "statistics"). Raises InputError if they contradict the row of
    `name`.
    """
    config = sidecar(path, OPEN_CLIP)
    if config is None:
        return Found()
    settings = read_json(config)
    bare = "model_cfg" not in settings and "vision_cfg" in settings
    model = settings if bare else inner(config, settings, "model_cfg")
    vision, images = inner(config, model, "vision_cfg"), inner(config, settings, "preprocess_cfg")
    unknown = [
        *_MODEL.check(config, name, {key: value for key, value in model.items() if key != "preprocess_cfg"}),
        *_PREPROCESS.check(config, name, images),
    ]
    quick = flag(config, model, "quick_gelu", False)
    if trunk:
        activation, more = _trunk(config, vision, spec, name, decided)
    else:
        activation, more = "quick_gelu" if quick else "gelu", _native(config, vision, spec, name, quick)
    stats = None if "statistics" in decided else given_statistics(config, "preprocess_cfg", images)
    return Found(activation, OPEN_CLIP, stats, OPEN_CLIP, (config,), (*unknown, *more))


def _native(config: Path, vision: Mapping[str, Any], spec: BackboneSpec, name: str, quick: bool) -> tuple[str, ...]:
    rules = Rules(
        same={
            "layers": spec.depth,
            "width": spec.width,
            "patch_size": spec.patch_size,
            "image_size": spec.native_size,
            "mlp_ratio": mlp_ratio(spec, vision.get("mlp_ratio")),
        },
        fixed={
            **dict.fromkeys(_NATIVE_OFF, (False, "")),
            "pool_type": ("tok",),
            "pos_embed_type": ("learnable",),
            "block_type": ("default",),
            "norm_kwargs": ({}, {"eps": spec.norm_eps}),
            "act_kwargs": ({},) if quick else ({}, {"approximate": "none"}),
            "ls_init_value": ("none",),
        },
        harmless=_NATIVE_HARMLESS,
    )
    head = vision.get("head_width", 64)
    if head != spec.width // spec.heads:
        raise InputError(
            f"{config}: head_width is {quoted(head)}, but {name}, which these shapes match, has "
            f"{spec.width // spec.heads}"
        )
    return rules.check(config, name, vision)


def _trunk(
    config: Path, vision: Mapping[str, Any], spec: BackboneSpec, name: str, decided: Collection[str]
) -> tuple[str | None, tuple[str, ...]]:
    """The activation of the timm model, and the unknown settings."""
    pool = vision.get("timm_pool", "avg")
    expected = POOLS[spec.pooling]
    if pool not in expected and pool is not None:
        raise InputError(
            f"{config}: timm_pool is {quoted(pool)}; expected {expected[0]!r}: any other value computes a feature "
            "that is not supported"
        )
    args = inner(config, vision, "timm_model_kwargs")
    more = check_arguments(config, args, spec, name)
    rules = Rules(harmless=_TRUNK_HARMLESS, read=words("timm_model_name timm_pool timm_model_kwargs"))
    unknown = (*rules.check(config, name, vision), *more)
    architecture = vision.get("timm_model_name")
    if not isinstance(architecture, str):
        raise InputError(
            f"{config}: timm_model_name is {quoted(architecture)}, but {name} is under `trunk`, like timm models; use "
            "the config of these weights"
        )
    return activation_of(config, "timm_model_name", architecture, args, spec, name, decided), unknown

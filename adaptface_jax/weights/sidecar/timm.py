# SPDX-License-Identifier: Apache-2.0
"""timm: `config.json` with an architecture, its `model_args` and its `pretrained_cfg` (not nested in older files).

Format: timm 1.0.31, `timm/models/_pretrained.py`, `_hub.py` and `vision_transformer.py`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import read_json
from adaptface_jax.core.text import quoted
from adaptface_jax.models.layers.mlp import ACTIVATIONS
from adaptface_jax.models.specs import BackboneSpec
from adaptface_jax.weights.sidecar.hugging_face import CONFIG
from adaptface_jax.weights.sidecar.rules import Found, Rules, inner, mlp_ratio, sidecar, words
from adaptface_jax.weights.sidecar.statistics import given_statistics

# By `BackboneSpec.pooling`. token: the head then gets the class token, or all tokens.
POOLS = {"class": ("token", ""), "probe": ("map",), "flat": ()}
# timm's own default for DINOv3, whose authors use the class token.
_MEAN_TOO = (*POOLS["class"], "avg")
# The SigLIP architectures that compute GELU with tanh.
_TANH = re.compile(r"_patch32_siglip|large_patch16_siglip(?:_gap)?_512|so400m_patch16|giantopt")

_TOP_READ = words("architecture model_args pretrained_cfg")
# The second line as transformers wraps timm's models.
_TOP_HARMLESS = words("""
    num_classes num_features labels label_names label_descriptions
    do_pooling initializer_range model_type architectures dtype torch_dtype transformers_version _name_or_path
    problem_type id2label label2id
""")
_PRETRAINED = Rules(
    read=words("mean std"),
    # The origin of the weights, labels, and how images are cropped: faces come cropped.
    harmless=words("""
        url file hf_hub_id hf_hub_filename hf_hub_revision source architecture tag custom_load state_dict input_size
        test_input_size min_input_size fixed_input_size interpolation crop_pct test_crop_pct crop_mode num_classes
        label_offset label_names label_descriptions pool_size test_pool_size first_conv classifier license description
        origin_url paper_name paper_ids notes
    """),
)
# Training, and what the tensors themselves determine.
_ARGS_HARMLESS = words("""
    img_size num_classes init_values drop_rate pos_drop_rate patch_drop_rate proj_drop_rate attn_drop_rate
    drop_path_rate weight_init fix_init dynamic_img_size dynamic_img_pad device dtype pretrained strict_img_size
""")
_EVA: dict[str, tuple] = {
    "rope_type": ("dinov3",), "rope_temperature": (100,), "rope_rotate_half": (True,), "use_rot_pos_emb": (True,),
    "use_abs_pos_emb": (False,), "use_fc_norm": (False,), "rope_grid_offset": (0,),
}  # fmt: skip
_ARGS_OFF = words(
    "qk_norm scale_attn_norm scale_mlp_norm pool_include_prefix embed_norm_layer embed_layer block_fn mlp_layer "
    "attn_layer norm_layer use_naflex use_rope"
)


def read_timm(spec: BackboneSpec, name: str, path: Path, decided: Collection[str] = ()) -> Found:
    """The settings next to weights in timm's naming, except for what is `decided` ("activation", "statistics").

    Raises InputError if they contradict the row of `name`.
    """
    config = sidecar(path, CONFIG)
    settings = {} if config is None else read_json(config)
    architecture = settings.get("architecture")
    if config is None or not isinstance(architecture, str):
        return Found()
    nested = "pretrained_cfg" in settings
    rules = Rules(fixed={"global_pool": _pools(spec)}, read=_TOP_READ, harmless=_TOP_HARMLESS)
    top = {
        key: value
        for key, value in settings.items()
        if nested or key in rules.read | rules.harmless | rules.fixed.keys()
    }
    details = (
        inner(config, settings, "pretrained_cfg")
        if nested
        else {key: settings[key] for key in settings.keys() - top.keys()}
    )
    args = inner(config, settings, "model_args")
    unknown = [
        *rules.check(config, name, top),
        *_PRETRAINED.check(config, name, details),
        *check_arguments(config, args, spec, name),
    ]
    activation = activation_of(config, "architecture", architecture, args, spec, name, decided)
    stats = None if "statistics" in decided else given_statistics(config, "pretrained_cfg", details)
    return Found(activation, CONFIG, stats, CONFIG, (config,), tuple(unknown))


def activation_of(
    where: Path,
    key: str,
    architecture: str,
    args: Mapping[str, Any],
    spec: BackboneSpec,
    name: str,
    decided: Collection[str] = (),
) -> str | None:
    """The activation of a timm model with these arguments; None if it is `decided`.

    Raises InputError if the architecture contradicts the row of `name`, and for an unknown activation.
    """
    family = next((family for family in ("siglip", "clip", "dinov3") if family in architecture), "dinov2")
    facts: dict[str, Any] = {"family": family}
    if patch := re.search(r"patch(\d{1,3})(?!\d)", architecture):
        facts["patch_size"] = int(patch[1])
    if family != "dinov3":  # which always has four
        registers = re.search(r"_reg(\d{1,3})(?!\d)", architecture)
        facts["registers"] = int(registers[1]) if registers else 0
    for fact, value in facts.items():
        if value != getattr(spec, fact):
            raise InputError(
                f"{where}: {key} is {quoted(architecture)}, but {name}, which these shapes match, has {fact} "
                f"{getattr(spec, fact)}; use the config of these weights"
            )
    activation = args.get("act_layer")
    if "activation" in decided:
        return None
    if activation is None:
        if family == "siglip":
            return "gelu_tanh" if _TANH.search(architecture) else "gelu"
        return "quick_gelu" if "_quickgelu_" in architecture else "gelu"
    if activation not in list(ACTIVATIONS):
        raise InputError(f"{where}: act_layer is {quoted(activation)}; expected one of {', '.join(ACTIVATIONS)}")
    return str(activation)


def _pools(spec: BackboneSpec) -> tuple[str, ...]:
    return _MEAN_TOO if spec.rotary else POOLS[spec.pooling]


def check_arguments(where: Path, args: Mapping[str, Any], spec: BackboneSpec, name: str) -> tuple[str, ...]:
    """Checks the arguments of a `VisionTransformer`, or of `Eva`, timm's DINOv3, against the row of `name`.

    Returns the unknown ones.
    """
    same: dict[str, Any] = {
        "patch_size": spec.patch_size,
        "embed_dim": spec.width,
        "depth": spec.depth,
        "num_heads": spec.heads,
        "num_reg_tokens" if spec.rotary else "reg_tokens": spec.registers,
        "pre_norm": spec.pre_norm,
        "in_chans": 3,
    }
    read = words("act_layer")
    if spec.mlp == "mlp":
        same["mlp_ratio"] = mlp_ratio(spec, args.get("mlp_ratio"))
    else:
        read |= {"mlp_ratio", "mlp_layer"}
    fixed: dict[str, Any] = {
        **dict.fromkeys(("proj_bias", "final_norm"), (True,)),
        "qkv_bias": (True, False) if spec.rotary else (True,),  # except for the keys', the tensors determine it
        "class_token": (spec.class_token,),
        **dict.fromkeys(_ARGS_OFF - read, (False, "")),
        **(_EVA if spec.rotary else {}),
        "global_pool": _pools(spec),
        "fc_norm": (False,),
        "no_embed_class": (spec.registers > 0,),
        "pos_embed": ("learn",),
    }
    return Rules(same, fixed, _ARGS_HARMLESS, read).check(where, name, args)

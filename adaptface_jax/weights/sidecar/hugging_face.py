# SPDX-License-Identifier: Apache-2.0
"""transformers: `config.json`, and the image processor in `processor_config.json` or `preprocessor_config.json`.

Format: transformers 5.24 (`Dinov2Config`, `Dinov2WithRegistersConfig`, `DINOv3ViTConfig`, `CLIPConfig`,
`CLIPVisionConfig`, `SiglipConfig`, `SiglipVisionConfig`, the image processors), and the files of version 4.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from adaptface_jax.core.errors import InputError
from adaptface_jax.core.json_io import read_json
from adaptface_jax.core.text import quoted
from adaptface_jax.models.layers.mlp import ACTIVATIONS
from adaptface_jax.models.layers.rotary import BASE
from adaptface_jax.models.specs import CLIP, HALF, IMAGENET, BackboneSpec, ImageStats
from adaptface_jax.weights.sidecar.rules import Found, Rules, flag, inner, sidecar, words
from adaptface_jax.weights.sidecar.statistics import image_statistics, rescaled

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
PROCESSOR = "processor_config.json"

_MODEL_TYPES = {
    "dinov2": ("dinov2", "dinov2_with_registers"),
    "clip": (
        "clip",
        "clip_vision_model",
        "chinese_clip_vision_model",
        "metaclip_2_vision_model",
        "clipseg_vision_model",
    ),
    "dinov3": ("dinov3_vit",),
    "siglip": ("siglip", "siglip_vision_model", "siglip2", "siglip2_vision_model"),
}
# Where a model of several parts keeps its vision tower's settings (CLIP and LLaVA; Depth Anything and DPT; captioning).
_TOWERS = ("vision_config", "backbone_config", "encoder")
# Used only by training, text, labels or generation, or determined by the tensors themselves (image_size ...).
_HARMLESS = words("""
    _name_or_path _commit_hash _attn_implementation _attn_implementation_autoset attn_implementation architectures
    auto_map transformers_version torch_dtype dtype id2label label2id num_labels problem_type finetuning_task
    task_specific_params initializer_range initializer_factor logit_scale_init_value projection_dim
    attention_dropout dropout hidden_dropout_prob attention_probs_dropout_prob drop_path_rate layerscale_value
    pos_embed_shift pos_embed_jitter pos_embed_rescale image_size apply_layernorm reshape_hidden_states out_features
    out_indices stage_names use_mask_token output_attentions output_hidden_states return_dict torchscript
    use_bfloat16 use_cache gradient_checkpointing tie_word_embeddings tie_encoder_decoder is_encoder_decoder
    is_decoder add_cross_attention cross_attention_hidden_size chunk_size_feed_forward prefix tokenizer_class
    bos_token_id eos_token_id pad_token_id sep_token_id decoder_start_token_id forced_bos_token_id
    forced_eos_token_id bad_words_ids begin_suppress_tokens suppress_tokens encoder_no_repeat_ngram_size
    no_repeat_ngram_size repetition_penalty exponential_decay_length_penalty length_penalty diversity_penalty
    do_sample early_stopping max_length min_length num_beams num_beam_groups num_return_sequences output_scores
    remove_invalid_values return_dict_in_generate temperature top_k top_p typical_p tf_legacy_loss
""")
_OFF: dict[str, tuple] = {"quantization_config": ({},), "pruned_heads": ({},), "per_layer_config": ({},)}
# The same functions under other names.
_GELU = {"gelu_python": "gelu", **dict.fromkeys(("gelu_pytorch_tanh", "gelu_new", "gelu_fast"), "gelu_tanh")}

# The default statistics of each class of image processors.
_PROCESSORS = {
    **dict.fromkeys(
        ("CLIPImageProcessor", "CLIPFeatureExtractor", "BitImageProcessor", "ChineseCLIPImageProcessor"), CLIP
    ),
    **dict.fromkeys(
        (
            "ViTImageProcessor",
            "ViTFeatureExtractor",
            "SiglipImageProcessor",
            "Siglip2ImageProcessor",
            "ConvNextImageProcessor",
            "DPTImageProcessor",
        ),
        HALF,
    ),
    "DINOv3ViTImageProcessor": IMAGENET,
}
_IMAGES = Rules(
    fixed={"do_flip_channel_order": (False,), "do_grayscale": (False,), "offset": (False,), "do_offset": (False,)},
    read=words(
        "image_mean image_std do_normalize do_rescale rescale_factor image_processor_type feature_extractor_type"
    ),
    # Faces come cropped and are resized to the model's size here.
    harmless=words("""
        do_resize size resample do_center_crop crop_size crop_pct do_pad pad_size size_divisor default_to_square
        do_convert_rgb data_format input_data_format return_tensors device disable_grouping processor_class auto_map
        _valid_processor_keys use_fast do_reduce_labels image_seq_length model_input_names
    """),
)


def read_hugging_face(spec: BackboneSpec, name: str, path: Path, decided: Collection[str] = ()) -> Found:
    """The settings next to weights in transformers' naming, except for what is `decided` ("activation", "statistics").

    Raises InputError if they contradict the row of `name`.
    """
    activation, files, unknown = None, [], []
    config = sidecar(path, CONFIG)
    if config is not None:
        stated, unknown_here = _model(config, read_json(config), spec, name)
        if "activation" not in decided:
            activation = _activation(config, stated)
        files.append(config)
        unknown += unknown_here
    stats, stats_from = None, ""
    images = _image_processor(path)
    if images is not None:
        where, settings = images
        unknown += _IMAGES.check(where, name, settings)
        if "statistics" not in decided:
            stats, stats_from = _statistics(where, settings)
        files.append(where)
    return Found(activation, CONFIG if activation else "", stats, stats_from, tuple(files), tuple(unknown))


def _model(config: Path, settings: Mapping[str, Any], spec: BackboneSpec, name: str) -> tuple[Any, list[str]]:
    """The activation as stated, and the unknown settings."""
    unknown: list[str] = []
    vision = settings
    tower = next((key for key in _TOWERS if isinstance(settings.get(key), dict)), _TOWERS[0])
    if tower in settings or settings.get("vision_config_dict") is not None:
        # Everything around the vision tower's config is about other parts.
        unknown += Rules(fixed=_OFF, harmless=frozenset(settings) - _OFF.keys()).check(config, name, settings)
        vision = inner(config, settings, tower)
        if overlay := inner(config, settings, "vision_config_dict"):
            # An older form, which takes precedence in transformers, with its class's default activation if unset.
            vision = {**vision, "hidden_act": "quick_gelu", **overlay}
    same: dict[str, Any] = {
        "hidden_size": spec.width,
        "num_hidden_layers": spec.depth,
        "num_attention_heads": spec.heads,
        "patch_size": spec.patch_size,
        "num_channels": 3,
        "layer_norm_eps": spec.norm_eps,
    }
    off = _OFF
    if spec.family == "dinov3":
        same |= {"num_register_tokens": spec.registers, "intermediate_size": spec.mlp_width, "rope_theta": BASE}
        same |= {"use_gated_mlp": spec.mlp == "swiglu", "key_bias": False}
        same |= dict.fromkeys(("query_bias", "value_bias"), not spec.unbiased)
        same |= dict.fromkeys(("proj_bias", "mlp_bias"), True)
        if spec.mlp == "swiglu":
            # silu belongs to the layer here, but is the activation there.
            off = {**_OFF, "hidden_act": ("silu",)}
            vision = {"hidden_act": "gelu", **vision}
    elif spec.family == "dinov2":
        same |= {"num_register_tokens": spec.registers, "use_swiglu_ffn": spec.mlp == "swiglu", "qkv_bias": True}
        if spec.mlp == "mlp":
            same["mlp_ratio"] = spec.mlp_width / spec.width
    else:
        same["intermediate_size"] = spec.mlp_width
        if spec.family == "siglip":
            off = {**_OFF, "vision_use_head": (True,)}
    read = words("hidden_act model_type") - off.keys() | ({"mlp_ratio"} - same.keys())
    unknown += Rules(same, off, _HARMLESS, read).check(config, name, vision)
    kind = vision.get("model_type")
    if kind is not None and kind not in _MODEL_TYPES[spec.family]:
        unknown.append(f"{CONFIG}: model_type is {quoted(kind)}")
    # A missing entry has the family's default, as in transformers.
    return spec.activation if "hidden_act" in off else vision.get("hidden_act", spec.activation), unknown


def _activation(config: Path, stated: Any) -> str:
    activation = _GELU.get(stated, stated) if isinstance(stated, str) else stated
    if activation not in list(ACTIVATIONS):
        raise InputError(
            f"{config}: hidden_act is {quoted(activation)}; expected one of {', '.join(ACTIVATIONS)}; if it is one of "
            "these by another name, set it when converting: --activation"
        )
    return str(activation)


def _image_processor(path: Path) -> tuple[Path, Mapping[str, Any]] | None:
    """The image processor's settings; those nested in a processor's take precedence, as in transformers 5."""
    whole = sidecar(path, PROCESSOR)
    if whole is not None:
        settings = read_json(whole)
        for key in ("image_processor", "feature_extractor"):
            if key in settings:
                return whole, inner(whole, settings, key)
    alone = sidecar(path, PREPROCESSOR)
    return None if alone is None else (alone, read_json(alone))


def _statistics(where: Path, settings: Mapping[str, Any]) -> tuple[ImageStats | None, str]:
    """Our statistics, and their origin; None if neither the settings nor their class define them."""
    source, factor = where.name, 1.0
    if flag(where, settings, "do_rescale", True):
        factor = _factor(where, settings.get("rescale_factor"))
    else:
        source += ", do_rescale false"
    usual = math.isclose(factor * 255, 1)
    stats: ImageStats | None = None
    mean, std = settings.get("image_mean"), settings.get("image_std")
    if not flag(where, settings, "do_normalize", True):
        source += ", do_normalize false"
    elif mean is not None or std is not None:
        stats = image_statistics(where, "image_mean and image_std", mean, std)
    else:
        kind = settings.get("image_processor_type") or settings.get("feature_extractor_type")
        kind = kind.removesuffix("Fast").removesuffix("Pil") if isinstance(kind, str) else ""
        stats = _PROCESSORS.get(kind)
        source += f", the default of {kind}"
        if stats is None and usual:
            return None, ""
        if stats is None:
            raise InputError(
                f"{where}: do_rescale and rescale_factor are unusual, and image_mean and image_std are missing; "
                "add them, or set the statistics when converting: --mean and --std"
            )
    return rescaled(stats, factor), source if usual else f"{source}, converted to a 0 to 1 scale"


def _factor(where: Path, value: Any) -> float:
    if value is None:
        return 1 / 255
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1e-12 < value < 1e12:
        raise InputError(f"{where}: rescale_factor is {quoted(value)}; expected a positive number, e.g. 1/255")
    return float(value)

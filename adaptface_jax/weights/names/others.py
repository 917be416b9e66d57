# SPDX-License-Identifier: Apache-2.0
"""Unsupported networks, recognized by a few of their tensor names: one line instead of hundreds of differences.

Names as published by their projects (timm, transformers, open_clip, torchvision, CVLface, PEFT).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from adaptface_jax.weights.names.transforms import Shape


class _Sign(NamedTuple):
    """Every pattern in `has` must match some name, no pattern in `lacks` any, and `matrix` that of a matrix."""

    what: str
    has: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    matrix: str = ""


_OTHER = "{}, a different network, which is not supported"
_NAFLEX = "holds SigLIP 2 NaFlex (images of any shape), which is not supported; use a SigLIP 2 of a fixed size"

# The first match is reported.
_SIGNS = (
    _Sign(
        "holds a model around an adapter that is not merged; save model.merge_and_unload()",
        (r"\.base_layer\.", r"\b(?:embeddings|patch_embed|conv1)\."),
    ),
    _Sign(
        "holds an adapter (LoRA), not a backbone; start a run from its folder with adapter.init_from",
        (r"\.lora_[AB]\b",),
    ),
    _Sign(
        "holds an adapter of another kind than LoRA; merge it into its base with PEFT",
        (r"\.(?:hada_w1_a|lokr_w[12]\w*|ia3_l|oft_\w+|vera_lambda_[bd]|lora_(?:down|up)\.weight)\b",),
    ),
    _Sign(
        "holds quantized weights; use the original weights",
        (
            r"\.(?:absmax|SCB|quant_map|qweight|qzeros|weight_packed|weight_scale(?:_inv)?|W_q|_data)$|\.quant_state\.",
        ),
    ),
    _Sign("holds a ViT that takes the mean of its tokens (fc_norm), which is not supported", (r"\bfc_norm\.weight$",),
          (r"(?:^|\.)norm\.weight$",)),
    _Sign(
        "holds a SigLIP tower without its pooling head; use the complete SigLIP",
        (r"\bpost_layernorm\.weight$", r"\bpatch_embedding\.bias$"), (r"\bhead\.probe$", r"\bclass_embedding$"),
    ),
    _Sign(
        "holds a ViT without class token and pooling head (SigLIP `gap`, I-JEPA), which is not supported",
        (r"\bpos_embed$", r"\bblocks\.\d+\.attn\.qkv\.bias$", r"\bpatch_embed\.proj\.bias$", r"\bnorm\.bias$"),
        (r"\b(?:cls_token|reg_token|storage_tokens|register_tokens)$", r"\battn_pool\.", r"\bgamma", r"\bfeature\."),
    ),
    _Sign(
        "holds a face ViT with KP-RPE, which needs landmarks of every image and is not supported",
        (r"\bkeypoint_linear\b",),
    ),
    _Sign(_OTHER.format("holds a ViT with relative positions (iRPE)"), (r"\brpe_[qkv]\.",)),
    _Sign(_OTHER.format("holds BLIP"), (r"\bself_attn\.qkv\.weight$", r"\bclass_embedding$")),
    _Sign(_OTHER.format("holds OWL-ViT"), (r"\bpre_layernorm\.weight$", r"\bclass_embedding$")),
    _Sign(
        _OTHER.format("holds Swin"),
        (r"\blayers\.\d+\.blocks\.\d+\.", r"\brelative_position_(?:bias_table|index)$|\bdownsample\."),
    ),
    _Sign(
        _OTHER.format("holds AIMv2"),
        (r"\bpreprocessor\.patchifier\.|\bpost_trunk_norm\b|\brms_norm[12]?\.|\bpatch_embed\.norm\.weight$",),
    ),
    # Its names in transformers are those of SigLIP; its patches come flattened, to a dense layer.
    _Sign(_NAFLEX, (r"\bhead\.probe$",), matrix=r"\bembeddings\.patch_embedding\.weight$"),
    _Sign(_NAFLEX, (r"\battn_pool\.latent$", r"\bembeds\.proj\.weight$")),
    _Sign(_OTHER.format("holds a Perception Encoder"), (r"\battn_pool\.latent$", r"\bcls_token$")),
    _Sign(_OTHER.format("holds a Perception Encoder"), (r"\battn_pool\.probe$",)),
    _Sign(_OTHER.format("holds a tower with attentional pooling (CoCa)"), (r"\battn_pool\.(?:query$|attn\.)",)),
    _Sign(_OTHER.format("holds BEiT"), (r"\bgamma_1$|\blambda_1$", r"\brelative_position_bias_table$")),
    _Sign(
        _OTHER.format("holds EVA or EVA-02"),
        (r"\battn\.(?:q_bias|inner_attn_ln\.\w+)$|\bmlp\.(?:w1|fc1_g|ffn_ln)\.\w+$|\brope\.freqs_\w+$|\bgamma_1$",),
        (r"\bstages\.", r"\breg_token$", r"\bls[12]\.gamma$"),  # DINOv3 in the naming of timm and of its authors
    ),
    _Sign(
        _OTHER.format("holds ConvNeXt"),
        (r"\bstages\.\d+\..*(?:conv_dw|dwconv)\.weight$|\bdownsample_layers\.|\blayer_scale_parameter$",),
    ),
    _Sign(_OTHER.format("holds a CLIP ResNet"), (r"\battnpool\.c_proj\.weight$",)),
    _Sign(
        _OTHER.format("holds a ResNet"),
        (r"\blayer[1-4]\.\d+\.(?:conv1|bn1)\.|\bembedder\.embedder\.convolution\.|\bstages\.\d+\.layers\.\d+\.layer\.",),
    ),
    _Sign(
        _OTHER.format("holds a face ResNet (AdaFace, CVLface)"),
        (r"\bbody\.\d+\.(?:res_layer|shortcut_layer)\.|\binput_layer\.\d+\.weight$",),
    ),
    _Sign(
        _OTHER.format("holds a convolutional network (MobileCLIP, EfficientNet)"),
        (r"\bconv_stem\.|\btoken_mixer\.|\bfeatures\.\d+\.(?:\d+|conv|weight)\b|\bbn\d?\.running_mean$",),
    ),
    _Sign(
        _OTHER.format("holds a plain ViT (DeiT, MAE, DINO)"),
        (r"\blayernorm_before\.weight$|\bencoder_layer_\d+\.self_attention\.in_proj_weight$",),
    ),
    _Sign(
        _OTHER.format("holds a plain ViT (DeiT, MAE, DINO)"),
        (r"\bcls_token$", r"\bblocks\.\d+\.attn\.qkv\.weight$"),
        (r"\bls[12]\.gamma$", r"\bgamma_1$", r"\bnorm_pre\."),
    ),
)  # fmt: skip


def recognize(shapes: Mapping[str, Shape]) -> str | None:
    """What a file of tensors with these names and shapes holds, if it is a known but unsupported network."""
    names = "\n".join(shapes)
    matrices = "\n".join(name for name, shape in shapes.items() if len(shape) == 2)
    return next((sign.what for sign in _SIGNS if _fits(sign, names, matrices)), None)


def _fits(sign: _Sign, names: str, matrices: str) -> bool:
    def found(pattern: str, text: str = names) -> bool:
        return re.search(pattern, text, re.MULTILINE) is not None

    return all(map(found, sign.has)) and not any(map(found, sign.lacks)) and found(sign.matrix, matrices)

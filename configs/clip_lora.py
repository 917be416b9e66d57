"""EXP-002: CLIP ViT-B/16 with LoRA on CASIA-WebFace. The original planned it and never ran it.

    python tools/convert_weights.py openai/clip-vit-base-patch16 --out weights/clip_b16
    python -m adaptface_jax.train --config=configs/clip_lora.py --workdir=runs/exp002 \\
        --config.data.train=/data/casia-webface --benchmark lfw=/data/lfw.bin

Expect the header to say how many of the parameters train; no published figure belongs to this recipe
(FRoundation, whose recipe is configs/froundation.py, reports 92.13% on average with CLIP B/16 and LoRA).
"""

from adaptface_jax.config.overrides import inherit


def get_config():
    config = inherit(__file__, "lora.py")
    config.backbone.name = "clip_vitb16"
    config.backbone.weights = "weights/clip_b16"
    return config

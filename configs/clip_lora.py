"""EXP-002: CLIP ViT-B/16 with LoRA on CASIA-WebFace. The original planned it and never ran it.

    adaptface convert openai/clip-vit-base-patch16 --out weights/clip_b16
    adaptface train --config=clip_lora --workdir=runs/exp002 \\
        --config.data.train=/data/casia-webface --benchmark lfw=/data/lfw.bin

Expect the header to say how many of the parameters train; there is no published result for this recipe
(FRoundation, whose recipe is froundation, reports 92.13% on average with CLIP B/16 and LoRA).
"""

from adaptface_jax.config import inherit


def get_config():
    config = inherit(__file__, "lora.py")
    config.backbone.name = "clip_vitb16"
    config.backbone.weights = "weights/clip_b16"
    return config

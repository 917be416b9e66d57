"""EXP-004: CLIP ViT-B/16 with Domain-Aware LoRA, K = 3, on CASIA-WebFace. The original planned it and never ran it.

    adaptface convert openai/clip-vit-base-patch16 --out weights/clip_b16
    adaptface train --config=clip_dalora --workdir=runs/exp004 \\
        --config.data.train=/data/casia-webface --benchmark lfw=/data/lfw.bin

Expect three times the adapters of clip_lora and a router; there is no published result for it.
"""

from adaptface_jax.config import inherit


def get_config():
    config = inherit(__file__, "clip_lora.py")
    config.adapter.kind = "dalora"
    config.adapter.balance_weight = 0.5  # without domain labels the gates would collapse (docs/dalora.md, "Routers")
    return config

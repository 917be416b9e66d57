"""EXP-004: CLIP ViT-B/16 with Domain-Aware LoRA, K = 3, on CASIA-WebFace. The original planned it and never ran it.

    python tools/convert_weights.py openai/clip-vit-base-patch16 --out weights/clip_b16
    python -m adaptface_jax.train --config=configs/clip_dalora.py --workdir=runs/exp004 \\
        --config.data.train=/data/casia-webface --benchmark lfw=/data/lfw.bin

Expect three times the adapters of configs/clip_lora.py and a router beside them; no published figure belongs to it.
"""

from adaptface_jax.config.overrides import inherit


def get_config():
    config = inherit(__file__, "clip_lora.py")
    config.adapter.kind = "dalora"
    config.adapter.balance_weight = 0.5  # without domain labels the gates would collapse (README, "Which router")
    return config

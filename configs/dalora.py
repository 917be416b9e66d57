"""EXP-003: DINOv2 ViT-S/14 with Domain-Aware LoRA, K = 3, on CASIA-WebFace.

    adaptface convert facebook/dinov2-small --out weights/dinov2_small
    adaptface train --config=dalora --workdir=runs/exp003 \\
        --config.data.train=/data/casia-webface --benchmark lfw=/data/lfw.bin

Expect 23,252,355 parameters, 1,849,731 of them trainable (7.96%), and a first loss near 35.7. The PyTorch original of
this recipe (40 epochs, 37.5 h) reached 89.50% on LFW and 70.73% on average over the five benchmarks.
"""

from adaptface_jax.config import inherit


def get_config():
    config = inherit(__file__, "lora.py")
    config.adapter.kind = "dalora"
    config.adapter.balance_weight = 0.5  # without domain labels the gates would collapse (docs/dalora.md, "Routers")
    return config

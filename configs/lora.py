# SPDX-License-Identifier: Apache-2.0
"""EXP-001: DINOv2 ViT-S/14 with LoRA on CASIA-WebFace.

    adaptface convert facebook/dinov2-small --out weights/dinov2_small
    adaptface train --config=lora --workdir=runs/exp001 \\
        --config.data.train=/data/casia-webface --benchmark lfw=/data/lfw.bin

Expect 22,268,288 parameters, 865,664 of them trainable (3.89%), and a first loss near 35.7. The PyTorch original of
this recipe (40 epochs, 17.9 h on an RTX 4060) ended at a loss of 22.6 and 90.45% on LFW.
"""

from adaptface_jax.config import defaults


def get_config():
    config = defaults()
    config.backbone.name = "dinov2_vits14"
    config.backbone.weights = "weights/dinov2_small"
    config.backbone.train_patch_embed = True
    config.data.train = "/data/casia-webface"
    return config

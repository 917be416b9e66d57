# SPDX-License-Identifier: Apache-2.0
"""FRoundation (arXiv 2410.23831): DINOv2 ViT-S/14, rsLoRA on q and v, no head, RandAugment, warm restarts.

    adaptface convert facebook/dinov2-small --out weights/dinov2_small
    adaptface train --config=froundation --workdir=runs/froundation \\
        --config.data.train=/data/casia-webface --config.data.max_identities=1000 --benchmark lfw=/data/lfw.bin

Published averages over LFW, CFP-FP, AgeDB-30, CALFW and CPLFW: 87.10 with the first 1,000 identities of
CASIA-WebFace, 90.94 with 10,000; 64.70 frozen.
"""

from adaptface_jax.config import inherit


def get_config():
    config = inherit(__file__, "lora.py")
    config.backbone.train_patch_embed = False
    config.head.kind = "none"
    config.adapter.targets = ("q", "v")
    config.adapter.dropout = 0.25
    config.adapter.use_rslora = True
    config.loss.margin = 0.3
    config.augment.randaugment_ops = 4
    config.train.batch_size = 512
    config.train.clip_norm = 5.0
    config.train.schedule = "restarts"
    config.train.hold_epochs = 5
    config.train.min_learning_rate = 1e-6
    return config

"""A linear probe: the head and the class centers train, the backbone stays frozen.

    adaptface convert facebook/dinov2-small --out weights/dinov2_small
    adaptface train --config=linear_probe --workdir=runs/probe \\
        --config.data.train=/data/casia-webface --benchmark lfw=/data/lfw.bin

Expect 197,120 trainable parameters: what adapters have to beat.
"""

from adaptface_jax.config import inherit


def get_config():
    config = inherit(__file__, "lora.py")
    config.adapter.kind = "none"
    config.backbone.train_patch_embed = False
    return config

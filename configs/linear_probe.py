"""A linear probe: the head and the class centres train, the backbone stays as it is.

    python tools/convert_weights.py facebook/dinov2-small --out weights/dinov2_small
    python -m adaptface_jax.train --config=configs/linear_probe.py --workdir=runs/probe \\
        --config.data.train=/data/casia-webface --benchmark lfw=/data/lfw.bin

Expect 197,120 trainable parameters: what adapters have to beat.
"""

from adaptface_jax.config.overrides import inherit


def get_config():
    config = inherit(__file__, "lora.py")
    config.adapter.kind = "none"
    config.backbone.train_patch_embed = False
    return config

# SPDX-License-Identifier: Apache-2.0
"""Model A of the Tiny-ImageNet study: nine residual blocks, cosine decay.

    adaptface classify --config=tiny_imagenet_resnet_a --workdir=runs/tiny_a --config.data.path=/data/tiny-imagenet-200

Expect 4,376,584 parameters for 200 classes.
"""

from adaptface_jax.config import inherit


def get_config():
    config = inherit(__file__, "tiny_imagenet_resnet.py")
    config.model.blocks = (3, 3, 3)
    config.train.schedule = "cosine"
    return config

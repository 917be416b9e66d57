# SPDX-License-Identifier: Apache-2.0
"""Model B of the Tiny-ImageNet study: six residual blocks, cosine decay.

    adaptface classify --config=tiny_imagenet_resnet_b --workdir=runs/tiny_b --config.data.path=/data/tiny-imagenet-200

Expect 2,826,504 parameters for 200 classes.
"""

from adaptface_jax.config import inherit


def get_config():
    config = inherit(__file__, "tiny_imagenet_resnet.py")
    config.train.schedule = "cosine"
    return config

# SPDX-License-Identifier: Apache-2.0
"""Model Special of the Tiny-ImageNet study: more augmentation and dropout, warm-up, cosine restarts, early stopping.

    adaptface classify --config=tiny_imagenet_resnet_special --workdir=runs/tiny_special \\
        --config.data.path=/data/tiny-imagenet-200

Expect 2,826,504 parameters for 200 classes. The PyTorch original reached a validation F1 of 0.372, and on the test
split accuracy 35.38% and F1 0.3509.
"""

from adaptface_jax.config import inherit


def get_config():
    config = inherit(__file__, "tiny_imagenet_resnet.py")
    config.model.dropout = 0.3
    config.augment.crop_scale = (0.6, 1.0)
    config.augment.brightness = 0.4
    config.augment.contrast = 0.4
    config.augment.saturation = 0.4
    config.augment.hue = 0.1
    config.train.warmup_steps = 5 * 2812  # epochs of 90,000 images
    config.train.schedule = "restarts"
    config.train.restart_epochs = 10
    config.train.epochs = 200
    config.train.patience = 30
    config.eval.metric = "macro_f1"
    return config

# SPDX-License-Identifier: Apache-2.0
"""Tiny-ImageNet with a residual network from scratch: the second of the two classification studies.

    adaptface classify --config=tiny_imagenet_resnet --workdir=runs/tiny --config.data.path=/data/tiny-imagenet-200

The folder is the published one (wnids.txt, train, val), or Parquet shards with an image and a label column. A tenth of
the training images, stratified with seed 42, is the test split. Expect 2,826,504 parameters for 200 classes and a first
loss near 5.30. The PyTorch original reached a validation F1 of 0.2662 (epoch 56 of 100).

Variants: tiny_imagenet_resnet_a (blocks 3,3,3, cosine), tiny_imagenet_resnet_b (blocks 2,2,2, cosine) and
tiny_imagenet_resnet_special (stronger augmentation and dropout, warm-up, restarts, early stopping).
"""

from adaptface_jax.config import defaults


def get_config():
    config = defaults("classification")
    config.model.name = "resnet"
    config.model.image_size = 64
    config.model.blocks = (2, 2, 2)
    config.model.dropout = 0.1
    config.augment.crop_scale = (0.8, 1.0)
    config.augment.crop_ratio = (1.0, 1.0)
    config.data.path = "/data/tiny-imagenet-200"
    config.train.optimizer = "adam"
    config.train.learning_rate = 1e-4
    config.train.weight_decay = 1e-4
    config.train.schedule = "constant"
    config.train.batch_size = 32
    config.train.epochs = 100
    config.train.log_every = 50
    config.seed = 42
    return config

# SPDX-License-Identifier: Apache-2.0
"""Five attributes of CelebA with a small CNN from scratch: the first of the two classification studies.

    adaptface classify --config=celeba_cnn --workdir=runs/celeba --config.data.path=/data/celeba

The folder holds img_align_celeba, list_attr_celeba.txt and list_eval_partition.txt as published; tfds:celeb_a is read
too. Expect 372,997 parameters and a first loss near 0.69. The PyTorch original reached, after 18 of 20 epochs, a
validation loss of 0.1455 and F1 0.9179, and on the test split accuracy 94.03% and F1 0.9165.
"""

from adaptface_jax.config import defaults


def get_config():
    config = defaults("classification")
    config.model.name = "cnn"
    config.model.image_size = 64
    config.model.channels_block3 = 256
    config.augment.rotation = 15.0
    config.augment.brightness = 0.2
    config.augment.contrast = 0.2
    config.augment.saturation = 0.2
    config.augment.hue = 0.1
    config.data.path = "/data/celeba"
    config.data.attributes = ("Smiling", "Wearing_Hat", "Male", "Young", "Eyeglasses")
    config.data.mean = config.data.std = (0.5, 0.5, 0.5)
    config.train.optimizer = "adam"
    config.train.learning_rate = 5e-3
    config.train.weight_decay = 1e-5
    config.train.schedule = "constant"
    config.train.batch_size = 64
    config.train.epochs = 20
    config.seed = 42
    return config

"""A small set of real faces (tens of identities) with the packaged backbone: LoRA, a low scale, light augmentation.

    adaptface train --config=small_faces --workdir=runs/small \\
        --config.data.train=/data/faces --benchmark test=/data/test.bin

Expect minutes on a CPU. The results on 30 identities of the AT&T faces are in docs/own-faces.md.
"""

from adaptface_jax.config import inherit


def get_config():
    config = inherit(__file__, "demo.py")
    config.adapter.kind = "lora"
    config.adapter.domain_loss_weight = 0.1
    config.loss.scale = 16.0
    config.loss.margin = 0.2
    config.augment.shift = 0.06
    config.data.train = "/data/faces"
    config.data.benchmarks = {}
    config.train.batch_size = 60
    config.train.steps = 400
    config.train.learning_rate = 3e-3
    config.eval.every_epochs = 0
    return config

"""A small set of real faces (tens of identities) with the packaged backbone: LoRA without a head, a low rate.

    python -m adaptface_jax.train --config=configs/small_faces.py --workdir=runs/small \\
        --config.data.train=/data/faces --benchmark test=/data/test.bin

Expect minutes on a CPU. The figures on 30 identities of the AT&T faces stand in the README.
"""

from adaptface_jax.overrides import inherit


def get_config():
    config = inherit(__file__, "demo.py")
    config.adapter.kind = "lora"
    config.adapter.domain_loss_weight = 0.1
    config.head.kind = "none"
    config.augment.shift = 0.06
    config.data.train = "/data/faces"
    config.data.benchmarks = {}
    config.train.batch_size = 60
    config.train.steps = 120
    config.train.learning_rate = 1e-4
    config.eval.every_epochs = 0
    return config

"""The demo: Domain-Aware LoRA on generated faces, with the packaged backbone.

    adaptface train --config=demo --workdir=runs/demo

Expect the report to compare raw pixels, the frozen backbone and the adapted one on people never trained on, overall,
for hard poses, ages and light, and for each pair of them: the adapted model gains more than 10 points over the frozen
one, and the gates find the true domain of nine images in ten.
"""

from adaptface_jax.config import defaults


def get_config():
    config = defaults()
    config.backbone.name = "demo"
    config.backbone.weights = "builtin"
    config.backbone.image_size = 112
    config.adapter.kind = "dalora"
    config.data.train = "synthetic:identities=64,images=12,seed=1"
    config.data.benchmarks = {"faces": "synthetic:identities=40,images=12,seed=2,pairs=600"}
    config.adapter.domain_loss_weight = 1.0
    config.train.batch_size = 32
    config.train.steps = 256
    config.train.learning_rate = 2e-3
    config.eval.every_epochs = 8
    return config

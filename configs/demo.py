"""The demo: Domain-Aware LoRA on generated faces, with the packaged backbone.

    python -m adaptface_jax.train --config=configs/demo.py --workdir=runs/demo

Expect the report to compare raw pixels, the frozen backbone and the adapted one on people never trained on, overall and
for hard poses, ages and light.
"""

from adaptface_jax.overrides import defaults


def get_config():
    config = defaults()
    config.backbone.name = "demo"
    config.backbone.weights = "builtin"
    config.backbone.image_size = 112
    config.adapter.kind = "dalora"
    config.data.train = "synthetic:identities=64,images=24,seed=1"
    config.data.benchmarks = {"faces": "synthetic:identities=40,images=12,seed=2,pairs=600"}
    config.train.batch_size = 64
    config.train.epochs = 30
    config.train.learning_rate = 1e-3
    return config

"""`--overfit_small`: the settings under which a valid model must overfit a few images."""

from __future__ import annotations

from typing import Any

from ml_collections import ConfigDict

STEPS = 500
ENOUGH = 0.01  # a loss below this has overfit them

# What prevents overfitting; each kind of training has some of these.
SWITCHED_OFF: dict[str, Any] = {
    "adapter.dropout": 0.0,
    "model.dropout": 0.0,
    "augment.flip": False,
    "augment.randaugment_ops": 0,
    "augment.shift": 0.0,
    "augment.worsened": 0.0,
    "augment.rotation": 0.0,
    "augment.brightness": 0.0,
    "augment.contrast": 0.0,
    "augment.saturation": 0.0,
    "augment.hue": 0.0,
    "augment.crop_scale": None,
    "loss.keep_weight": 0.0,
    "data.keep": "",
    "train.keep_batch": 0,
    "data.benchmarks": {},
    "eval.every_epochs": 0,
    "eval.guard": (),
    "train.weight_decay": 0.0,
    "train.warmup_steps": 0,
    "train.schedule": "constant",
    "train.patience": 0,
    "train.log_every": 1,
}


def overfit(config: ConfigDict, count: int) -> None:
    """Change `config` for training on `count` images, in batches of all of them (of at most `train.batch_size`).

    The run takes STEPS steps unless `train.steps` is set, and ends once the loss is below ENOUGH.
    """
    for name, value in SWITCHED_OFF.items():
        section, _, leaf = name.partition(".")
        if leaf in config.get(section, {}):
            config[section][leaf] = value
    config.data.overfit_small = count
    config.train.batch_size = min(config.train.batch_size, count)
    config.train.steps = config.train.steps or STEPS

"""What identifies a model: equal fingerprints mean comparable embeddings."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from adaptface_jax.core import trees
from adaptface_jax.core.json_io import to_json
from adaptface_jax.data.pipeline import STORED_SIZE
from adaptface_jax.training.recognition.model import Model


def fingerprint(model: Model) -> str:
    """sha256 of everything embeddings depend on except the precision; independent of where the files are.

    The backbone by the sha256 of its source, the settings of the model, and every trained value except the class
    centers.
    """
    config = model.recognizer.config
    settings = {
        "backbone": {name: value for name, value in model.identity.items() if name != "source"},
        "seed": config.seed if model.identity.get("sha256") is None else None,
        "image_size": config.backbone.image_size,
        "feature": config.backbone.feature,
        "adapter": dataclasses.asdict(config.adapter),
        "head": dataclasses.asdict(config.head),
        "flip": config.eval.flip,
    }
    if model.stored_size != STORED_SIZE:  # the size of all models before it could be chosen
        settings["stored_size"] = model.stored_size
    if config.backbone.quantize != "none":  # before it could be chosen, nothing was quantized
        settings["quantize"] = config.backbone.quantize
    digest = hashlib.sha256(to_json(settings).encode())
    for path, leaf in sorted(trees.flatten(model.trainable).items()):
        if path != "centers":
            digest.update(path.encode() + b"\0" + np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()

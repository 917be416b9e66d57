"""The adapted backbone as plain Hugging Face weights: LoRA folded in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from adaptface_jax.config.schema import AdapterConfig
from adaptface_jax.core import trees
from adaptface_jax.core.files import write_text
from adaptface_jax.export.pages import merged_page
from adaptface_jax.export.record import head_lines, write_head, write_record
from adaptface_jax.export.tower import Tower, write_tower
from adaptface_jax.models.adapters import lora
from adaptface_jax.models.adapters.places import router_block
from adaptface_jax.models.recognizer import Recognizer, as_float32
from adaptface_jax.training.recognition.model import Model


def fold(model: Model, mix: Sequence[float] = (1.0,)) -> Model:
    """The same recognizer without an adapter: low-rank updates and trained copies are folded into the frozen tree,
    float32.

    mix: DA-LoRA's fixed weight for each gated expert, [K]; blocks before the router keep their uniform 1/K, which is
    exact.
    """
    recognizer, trainable = model.recognizer, model.trainable
    config = recognizer.config
    assert not recognizer.quantized, "rounded weights are not exported: open the run with quantize='none'"
    tree: Any = trees.overlay(model.frozen.get("backbone", {}), trainable.get("backbone", {}))
    tree = jax.tree.map(as_float32, tree)
    if "adapter" in trainable:
        weights = np.tile(np.asarray(mix, np.float32), (recognizer.spec.depth, 1))
        if recognizer.num_domains:
            weights[: router_block(config.adapter.router) or 0] = 1 / recognizer.num_domains
        adapters, scale = lora.applied(trainable["adapter"], recognizer.spec, config.adapter)
        tree = lora.merge(tree, adapters, scale, weights, lora.shared(config.adapter))
    plain = dataclasses.replace(
        config,
        adapter=AdapterConfig(kind="none"),
        backbone=dataclasses.replace(config.backbone, train_patch_embed=False, dtype="float32"),
    )
    head = {"head": trainable["head"]} if "head" in trainable else {}
    return Model(
        Recognizer(recognizer.spec, plain, np.float32),
        {"backbone": tree},
        head,
        model.identity,
        stored_size=model.stored_size,
    )


def write_merged(model: Model, out: Path, *, mix: Sequence[float] = (1.0,)) -> list[str]:
    """Write the folder `out`; returns lines to print.

    model.safetensors, config.json, preprocessor_config.json: for transformers, positions at the run's image size.
    head.safetensors: weight [E, d] and bias [E] of the embedding head, if the run has one. README.md: how to use them.
    export.json: what this is.
    """
    folded = fold(model, mix)
    recognizer, settings = folded.recognizer, folded.recognizer.config.backbone
    tower = Tower(recognizer.spec, folded.frozen["backbone"], settings.image_size, settings.feature)
    line = write_tower(out, tower)
    write_head(out, folded)
    mixed = {"mix": [float(weight) for weight in mix]} if model.recognizer.num_domains else {}
    write_record(out, "merged", model, **mixed)
    write_text(out / "README.md", merged_page(folded, mixed.get("mix")))
    return [f"merged: {line}", *head_lines(folded)]

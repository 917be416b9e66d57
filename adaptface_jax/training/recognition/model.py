# SPDX-License-Identifier: Apache-2.0
"""A recognizer with its two trees on the devices, built from a config."""

from __future__ import annotations

import dataclasses
from typing import Any

from jax.sharding import Mesh

from adaptface_jax.config.schema import AdapterConfig, Config, HeadConfig
from adaptface_jax.data.pipeline import STORED_SIZE
from adaptface_jax.distributed.agreement import check_agreed
from adaptface_jax.distributed.fsdp import place_frozen
from adaptface_jax.distributed.mesh import FSDP, place
from adaptface_jax.models.layers.attend import AUTO
from adaptface_jax.models.recognizer import Recognizer, compute_dtype
from adaptface_jax.weights.loading import Backbone, load_backbone
from adaptface_jax.weights.peft.start import Start, start_from


@dataclasses.dataclass(frozen=True)
class Model:
    """A recognizer with its two trees on the devices, the backbone's identity, and the start of its adapter.

    stored_size: pixels of the images that are sent to the device, which resizes them to the model's size.
    remarks: what was assumed when reading the backbone, to be printed.
    """

    recognizer: Recognizer
    frozen: dict[str, Any]
    trainable: dict[str, Any]
    identity: dict[str, Any]
    start: Start | None = None
    stored_size: int = STORED_SIZE
    remarks: tuple[str, ...] = ()


def load(config: Config, mesh: Mesh | None = None) -> tuple[Recognizer, Backbone]:
    """The recognizer of a config on the mesh, and the backbone's parameters on the host."""
    dtype = compute_dtype(config.backbone.dtype)
    wanted = config.backbone
    # In float32: trained copies start from the exact values, `Recognizer.init` rounds the frozen ones.
    backbone = load_backbone(wanted.weights, wanted.name, wanted.image_size, "float32", wanted.feature, config.seed)
    return Recognizer(backbone.spec, config, dtype, mesh), backbone


def build_model(config: Config, num_classes: int | None, mesh: Mesh) -> Model:
    """A new model on the devices of the mesh; class centers only if num_classes is given.

    The backbone is placed straight from the host, class centers are drawn where they lie: no device holds more of
    either than its part.
    """
    recognizer, backbone = load(config, mesh)
    frozen, trainable = recognizer.init(backbone.params, num_classes, mesh)
    start = None
    if config.adapter.init_from:
        trainable, start = start_from(config, backbone.spec, trainable)
    # Attention too: with another program in one of them, all would wait for each other forever.
    facts = {**backbone.identity, "start": start.identity() if start else None, "attention": recognizer.attention}
    check_agreed("their backbones", facts)
    frozen = place_frozen(mesh, frozen, config.train.fsdp)
    return Model(recognizer, frozen, place(mesh, trainable), backbone.identity, start, remarks=backbone.remarks)


def unadapted(config: Config) -> Config:
    """The same backbone with nothing trained: its feature is the embedding."""
    return dataclasses.replace(
        config,
        adapter=AdapterConfig(kind="none"),
        head=HeadConfig(kind="none"),
        backbone=dataclasses.replace(config.backbone, train_patch_embed=False),
    )


def before_training(model: Model, mesh: Mesh) -> Model:
    """The frozen backbone of a trained model, as in `unadapted`; read again if training changed all of it."""
    config = unadapted(model.recognizer.config)
    if model.frozen:
        recognizer = dataclasses.replace(model.recognizer, config=config)
        return dataclasses.replace(model, recognizer=recognizer, trainable={})
    return dataclasses.replace(build_model(config, None, mesh), stored_size=model.stored_size)


def opened(config: Config, mesh: Mesh, dtype: str | None, quantize: str | None) -> Config:
    """`config` for using a run: its adapter comes from the checkpoint, not from the folder it was initialized from,
    and it may have been trained on another machine."""
    wanted = config.backbone
    return dataclasses.replace(
        config,
        adapter=dataclasses.replace(config.adapter, init_from=""),
        backbone=dataclasses.replace(
            wanted, dtype=dtype or wanted.dtype, quantize=quantize or wanted.quantize, attention=AUTO
        ),
        train=dataclasses.replace(config.train, fsdp=mesh.shape[FSDP]),
    )

# SPDX-License-Identifier: Apache-2.0
"""The training step at any size, compiled from shapes only: nothing of the model is allocated."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from adaptface_jax.config.schema import Config
from adaptface_jax.distributed.fsdp import frozen_shardings
from adaptface_jax.distributed.mesh import make_mesh, sharding
from adaptface_jax.losses.margin import init_statistics
from adaptface_jax.losses.sampled import class_sampler
from adaptface_jax.models import vit
from adaptface_jax.models.recognizer import Recognizer, compute_dtype
from adaptface_jax.models.specs import backbone_spec
from adaptface_jax.training import optim
from adaptface_jax.training.recognition.loss import make_loss
from adaptface_jax.training.run import abstract_state
from adaptface_jax.training.step import make_step


@dataclasses.dataclass(frozen=True)
class Held:
    """Bytes on each device. held: inputs and outputs of a step, including the frozen tree. work: temporary."""

    held: int
    work: int


def abstract_trees(config: Config, classes: int, mesh: Mesh) -> tuple[Recognizer, Any, Any]:
    """The recognizer, and the shapes of its two trees, with the sharding of the frozen one."""
    size, fsdp = config.backbone.image_size, config.train.fsdp
    spec, dtype = backbone_spec(config.backbone.name), compute_dtype(config.backbone.dtype)
    recognizer = Recognizer(spec, config, dtype, mesh)
    frozen, trainable = jax.eval_shape(
        lambda: recognizer.init(vit.random_params(recognizer.built_spec, size, 0), classes)
    )
    return recognizer, placed(frozen, frozen_shardings(mesh, frozen, fsdp)), trainable


def placed(tree: Any, where: Any) -> Any:
    """Shapes with their sharding."""
    return jax.tree.map(lambda x, to: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=to), tree, where)


def compile_step(config: Config, classes: int) -> tuple[Held, str]:
    """What a step holds on each local device, and its compiled program as text."""
    train, size = config.train, config.backbone.image_size
    mesh = make_mesh(model=train.model_parallel, fsdp=train.fsdp)
    recognizer, frozen, trainable = abstract_trees(config, classes, mesh)
    key = placed(jax.eval_shape(lambda: jax.random.key(0)), sharding(mesh))
    state = abstract_state(train, trainable, init_statistics(), mesh, config.loss)
    kinds = {"image": ((size, size, 3), jnp.uint8), "label": ((), jnp.int32), "weight": ((), jnp.float32)}
    batch = {
        name: jax.ShapeDtypeStruct((train.batch_size, *shape), kind, sharding=sharding(mesh, "batch"))
        for name, (shape, kind) in kinds.items()
    }
    rate = optim.schedule(train, 100, 1000)
    optimizer = optim.optimizer(train, rate, loss=config.loss)
    sampler = class_sampler(config.loss, classes, train.batch_size, mesh)
    step = make_step(make_loss(recognizer, mesh), optimizer, rate, mesh, train.grad_accum, sampler=sampler)
    compiled = step.lower(frozen, state, batch, key).compile()
    used = compiled.memory_analysis()
    held = used.argument_size_in_bytes + used.output_size_in_bytes - used.alias_size_in_bytes
    return Held(held, used.temp_size_in_bytes), compiled.as_text()
